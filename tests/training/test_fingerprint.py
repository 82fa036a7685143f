"""The fingerprint changes with everything that changes what is learned."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.training.conftest import quick

from insurance_rag.training.preflight import prepare_training


def test_base_model_and_heldout_rows_change_the_fingerprint(base_model: Path, dataset: Path, tmp_path: Path) -> None:
    base, data = tmp_path / "base", tmp_path / "data"
    shutil.copytree(base_model, base)
    shutil.copytree(dataset, data)

    def fingerprint(**settings: object) -> str:
        return prepare_training(quick(**settings), data, str(base), tmp_path / "out").fingerprint

    first = fingerprint()
    assert fingerprint() == first
    assert fingerprint(save_steps=3, logging_steps=2) == first
    other_seed = fingerprint(seed=7)
    (data / "heldout.json").write_text("[]")
    other_heldout = fingerprint()
    os.utime(base / "model.safetensors")
    other_base = fingerprint()
    assert len({first, other_seed, other_heldout, other_base}) == 4
