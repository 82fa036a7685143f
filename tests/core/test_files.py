"""Atomic writes when the disk refuses."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from insurance_rag.core.errors import IncompleteError, InvalidInputError
from insurance_rag.core.files import atomic_write, parse_jsonl, read_json, write_json
from insurance_rag.core.journal import Journal


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


LIMITED = """
import resource, sys
from pathlib import Path
from insurance_rag.core.errors import IncompleteError
from insurance_rag.core.files import write_json, write_jsonl
from insurance_rag.core.journal import Journal
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
folder = Path(sys.argv[1])
def append():
    with Journal(folder / "j.jsonl", append=True) as journal:
        for n in range(1000):
            journal.append({"n": n, "text": "x" * 100})
for write in (
    lambda: write_json(folder / "a.json", "x" * 50_000),
    lambda: write_jsonl(folder / "b.jsonl", ["x" * 1000] * 100),
    append,
):
    try:
        write()
    except IncompleteError as e:
        print(e)
"""


def test_every_file_that_the_kernel_refuses_is_named_and_stays_whole(tmp_path: Path) -> None:
    """The real error of a system call: no file may grow beyond 20,000 bytes."""
    write_json(tmp_path / "a.json", "old")
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    lines = done.stdout.splitlines()
    assert [line.partition(": cannot be written (")[0] for line in lines] == [
        str(tmp_path / name) for name in ("a.json", "b.jsonl", "j.jsonl")
    ]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.json", "j.jsonl"]
    assert read_json(tmp_path / "a.json") == "old"
    records = [record["n"] for record in Journal(tmp_path / "j.jsonl").read_new()]
    assert records == list(range(len(records))) and len(records) > 100
    assert (tmp_path / "j.jsonl").read_bytes().endswith(b"}\n")


def test_folder_that_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(IncompleteError, match="cannot be written"):
        write_json(tmp_path / "file" / "part.json", 1)


def test_other_errors_of_the_writer_pass_through(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "a") as f:
        f.write((tmp_path / "missing").read_text())
    assert list(tmp_path.iterdir()) == []


def test_a_number_that_python_does_not_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text('{"chunks": ' + "7" * 5000 + "}")
    with pytest.raises(InvalidInputError, match=r"plan\.json: a number has too many digits; shorten it"):
        read_json(path)
    rows, problems = parse_jsonl(path)
    assert rows == [] and problems[0].message == "a number has too many digits; shorten it"
