"""Human annotations: write the sheet to label, and measure how well the checks and the judge agree with the labels.

`evaluate` writes labelling.csv. If there are enough answers, the sheet has equal numbers of flagged and unflagged
answers from every model. An answer is flagged if a check found a hallucination. The rows are shuffled and do not name
the model. Write yes or no in the column `hallucinated`, and pass the file to `evaluate` with --labels.
"""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from insurance_rag.core.errors import InvalidInputError, LineProblem
from insurance_rag.core.files import atomic_write
from insurance_rag.core.records import Proportion, RaterAgreement, ScoredAnswer
from insurance_rag.core.stats import cohen_kappa, rogan_gladen

COLUMNS = ("key", "question", "context", "answer", "hallucinated", "note")
LABELS = {"yes": True, "y": True, "1": True, "예": True, "no": False, "n": False, "0": False, "아니요": False}
SHEET_ROWS = 120


def write_annotation_sheet(path: Path, rows: Sequence[ScoredAnswer], size: int = SHEET_ROWS) -> int:
    """Write the sheet and return its number of rows. A file that already exists is kept, and 0 is returned.

    An existing file may already have labels. The file is UTF-8 with a byte order mark. Without the mark,
    spreadsheet programs garble Korean text.
    """
    if path.exists():
        return 0
    rng = random.Random(0)
    groups: dict[tuple[str, bool], list[ScoredAnswer]] = {}
    for row in rows:
        groups.setdefault((row.model, row.hallucinated), []).append(row)
    for group in groups.values():
        rng.shuffle(group)
    drawn: list[ScoredAnswer] = []
    while len(drawn) < size and any(groups.values()):
        drawn += [group.pop() for group in groups.values() if group]
    rng.shuffle(drawn)
    with atomic_write(path) as f:
        f.write("\ufeff")
        writer = csv.writer(f)
        writer.writerow(COLUMNS)
        writer.writerows(
            [_cell(x) for x in (row.key, row.question, row.context, row.answer, "", "")] for row in drawn[:size]
        )
    return min(size, len(drawn))


def read_annotations(path: Path) -> dict[str, bool]:
    """Return the human labels by answer key. Unlabeled answers are left out.

    True means that a person labeled the answer as hallucinated.
    Raises InvalidInputError if the file cannot be read or contains invalid labels. The error lists all invalid labels.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as e:
        raise InvalidInputError(f"{path}: cannot be read as UTF-8 ({e}); check the path, or save it as UTF-8") from e
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if missing := {"key", "hallucinated"} - set(reader.fieldnames or ()):
        raise InvalidInputError(
            f"{path}: column {', '.join(sorted(missing))} is missing; fill in the sheet that `evaluate` wrote"
        )
    labels, problems = dict[str, bool](), list[LineProblem]()
    for row in reader:
        label = (row["hallucinated"] or "").strip().lower()
        if label and label not in LABELS:
            problems.append(LineProblem(path, reader.line_num, f"hallucinated is {label!r}; write yes or no"))
        elif label:
            labels[row["key"]] = LABELS[label]
    if problems:
        raise InvalidInputError(problems)
    return labels


def agreement(
    labels: Mapping[str, bool], flagged: Mapping[str, bool], by_model: Mapping[str, Sequence[bool]]
) -> RaterAgreement:
    """Return how well a rater (the checks or the judge) agrees with human labels.

    `labels` maps answer keys to the person's labels, and `flagged` maps answer keys to the rater's flags. `by_model`
    maps each model to the rater's flags for all answers of this model. The result includes each model's hallucination
    rate, corrected for the rater's errors.

    Flagged answers are more or less frequent in the sheet than among all answers. Sensitivity and specificity are
    therefore weighted by the fraction of all answers that the rater flags.
    """
    common = [key for key in labels if key in flagged]
    labels_by_flag = {flag: [labels[key] for key in common if flagged[key] is flag] for flag in (True, False)}
    flags = [flag for own in by_model.values() for flag in own]
    sensitivity, specificity = _weighted(labels_by_flag, sum(flags), len(flags))
    return RaterAgreement(
        kappa=cohen_kappa([labels[k] for k in common], [flagged[k] for k in common]),
        sensitivity=Proportion(right=sensitivity[0], of=sensitivity[1]),
        specificity=Proportion(right=specificity[0], of=specificity[1]),
        corrected={
            model: rogan_gladen(sum(own), len(own), sensitivity, specificity) for model, own in by_model.items()
        },
    )


def _weighted(
    labels_by_flag: Mapping[bool, list[bool]], flagged: int, n: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Estimate sensitivity and specificity for a random sample of the answers. Return each as (correct, total).

    The rater flags `flagged` of all `n` answers. The two totals add up to the number of labels. Larger totals would
    make the confidence intervals too narrow.
    """
    labelled = {flag: len(labels_by_flag[flag]) for flag in labels_by_flag}
    total = sum(labelled.values())
    if not total or not n:
        return (0, 0), (0, 0)
    share = {True: flagged / n, False: 1 - flagged / n}
    cell = {
        (flag, bad): total * share[flag] * sum(x is bad for x in labels_by_flag[flag]) / labelled[flag]
        if labelled[flag]
        else 0.0
        for flag in (True, False)
        for bad in (True, False)
    }
    positives, negatives = (cell[True, bad] + cell[False, bad] for bad in (True, False))
    return (round(cell[True, True]), round(positives)), (round(cell[False, False]), round(negatives))


def _cell(text: str) -> str:
    """Remove NUL, which breaks CSV readers. Prefix an apostrophe if a spreadsheet would run `text` as a formula."""
    text = text.replace("\x00", "")
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
