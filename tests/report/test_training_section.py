"""The report's training section shows the rewards of adapters that learned from preference pairs."""

from __future__ import annotations

from pathlib import Path

from insurance_rag.core.adapter_folder import AdapterFolder
from insurance_rag.core.files import write_jsonl
from insurance_rag.core.records import LossRow
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.report.render import render_report


def test_margins_and_accuracies_of_preference_training_are_shown(run: RunFolder, tmp_path: Path) -> None:
    for version in ("v2", "v4"):
        rewards = {"rewards_margin": 0.8125, "rewards_accuracy": 0.75} if version == "v4" else {}
        heldout = {"eval_rewards_margin": -0.25, "eval_rewards_accuracy": 0.5} if version == "v4" else {}
        history = [LossRow(step=1, loss=2.0, **rewards), LossRow(step=2, loss=1.5, eval_loss=1.6, **rewards, **heldout)]
        lines = (row.model_dump(exclude_none=True) for row in history)
        write_jsonl(AdapterFolder(run.adapter(version, "base_model")).loss_history, lines)
    render_report(run, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert page.count("0.812") == 1 and "-0.250" in page and "0.750" in page
    assert page.count('<svg class="loss"') == 4  # two of losses, one of margins, one of accuracies
