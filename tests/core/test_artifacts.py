from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insurance_rag.core.errors import IncompleteError, InvalidInputError
from insurance_rag.core.files import atomic_write, parse_jsonl, read_json, read_jsonl, write_json, write_jsonl
from insurance_rag.core.hashing import sha256_text, sha256_tree
from insurance_rag.core.run_folder import RunFolder


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": True})
    with pytest.raises(RuntimeError), atomic_write(path) as f:
        f.write("half")
        raise RuntimeError
    assert read_json(path) == {"old": True}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_kill_in_the_middle_of_a_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": True})
    code = f"""
        import os, signal
        from pathlib import Path
        from insurance_rag.core.files import atomic_write
        with atomic_write(Path({str(path)!r})) as f:
            f.write("half"); f.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=os.environ)
    assert done.returncode == -signal.SIGKILL
    assert read_json(path) == {"old": True}


@given(st.lists(st.dictionaries(st.text(), st.text() | st.integers() | st.none(), max_size=3), max_size=5))
def test_json_lines_come_back_whatever_the_text(tmp_path_factory: pytest.TempPathFactory, rows: list[object]) -> None:
    path = tmp_path_factory.mktemp("jsonl") / "a.jsonl"
    assert write_jsonl(path, rows) == len(rows)
    assert read_jsonl(path) == rows


def test_every_bad_line_is_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n\nnot json\n{"b": "\xff"}\n{"c": 3}\n')
    rows, problems = parse_jsonl(path)
    assert rows == [(1, {"a": 1}), (5, {"c": 3})]
    assert [problem.line for problem in problems] == [3, 4]
    with pytest.raises(InvalidInputError) as caught:
        read_jsonl(path)
    assert [problem.split(": ")[0] for problem in caught.value.problems] == [f"{path}:3", f"{path}:4"]


@pytest.mark.parametrize("content", [b"{", b"\xff", None])
def test_unreadable_json_says_which_file(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"a\.json"):
        read_json(path)


def test_a_folder_hash_depends_on_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    first = sha256_tree(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    renamed = sha256_tree(tmp_path)
    (tmp_path / "b").write_text("2")
    assert len({first, renamed, sha256_tree(tmp_path)}) == 3


@given(st.text(), st.text())
def test_joined_texts_do_not_collide(a: str, b: str) -> None:
    assert sha256_text(a, b) != sha256_text(a + b)


def test_a_run_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(InvalidInputError, match=r"cannot be written .*; choose another folder"):
            RunFolder(path).create()


@pytest.mark.parametrize("option", ["ro", "nr_inodes=1"])  # read-only, full
def test_a_disk_that_refuses_to_write_is_no_invalid_input(tmp_path: Path, option: str) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", option, "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root can mount a small file system")
    try:
        with pytest.raises(IncompleteError, match=r"run: cannot be written \(.*\); free space or fix the permissions"):
            RunFolder(tmp_path / "run").create()
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)
