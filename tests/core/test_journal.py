from __future__ import annotations

import json
import logging
import random
from pathlib import Path
from typing import BinaryIO

import pytest

from insurance_rag.core import journal as journal_module
from insurance_rag.core.errors import IncompleteError
from insurance_rag.core.journal import Journal
from insurance_rag.core.journal_lines import decode_record, encode_record, is_readable


def write(path: Path, n: int) -> list[dict[str, str]]:
    records = [{"key": f"{i:04}", "text": f"제{i}조(보험금) " * (i % 5 + 1)} for i in range(n)]
    with Journal(path, append=True) as journal:
        for record in records:
            journal.append(record)
        journal.sync()
    return records


def test_records_come_back_in_order_and_only_once(tmp_path: Path) -> None:
    path = tmp_path / "deep/j.jsonl"
    records = write(path, 20)
    reader = Journal(path)
    assert list(reader.read_new()) == records
    assert list(reader.read_new()) == []
    with Journal(path, append=True) as writer:
        writer.append({"key": "new"})
    assert list(reader.read_new()) == [{"key": "new"}]


def test_offsets_lead_to_lines(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with Journal(path, append=True) as writer:
        offsets = [writer.append({"i": i}) for i in range(3)]
    found = list(Journal(path).read_new_lines())
    assert [offset for offset, _ in found] == offsets
    assert [decode_record(line) for _, line in found] == [{"i": 0}, {"i": 1}, {"i": 2}]


@pytest.mark.parametrize("seed", range(40))
def test_one_flipped_bit_costs_at_most_the_lines_it_touches(
    tmp_path: Path, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "j.jsonl"
    records = write(path, 30)
    data = bytearray(path.read_bytes())
    position = random.Random(seed).randrange(len(data) - 1)  # the last newline is the torn tail's test
    data[position] ^= 1 << random.Random(seed + 1000).randrange(8)
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        found = list(Journal(path).read_new())
    lost = [record for record in records if record not in found]
    assert len(lost) <= 2 and all(record in records for record in found)
    assert len(found) + len(lost) == 30
    assert lost == [] or "is damaged and was skipped" in caplog.text


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_torn_tail_is_dropped_by_the_writer_and_left_alone_by_a_reader(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "j.jsonl"
    records = write(path, 5)
    path.write_bytes(path.read_bytes()[:-cut])
    size = path.stat().st_size
    assert list(Journal(path).read_new()) == records[:4]
    assert path.stat().st_size == size
    with Journal(path, append=True) as journal:
        journal.append({"key": "next"})
    assert list(Journal(path).read_new()) == [*records[:4], {"key": "next"}]


@pytest.mark.parametrize("rubbish", [b"\0" * 5000 + b"\n", b"not json\n", b"\xff\xfe\n", b"{}\n", b"\n"])
def test_rubbish_in_the_middle_is_skipped(tmp_path: Path, rubbish: bytes) -> None:
    path = tmp_path / "j.jsonl"
    records = write(path, 4)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], rubbish, *lines[2:]]))
    assert list(Journal(path).read_new()) == records


def test_an_endless_line_is_skipped_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "MAX_LINE_BYTES", 1000)
    path = tmp_path / "j.jsonl"
    records = write(path, 4)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"x" * 12_345 + b"\n", *lines[2:], b"y" * 5000]))
    assert list(Journal(path).read_new()) == records


def test_a_full_disk_is_a_clear_error_and_leaves_nothing_torn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "j.jsonl"
    with Journal(path, append=True) as journal:
        journal.append({"key": "kept"})
        assert journal._file is not None
        file: BinaryIO = journal._file

        class Full:
            def __getattr__(self, name: str) -> object:
                return getattr(file, name)

            def write(self, line: bytes) -> int:
                return file.write(line[:7])

        monkeypatch.setattr(journal, "_file", Full())
        with pytest.raises(IncompleteError, match=r"cannot be written \(No space left on device\); free space"):
            journal.append({"key": "lost"})
    assert list(Journal(path).read_new()) == [{"key": "kept"}]


def test_a_file_that_cannot_be_opened_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(IncompleteError, match="cannot be written"):
        Journal(tmp_path / "file/j.jsonl", append=True)
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(IncompleteError, match="cannot be read"):
        list(Journal(tmp_path / "folder.jsonl").read_new())


# ---- several writers


