"""The search index of the sample chunks, which all evaluations of a session share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the stored index. The first evaluation builds the index, which takes two seconds."""
    return tmp_path_factory.mktemp("index")
