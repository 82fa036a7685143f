"""Atomic writes when the disk refuses."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from insurance_rag.core.errors import IncompleteError
from insurance_rag.core.files import atomic_write, write_json


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_keeps_the_old_file_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    path = tmp_path / "part.json"
    write_json(path, "old")

    def full(_: int) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(IncompleteError, match=r"part\.json: cannot be written \(.*\); free space"):
            write_json(path, "new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["part.json"]
    assert path.read_text() == '"old"\n'


def test_folder_that_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(IncompleteError, match="cannot be written"):
        write_json(tmp_path / "file" / "part.json", 1)


def test_other_errors_of_the_writer_pass_through(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "a") as f:
        f.write((tmp_path / "missing").read_text())
    assert list(tmp_path.iterdir()) == []
