"""The text that a person sees before approving a dataset."""

from __future__ import annotations

from pathlib import Path

from tests.validation.helpers import SETTINGS, chunk, row, write_part

from insurance_rag.orchestration.review import review_text
from insurance_rag.validation.validate import validate_parts


def test_the_text_has_counts_titles_of_the_rules_and_escaped_samples(tmp_path: Path) -> None:
    rows = [row(1), row(2, output="짧음."), row(3, instruction="암 진단비는 *얼마*인가요? <b>")]
    dataset = validate_parts([write_part(tmp_path / "p.json", rows)], [chunk("c1")], tmp_path / "out", SETTINGS)
    text = review_text(dataset.model_dump(mode="json"))
    assert "**2** of 3 rows kept" in text
    assert "| Answer too short | 1 |" in text
    assert "\\*얼마\\*인가요? \\<b\\>" in text
