"""Read how well the verifier works that scored the answers of an evaluation."""

from __future__ import annotations

from insurance_rag.core.records.verifier import VerifierCalibration
from insurance_rag.report.texts import text_label
from insurance_rag.report.view import FaultRecall, VerifierTable


def verifier_table(calibration: VerifierCalibration) -> VerifierTable:
    """Return the measured specificity, and the recall by kind of fault, lowest first."""
    by_recall = sorted(calibration.recall_by_kind.items(), key=lambda item: (item[1].rate or 0.0, item[0]))
    return VerifierTable(
        target=calibration.target_specificity,
        specificity=calibration.specificity,
        chosen_on=calibration.right_answers_for_threshold,
        faults=[
            FaultRecall(kind=text_label(f"fault_{kind}", kind), rate=rate, trusted=kind not in calibration.untrusted)
            for kind, rate in by_recall
        ],
    )
