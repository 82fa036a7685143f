"""Keeps a reranker's scores between searches and between runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from insurance_rag.core.errors import IncompleteError
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.journal import Journal

log = logging.getLogger(__name__)

KEY_CHARACTERS = 24


class ScoreCache:
    """Scores by question and passage, in memory and, if a file is given, in a journal with one record per question."""

    def __init__(self, file: Path | None) -> None:
        """Read the scores in `file`, if it exists. If the file cannot be written, scores are kept only in memory."""
        self._scores: dict[str, dict[str, float]] = {}
        self._journal: Journal | None = None
        if file is None:
            return
        try:
            self._journal = Journal(file, append=True, shared=True)
            for record in self._journal.read_new():
                self._scores.setdefault(record["question"], {}).update(record["scores"])
        except IncompleteError as e:
            self._give_up(e)

    def find(self, question: str, passages: Sequence[str]) -> list[float | None]:
        """Return the stored score of every passage, or None where there is none."""
        known = self._scores.get(_key(question), {})
        return [known.get(_key(passage)) for passage in passages]

    def add(self, question: str, scores: Mapping[str, float]) -> None:
        """Store the scores of passages for a question."""
        by_key = {_key(passage): score for passage, score in scores.items()}
        self._scores.setdefault(_key(question), {}).update(by_key)
        if self._journal is None:
            return
        try:
            with self._journal.locked():  # another process may have the same cache folder
                self._journal.append({"question": _key(question), "scores": by_key})
        except IncompleteError as e:
            self._give_up(e)

    def _give_up(self, error: IncompleteError) -> None:
        log.warning("%s; the reranker's scores are not stored", error)
        self._journal = None


def _key(text: str) -> str:
    return sha256_text(text)[:KEY_CHARACTERS]
