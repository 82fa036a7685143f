"""Answers on disk as they are made: appended, flushed and synced, so that a killed run resumes where it stood."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType

from insurance_rag.evaluation.requests import Reply


class EvaluationJournal:
    """Replies by the key of what was asked. Lines that a kill left torn are dropped when the file is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.replies: dict[str, Reply] = {}

    def __enter__(self) -> EvaluationJournal:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("a+b")
        self._file.seek(0)
        whole = 0
        for line in self._file:
            try:
                row = json.loads(line)
                self.replies[row["key"]] = Reply(row["text"], row["new_tokens"], row["seconds"])
            except (ValueError, KeyError, TypeError):
                break
            whole += len(line)
        self._file.truncate(whole)
        self._file.seek(0, os.SEEK_END)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.sync()
        self._file.close()

    def add(self, key: str, reply: Reply) -> None:
        self.replies[key] = reply
        self._file.write(json.dumps({"key": key, **vars(reply)}, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
        self._file.flush()  # now it outlives the process; `sync` makes it outlive the machine

    def sync(self) -> None:
        os.fsync(self._file.fileno())
