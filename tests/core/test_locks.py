from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from insurance_rag.core.errors import IncompleteError, InvalidInputError
from insurance_rag.core.locks import hold_lock, is_locked


def test_a_second_process_learns_who_holds_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "parts" / "shard_1.lock"
    with hold_lock(path, "shard 1/7 · k1"):
        assert is_locked(path)
        with (
            pytest.raises(IncompleteError, match=rf'shard 1/7 · k1 is in use by {{"pid": {os.getpid()}'),
            hold_lock(path, "shard 1/7 · k1"),
        ):
            pass
    assert not is_locked(path)
    with hold_lock(path, "a second time"):
        pass


def test_a_killed_process_releases_its_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = f"""
import time
from pathlib import Path
from insurance_rag.core.locks import hold_lock
with hold_lock(Path({str(path)!r}), "x"):
    print("locked", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        other.stdout.readline()
        assert is_locked(path)
        other.kill()
    assert not is_locked(path)


def test_a_file_system_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(InvalidInputError, match="has no file locks"), hold_lock(tmp_path / "lock", "x"):
        pass


def test_a_lock_file_that_does_not_exist_is_not_locked(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / "none")


def test_damaged_content_of_a_lock_file_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_bytes(b"\xff\x00\xfe")
    with hold_lock(path, "x"):
        path.write_bytes(b"\xff\x00\xfe")
        with pytest.raises(IncompleteError, match="x is in use by"), hold_lock(path, "x"):
            pass


def test_a_lock_file_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(IncompleteError, match="the lock file cannot be written"),
        hold_lock(tmp_path / "file/lock", "x"),
    ):
        pass
