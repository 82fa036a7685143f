"""What differs between the published dataset and a new one, and how the approval page shows it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.validation.helpers import SETTINGS, chunk, row, write_part

from insurance_rag.config import RunConfig
from insurance_rag.core.records import DatasetArtifact
from insurance_rag.core.records.run import RunArtifact
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.orchestration.assets import publish_dataset
from insurance_rag.orchestration.dataset_changes import RowChanges, compare_datasets
from insurance_rag.orchestration.review import review_text
from insurance_rag.validation.validate import validate_parts


def make(run: RunFolder, rows: list[dict[str, object]]) -> DatasetArtifact:
    run.create()
    return validate_parts([write_part(run.root / "p.json", rows)], [chunk("c1")], run.dataset, SETTINGS)


def test_added_removed_and_changed_rows_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTIFACT_ROOT", str(tmp_path))
    before, now = RunFolder(tmp_path / "refresh_dataset" / "1"), RunFolder(tmp_path / "refresh_dataset" / "2")
    other = row(2)["output"] + " 자세한 금액은 3,000만원입니다."
    old = make(before, [row(1), row(2), row(3)])
    new = make(now, [row(2, output=other), row(3), row(4), row(5, output="짧음.")])
    changes = compare_datasets(Path(new.uri), Path(old.uri), {"c1": "한빛 든든 암보험"})
    assert changes.total == RowChanges(added=1, removed=1, changed=1)
    assert changes.by_product == {"한빛 든든 암보험": changes.total} and changes.by_type == {"fact": changes.total}

    publish_dataset(RunArtifact(uri=str(before.root), sha256="0", rows=1, questions=1), old, RunConfig())
    text = review_text(new.model_dump(mode="json"))
    assert "| **total** | 1 | 1 | 1 |" in text and "| fact | 1 | 1 | 1 |" in text
    assert "| Answer too short | 1 | The row has an answer with fewer than min\\_output characters. |" in text
    assert f"](/review/rows?dataset={str(now.dataset).replace('/', '%2F')})" in text
    assert "> 제7조에 따르면" in text
    assert "The rows are the same." in review_text(old.model_dump(mode="json"))