def test_several_writers_get_the_offsets_of_their_own_records(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with Journal(path, append=True, shared=True) as one, Journal(path, append=True, shared=True) as two:
        offsets = [journal.append({"i": i}) for i, journal in enumerate([one, two, two, one, two])]
        for journal in (one, two, Journal(path)):
            found = list(journal.read_new_lines())
            assert [offset for offset, _ in found] == offsets
            assert [decode_record(line)["i"] for _, line in found] == [0, 1, 2, 3, 4]
            assert list(journal.read_new()) == []
        one.append({"i": 5})
        assert list(two.read_new()) == list(one.read_new()) == [{"i": 5}]


def test_a_record_that_is_appended_as_read_is_not_returned_to_its_writer(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with Journal(path, append=True, shared=True) as one, Journal(path, append=True, shared=True) as two:
        offsets = [one.append_as_read({"i": i}) for i in range(3)]
        assert list(one.read_new()) == []
        assert [offset for offset, _ in two.read_new_lines()] == offsets
        two.append_as_read({"i": 3})
        assert list(one.read_new()) == [{"i": 3}] and list(two.read_new()) == []
        one.append_as_read({"i": 4})
        with pytest.raises(AssertionError, match="read the new records"):
            two.append_as_read({"i": 5})
    assert [record["i"] for record in Journal(path).read_new()] == [0, 1, 2, 3, 4, 5]


def test_a_shared_journal_keeps_its_tail_until_the_lock_holder_removes_it(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    records = write(path, 3)
    with path.open("ab") as f:
        f.write(b'{"key": "half a line')
    size = path.stat().st_size
    with Journal(path, append=True, shared=True) as journal:
        assert list(journal.read_new()) == records
        assert path.stat().st_size == size
        journal.drop_torn_tail()
        assert path.stat().st_size < size
        journal.append({"key": "next"})
        assert list(journal.read_new()) == [{"key": "next"}]


def test_a_line_that_was_read_and_then_lost_its_newline_does_not_hide_later_ones(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    records = write(path, 3)
    reader = Journal(path)
    assert list(reader.read_new()) == records
    path.write_bytes(path.read_bytes()[:-1] + b"\x0b")
    with Journal(path, append=True) as writer:  # removes the line, which now looks torn
        assert list(reader.read_new()) == []
        writer.append({"key": "next"})
    assert list(reader.read_new()) == [{"key": "next"}]


@pytest.mark.parametrize("length", [0, 1, 4095, 4096, 4097, 20_000])
def test_a_torn_tail_of_any_length_is_removed(tmp_path: Path, length: int) -> None:
    path = tmp_path / "j.jsonl"
    for start in (b"", b"first line\n"):
        path.write_bytes(start + b"x" * length)
        Journal(path, append=True).close()
        assert path.read_bytes() == start


def test_a_damaged_line_is_moved_aside_once_and_all_offsets_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, copy = tmp_path / "j.jsonl", tmp_path / "j.jsonl.damaged"
    records = write(path, 6)
    lines = path.read_bytes().splitlines(keepends=True)
    damaged = lines[2].replace(b"0002", b"0003")
    path.write_bytes(b"".join([*lines[:2], damaged, *lines[3:]]))
    with caplog.at_level(logging.WARNING):
        assert list(Journal(path).read_new()) == [*records[:2], *records[3:]]
        assert not copy.exists()  # only a writer may change files
        for _ in range(3):
            with Journal(path, append=True) as writer:
                found = list(writer.read_new_lines())
                assert writer.damaged == 1
    assert copy.read_bytes() == damaged
    assert [path.read_bytes()[offset:][: len(line)] for offset, line in found] == [line for _, line in found]
    assert [offset for offset, _ in found] == [sum(map(len, lines[:n])) for n in (0, 1, 3, 4, 5)]
    assert caplog.text.count(f"{path}: line 3 is damaged and was skipped") == 1


def test_a_long_damaged_line_is_moved_aside_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "MAX_LINE_BYTES", 1000)
    monkeypatch.setattr(journal_module, "_COPY_BLOCK_BYTES", 700)
    path = tmp_path / "j.jsonl"
    records = write(path, 2)
    path.write_bytes(path.read_bytes() + b"x" * 12_345 + b"\n")
    with Journal(path, append=True) as journal:
        assert list(journal.read_new()) == records
        journal.append({"key": "next"})
    assert (tmp_path / "j.jsonl.damaged").read_bytes() == b"x" * 12_345 + b"\n"
    assert list(Journal(path).read_new()) == [*records, {"key": "next"}]


def test_lines_of_older_versions_have_no_checksum(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    old = [{"key": "a", "text": "제1조"}, {"key": "b", "meta": {"at": "2026-11-24T10:00:00Z"}}]
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in old))
    with Journal(path, append=True) as journal:
        journal.append({"key": "c"})
        assert list(journal.read_new()) == [*old, {"key": "c"}]
    assert not (tmp_path / "j.jsonl.damaged").exists()


@pytest.mark.parametrize("record", [{"n": 1}, {"key": "ab", "text": "제1조(보험금)", "meta": {"at": "x"}}])
def test_no_flipped_bit_makes_a_line_pass_for_one_without_a_checksum(record: dict[str, object]) -> None:
    line = encode_record(record)
    for position in range(len(line) - 1):
        for bit in range(8):
            flipped = bytearray(line)
            flipped[position] ^= 1 << bit
            assert not is_readable(bytes(flipped))


def test_no_file_is_an_empty_journal(tmp_path: Path) -> None:
    assert list(Journal(tmp_path / "none.jsonl").read_new()) == []
