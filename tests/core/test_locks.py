from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from insurance_rag.core.errors import IncompleteError
from insurance_rag.core.locks import held, is_held


def test_a_second_worker_is_told_who_holds_the_shard(tmp_path: Path) -> None:
    path = tmp_path / "parts" / "shard_1.lock"
    with held(path, "shard 1/7 · k1"):
        assert is_held(path)
        with (
            pytest.raises(IncompleteError, match=rf'shard 1/7 · k1 is being worked on by {{"pid": {os.getpid()}'),
            held(path, "shard 1/7 · k1"),
        ):
            pass
    assert not is_held(path)
    with held(path, "again"):
        pass


def test_a_killed_holder_frees_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = f"""
import time
from pathlib import Path
from insurance_rag.core.locks import held
with held(Path({str(path)!r}), "x"):
    print("held", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        other.stdout.readline()
        assert is_held(path)
        other.kill()
    assert not is_held(path)


def test_a_lock_that_never_was_is_free(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "none")
