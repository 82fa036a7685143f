"""The page shows how well the verifier works, and with which faults it must not be trusted."""

from __future__ import annotations

from pathlib import Path

from tests.report.sample_run import write_run

from insurance_rag.core.files import read_json, write_json
from insurance_rag.core.records.verifier import VerifierCalibration
from insurance_rag.core.stats import rate
from insurance_rag.report.collect import collect
from insurance_rag.report.render import render_html

CALIBRATION = VerifierCalibration(
    base_model="base_model",
    base_revision=None,
    heldout_file="/run/dataset/heldout_verifier.json",
    heldout_sha256="0" * 64,
    target_specificity=0.99,
    threshold=-1.5,
    right_answers_for_threshold=210,
    specificity=rate(197, 200),
    recall=rate(108, 150),
    recall_by_kind={"negated": rate(90, 100), "roles_swapped": rate(18, 40), "of_a_plug_in": rate(0, 10)},
    untrusted=["of_a_plug_in", "roles_swapped"],
    unscored=0,
)


def test_recall_by_fault_with_the_faults_that_are_missed(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", ("Base", "v1"), questions=20)
    report = collect(run)
    assert report.evaluation and report.evaluation.verifier is None
    assert "verifier_flagged" not in report.evaluation.further and 'id="verifier"' not in render_html(report)

    path = run.evaluation / "summary.json"
    write_json(path, {**read_json(path), "verifier": CALIBRATION.model_dump(mode="json")})
    report = collect(run)
    assert report.problems == [] and report.evaluation and report.evaluation.verifier
    faults = [(fault.kind.title, fault.trusted) for fault in report.evaluation.verifier.faults]
    assert faults == [("of a plug in", False), ("Parties swapped", False), ("Negated", True)]
    html = render_html(report)
    section = html[html.index('id="verifier"') :]
    section = section[: section.index("</details>")]
    assert section.count("do not trust") == 2 and "finds fewer than half" in section
    assert "98.5%" in section and "45.0%" in section and "당사자 뒤바뀜" in section
