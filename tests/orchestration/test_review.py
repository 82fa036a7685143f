"""The text that a person sees before approving a dataset."""

from __future__ import annotations

from pathlib import Path

from tests.validation.helpers import SETTINGS, chunk, row, write_part

from insurance_rag.config import GenerationConfig
from insurance_rag.core.files import write_json
from insurance_rag.core.records import ApiKey
from insurance_rag.core.records.planning import GenerationEstimate, Refresh
from insurance_rag.core.records.usage import RunUsage, Usage
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.orchestration.review import review_text
from insurance_rag.planning import make_plan, write_plan
from insurance_rag.planning.plan import save_plan
from insurance_rag.validation.validate import validate_parts


def test_the_text_has_counts_titles_of_the_rules_and_escaped_samples(tmp_path: Path) -> None:
    rows = [row(1), row(2, output="짧음."), row(3, instruction="암 진단비는 *얼마*인가요? <b>")]
    dataset = validate_parts([write_part(tmp_path / "p.json", rows)], [chunk("c1")], tmp_path / "out", SETTINGS)
    text = review_text(dataset.model_dump(mode="json"))
    assert "**2** of 3 rows kept" in text
    assert "| Answer too short | 1 |" in text
    assert "\\*얼마\\*인가요? \\<b\\>" in text


def test_the_text_compares_the_estimate_with_the_actual_cost_and_lists_changes(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run").create()
    part = write_part(tmp_path / "p.json", [row(1)])
    dataset = validate_parts([part], [chunk("c1")], run.dataset, SETTINGS)
    config = GenerationConfig()
    key = ApiKey.model_validate({"id": "k1", "key": "secret"})
    plan = write_plan(make_plan([chunk("c1")], [key], config), run, [chunk("c1")])
    refresh = Refresh(previous=[], added=3, changed=1, removed=2, calls_saved=50, kept_from={"gemini-2.5-flash": 40})
    save_plan(plan.model_copy(update={"refresh": refresh}), run)
    estimate = GenerationEstimate(
        model=config.model, chunks=4, reused=50, calls=2, tokens_in=9, tokens_out=9, cost_usd=0.02, seconds=None,
        repair_share=0.1,
    )  # fmt: skip
    write_json(run.estimate, estimate.model_dump(mode="json"))
    usage = RunUsage(
        model=config.model,
        total=Usage(calls=3, pairs_accepted=12, cost_usd=0.024, other_model_answers=1),
        keys={},
        models={config.model: 2, "gemini-3.8-flash": 1},
        cost_per_accepted_pair_usd=0.002,
    )
    write_json(run.usage, usage.model_dump(mode="json"))
    text = review_text(dataset.model_dump(mode="json"))
    assert "3 added, 1 changed, 2 removed; the answers for 50 chunks were reused" in text
    assert "40 of gemini-2.5-flash" in text
    assert "Estimated cost: $0.0200, for 4 chunks in 2 calls." in text
    assert "Actual cost: $0.0240, for 12 accepted pairs in 3 calls, $2.00 per 1,000 accepted pairs." in text
    assert "Answers by another model than gemini-3.5-flash-lite: 1 (gemini-3.8-flash: 1)." in text
