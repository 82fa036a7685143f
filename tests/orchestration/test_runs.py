"""Run folders: the same paths for tasks, pods and the report tab, never outside the artifact root."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insurance_rag.orchestration.runs import earlier_runs, folder_under, run_folder


def test_airflow_ids_become_readable_folder_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTIFACT_ROOT", str(tmp_path))
    run = run_folder("finetune_pipeline", "manual__2026-11-23T04:05:06+00:00")
    assert run.root == tmp_path / "finetune_pipeline" / "manual__2026-11-23T04_05_06+00_00"


@given(st.text(), st.text())
def test_no_id_leads_out_of_the_root(dag_id: str, run_id: str) -> None:
    root = Path("/srv/artifacts")
    path = folder_under(root, dag_id, run_id).root
    assert len(path.relative_to(root).parts) == 2
    assert ".." not in path.parts


@pytest.mark.parametrize("hostile", ["../../etc/passwd", "..", ".", "", "/etc", "a/../../b", "%2e%2e/x", "\x00"])
def test_path_traversal_stays_inside(hostile: str) -> None:
    root = Path("/srv/artifacts")
    assert folder_under(root, hostile, hostile).root.resolve().is_relative_to(root)


def test_earlier_runs_are_those_with_a_plan_newest_first(tmp_path: Path) -> None:
    runs = [folder_under(tmp_path, "refresh_dataset", f"run{n}") for n in range(3)]
    for run in runs[:2]:
        run.create()
        run.plan.write_text("{}")
    runs[2].create()
    assert [r.root for r in earlier_runs(runs[2])] == [runs[1].root, runs[0].root]
    assert [r.root for r in earlier_runs(runs[0])] == [runs[1].root]
