"""Calibrate a verifier on the held-out rows of a dataset, and write verifier.json into its folder."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from insurance_rag.core.adapter_folder import AdapterFolder
from insurance_rag.core.artifact_store.locations import public_uri
from insurance_rag.core.artifacts import describe
from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json, write_json
from insurance_rag.core.hashing import sha256_file
from insurance_rag.core.progress import Progress
from insurance_rag.core.prompt_templates import SUPPORTED, VERIFY
from insurance_rag.core.record_files import first_problem
from insurance_rag.core.records import TrainingManifest
from insurance_rag.core.records.verifier import VerifierArtifact, VerifierCalibration
from insurance_rag.evaluation.verifier.adapter import check_verifier
from insurance_rag.evaluation.verifier.calibration import TARGET_SPECIFICITY, ScoredRow, measure
from insurance_rag.evaluation.verifier.claims import Claim, claims_of_row

log = logging.getLogger(__name__)

MIN_RIGHT_ANSWERS = 50
"""Minimum number of right held-out answers. With fewer, a specificity near 1 can be neither set nor measured."""
_REMEDY = "run `insurance-rag validate` with --questions and --set dataset.verifier_rows=true"


class HeldoutAnswer(BaseModel):
    """A row of heldout_verifier.json. Other fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    prompt: str
    completion: str
    chunk_id: str
    kind: str
    answer: str


_HELDOUT = TypeAdapter(list[HeldoutAnswer])


def calibrate(
    adapter: Path,
    dataset: Path,
    base_model: str,
    *,
    specificity: float = TARGET_SPECIFICITY,
    precision: str = "auto",
    progress: Path | None = None,
) -> VerifierArtifact:
    """Score the held-out answers of a dataset folder with a verifier, and write its threshold and rates.

    `specificity` is the fraction of right answers that must not be flagged. Raises InvalidInputError, before the model
    is loaded, if the adapter is not a verifier for this base model, or if the held-out rows are missing, too few, or
    about documents that the verifier was trained on.
    """
    manifest = check_verifier(adapter, base_model)
    path = DatasetFolder(dataset).heldout(VERIFY.name)
    rows = read_heldout_answers(path)
    _check_documents(dataset, manifest)
    claims = _claims(rows, path)
    scores = _scores(claims, adapter, base_model, precision, progress)
    scored = [
        ScoredRow(row.chunk_id, row.kind, row.completion == SUPPORTED, lowest)
        for row, lowest in zip(rows, scores, strict=True)
        if lowest is not None
    ]
    measured = measure(scored, specificity)
    calibration = VerifierCalibration(
        base_model=manifest.base_model,
        base_revision=manifest.base_revision,
        heldout_file=public_uri(path),
        heldout_sha256=sha256_file(path),
        target_specificity=specificity,
        threshold=measured.threshold,
        right_answers_for_threshold=measured.right_answers_for_threshold,
        specificity=measured.specificity,
        recall=measured.recall,
        recall_by_kind=measured.recall_by_kind,
        untrusted=measured.untrusted,
        unscored=len(rows) - len(scored),
    )
    file = AdapterFolder(adapter).verifier
    write_json(file, calibration.model_dump(mode="json"))
    shown = calibration.model_dump(include=set(VerifierArtifact.model_fields) & set(VerifierCalibration.model_fields))
    return describe(file, VerifierArtifact, **shown)


def read_heldout_answers(path: Path) -> list[HeldoutAnswer]:
    """Read the held-out rows. Raises InvalidInputError if there are too few right answers to calibrate on."""
    if not path.is_file():
        raise InvalidInputError(f"{path}: no such file, so there are no held-out rows for a verifier; {_REMEDY}")
    try:
        rows = _HELDOUT.validate_python(read_json(path))
    except ValidationError as e:
        raise InvalidInputError(f"{path}: not held-out rows ({first_problem(e)}); {_REMEDY}") from None
    right = sum(row.completion == SUPPORTED for row in rows)
    if right < MIN_RIGHT_ANSWERS:
        raise InvalidInputError(
            f"{path}: has {right} right answers, but a threshold needs at least {MIN_RIGHT_ANSWERS}; hold out more "
            f"documents or sections: {_REMEDY}"
        )
    return rows


def _check_documents(dataset: Path, manifest: TrainingManifest) -> None:
    """Raise InvalidInputError if the dataset holds out documents or sections that the verifier was trained on."""
    report = DatasetFolder(dataset).report
    unseen = manifest.dataset.held_out
    if unseen is None or not report.is_file():
        log.warning("%s: it is not recorded which documents the verifier was not trained on", dataset)
        return
    split = DatasetFolder(dataset).read_report().split
    if seen := sorted(set(split.names) - set(unseen.names)):
        raise InvalidInputError(
            f"{dataset}: the verifier was trained on {len(seen)} of the held-out {split.unit or 'document'}s, e.g. "
            f"{seen[0]!r}; give the dataset that it was trained on"
        )


def _claims(rows: Sequence[HeldoutAnswer], path: Path) -> list[list[Claim]]:
    """Return the claims of every row. Raises InvalidInputError if a row's prompt does not show its answer."""
    found = []
    for number, row in enumerate(rows, 1):
        try:
            found.append(claims_of_row(row.prompt, row.answer))
        except InvalidInputError as e:
            raise InvalidInputError(f"{path}: row {number}: {e}; {_REMEDY}") from e
    return found


def _scores(
    claims: Sequence[Sequence[Claim]], adapter: Path, base_model: str, precision: str, progress: Path | None
) -> list[float | None]:
    """Return the lowest score of each row's claims, or None if the prompt of one is too long. No claims: infinite."""
    from insurance_rag.evaluation.backends.local.verifier_model import VerifierModel

    prompts = list(dict.fromkeys(claim.prompt for own in claims for claim in own))
    scores: dict[str, float | None] = {}
    with (
        Progress("verifier", "held-out answers", total=len(prompts), unit="sentences", folder=progress) as bar,
        VerifierModel(adapter, base_model, precision) as model,
    ):

        def keep(row: int, score: float | None) -> None:
            scores[prompts[row]] = score
            bar.advance()

        model.score(prompts, keep)
    return [_lowest([scores[claim.prompt] for claim in own]) for own in claims]


def _lowest(scores: Sequence[float | None]) -> float | None:
    known = [score for score in scores if score is not None]
    return min(known, default=math.inf) if len(known) == len(scores) else None
