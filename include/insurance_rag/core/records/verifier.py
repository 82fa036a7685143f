"""Records of the verifier: how well it finds wrong answers, and how it was used in an evaluation."""

from __future__ import annotations

from insurance_rag.core.records.artifacts import Artifact
from insurance_rag.core.records.data import Record
from insurance_rag.core.records.statistics import Rate


class VerifierCalibration(Record):
    """verifier.json in the folder of a verifier: its threshold, and how well it works with this threshold.

    The rates were measured on answers about documents that the verifier was not trained on. One half of the chunks
    chose the threshold, the other half gave the rates. The unit is an answer. It is flagged if the score of one of its
    sentences is below the threshold.
    """

    base_model: str
    base_revision: str | None
    heldout_file: str
    """Absolute path of the file with the answers."""
    heldout_sha256: str
    target_specificity: float
    """Specificity that the threshold had to reach on the half that chose it."""
    threshold: float
    """Sentences with a lower score are reported."""
    right_answers_for_threshold: int
    """Number of right answers that chose the threshold."""
    specificity: Rate
    """Right answers that are not flagged."""
    recall: Rate
    """Wrong answers that are flagged."""
    recall_by_kind: dict[str, Rate]
    """Kind of fault -> wrong answers of this kind that are flagged."""
    untrusted: list[str]
    """Kinds of faults that the verifier misses too often: an answer that it does not flag may have them."""
    unscored: int
    """Number of answers with a sentence whose prompt is too long for the base model. The rates leave them out."""


class VerifierArtifact(Artifact):
    """A calibrated verifier; `uri` is the path of its verifier.json."""

    threshold: float
    specificity: Rate
    recall: Rate
    recall_by_kind: dict[str, Rate]
    untrusted: list[str]
    unscored: int


class VerifierRun(Record):
    """The verifier that an evaluation used."""

    adapter: Artifact
    identity: str
    """Identifies the weights of the verifier and its base model. The keys of stored scores depend on it."""
    calibration: VerifierCalibration
