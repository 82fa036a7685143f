"""Run folders for the tests of the report, and what a browser reads of a page."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.report.sample_run import write_run

from insurance_rag.core.run_folder import RunFolder


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Return a finished run with 24 questions; tests copy it before they change it."""
    return write_run(tmp_path_factory.mktemp("run"), questions=24)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Return an empty run folder."""
    return RunFolder(tmp_path / "run").create()
