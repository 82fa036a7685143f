"""The human part: a blind sheet to label, and what the labels say of the checks and the judge.

`evaluate` writes labelling.csv: answers drawn evenly from the flagged and the unflagged of every model, in random order
and without the model's name. Write yes or no into `hallucinated` and give the file back with --labels.
"""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import atomic_write
from insurance_rag.core.stats import cohen_kappa, rogan_gladen
from insurance_rag.evaluation.scoring import ScoredAnswer

COLUMNS = ("key", "question", "context", "answer", "hallucinated", "note")
ANSWERS = {"yes": True, "y": True, "1": True, "예": True, "no": False, "n": False, "0": False, "아니요": False}
SHEET_ROWS = 120


def write_sheet(path: Path, rows: Sequence[ScoredAnswer], size: int = SHEET_ROWS) -> int:
    """Write the sheet (UTF-8 with a mark, as spreadsheets want it); an existing one, perhaps half filled, is kept."""
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
            [_text(x) for x in (row.key, row.question, row.context, row.answer, "", "")] for row in drawn[:size]
        )
    return min(size, len(drawn))


def read_sheet(path: Path) -> dict[str, bool]:
    """Answer key -> whether a person calls it hallucinated; empty cells are left out, all bad cells are listed."""
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as e:
        raise InvalidInputError(f"{path}: cannot be read as UTF-8 ({e})") from e
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if missing := {"key", "hallucinated"} - set(reader.fieldnames or ()):
        raise InvalidInputError(
            f"{path}: column {', '.join(sorted(missing))} is missing; fill in the sheet that evaluate wrote"
        )
    labels, problems = dict[str, bool](), []
    for row in reader:
        said = (row["hallucinated"] or "").strip().lower()
        if said and said not in ANSWERS:
            problems.append(f"{path}:{reader.line_num}: hallucinated {said!r}: want yes or no")
        elif said:
            labels[row["key"]] = ANSWERS[said]
    if problems:
        raise InvalidInputError(problems)
    return labels


def agreement(
    labels: Mapping[str, bool], flagged: Mapping[str, bool], by_model: Mapping[str, Sequence[bool]]
) -> dict[str, Any]:
    """How far flags (of the checks, or of a judge) agree with people, and each model's rate corrected for their errors.

    `flagged` and `labels` go by answer key; `by_model` holds the flags of all of a model's answers. The sheet draws
    flagged and unflagged answers alike, so the flagger's recall and precision are weighted back to how often it flags.
    """
    common = [key for key in labels if key in flagged]
    found = {flag: [labels[key] for key in common if flagged[key] is flag] for flag in (True, False)}
    figures: dict[str, Any] = {"kappa": cohen_kappa([labels[k] for k in common], [flagged[k] for k in common])}
    flags = [flag for own in by_model.values() for flag in own]
    sensitivity, specificity = _weighted(found, sum(flags), len(flags))
    figures["sensitivity"], figures["specificity"] = (
        {"right": right, "of": of} for right, of in (sensitivity, specificity)
    )
    figures["corrected"] = {
        model: rogan_gladen(sum(own), len(own), sensitivity, specificity) for model, own in by_model.items()
    }
    return figures


def _weighted(found: Mapping[bool, list[bool]], flagged: int, n: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """(right, of) of sensitivity and specificity, as if the labelled answers had been drawn by chance.

    The counts are scaled so that their sum stays the number of labels: the interval must not profit.
    """
    labelled = {flag: len(found[flag]) for flag in found}
    total = sum(labelled.values())
    if not total or not n:
        return (0, 0), (0, 0)
    share = {True: flagged / n, False: 1 - flagged / n}
    cell = {
        (flag, bad): total * share[flag] * sum(x is bad for x in found[flag]) / labelled[flag]
        if labelled[flag]
        else 0.0
        for flag in (True, False)
        for bad in (True, False)
    }
    positives, negatives = (cell[True, bad] + cell[False, bad] for bad in (True, False))
    return (round(cell[True, True]), round(positives)), (round(cell[False, False]), round(negatives))


def _text(cell: str) -> str:
    """A cell that a spreadsheet does not take for a formula, without characters a CSV reader would choke on."""
    cell = cell.replace("\x00", "")
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@")) else cell
