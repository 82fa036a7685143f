"""Finds out what a new edition of the chunks means for existing questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from insurance_rag.chunks.frozen import frozen_manifest_path
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records import Chunk, Question
from insurance_rag.core.records.questions import GoldStatus
from insurance_rag.korean import remove_whitespace
from insurance_rag.korean.overlap import content_bigrams, covered_share
from insurance_rag.questions.corpus import Corpus
from insurance_rag.questions.set_files import report_path

MIN_SIMILARITY = 0.6
"""A chunk with another id and another text is proposed as the new place of a gold chunk if it contains at least this
fraction of the old text's bigrams."""


def text_sha256(text: str) -> str:
    """Return a hash of a chunk's text. Whitespace does not count."""
    return sha256_text(remove_whitespace(text))


def gold_hashes(questions: Sequence[Question], corpus: Corpus) -> dict[str, str]:
    """Return the hash of every gold chunk's text, by chunk id."""
    ids = sorted({i for question in questions for i in question.gold_chunk_ids})
    return {i: text_sha256(corpus.by_id[i].text) for i in ids if i in corpus.by_id}


def read_gold_hashes(questions: Path) -> dict[str, str]:
    """Return the hashes that `make` or `freeze` wrote next to a set of questions; empty if there are none."""
    for path in (frozen_manifest_path(questions), report_path(questions)):
        if path.is_file() and isinstance(content := read_json(path), dict):
            hashes = content.get("gold_chunks")
            if isinstance(hashes, dict):
                return {str(i): str(sha256) for i, sha256 in hashes.items()}
    return {}


def check_same_corpus(questions: Sequence[Question], hashes: Mapping[str, str], corpus: Corpus, where: str) -> None:
    """Raise InvalidInputError if no gold chunk of the questions exists in the corpus, by id or by text."""
    ids = {i for question in questions for i in question.gold_chunk_ids}
    known = {text_sha256(chunk.text) for chunk in corpus.chunks} if hashes else set()
    if ids and not ids & corpus.by_id.keys() and not known & set(hashes.values()):
        example = ", ".join(sorted(ids)[:3])
        raise InvalidInputError(
            f"{where}: none of its {len(ids)} gold chunks ({example} ...) is in the chunk file; give the chunks of the "
            "same documents, or make a new set"
        )


class Edition:
    """A new edition of the chunks, compared with the texts that the questions were made from."""

    def __init__(self, corpus: Corpus, hashes: Mapping[str, str], old: Corpus | None = None) -> None:
        """`hashes` has the hashes of the old texts. `old` is the old edition, if it is available."""
        self._corpus = corpus
        self._hashes = dict(hashes) | ({c.chunk_id: text_sha256(c.text) for c in old.chunks} if old else {})
        self._old = old
        self._by_hash: dict[str, list[Chunk]] = {}
        for chunk in corpus.chunks:
            self._by_hash.setdefault(text_sha256(chunk.text), []).append(chunk)

    def status(self, question: Question) -> tuple[GoldStatus, list[str], list[str] | None]:
        """Return what happened to the gold chunks: the status, the ids that are affected, and the proposed new ids.

        Whether a changed chunk still states the answer is up to the checks.
        """
        affected = [i for i in question.gold_chunk_ids if self._is_affected(i)]
        if not affected:
            return "unchanged", [], None
        gone = [i for i in affected if i not in self._corpus.by_id]
        proposed = [self._new_place(i) if i in gone else i for i in question.gold_chunk_ids]
        if not gone:
            return "changed", affected, None
        if None in proposed:
            return "gone", affected, None
        return "moved", affected, list(dict.fromkeys(i for i in proposed if i is not None))

    def _is_affected(self, chunk_id: str) -> bool:
        if chunk_id not in self._corpus.by_id:
            return True
        before = self._hashes.get(chunk_id)
        return before is not None and before != text_sha256(self._corpus.by_id[chunk_id].text)

    def _new_place(self, chunk_id: str) -> str | None:
        """Return the chunk that has the text of a chunk that is gone; else a similar new chunk of the same document."""
        if same := self._by_hash.get(self._hashes.get(chunk_id, "")):
            return same[0].chunk_id
        if self._old is None or chunk_id not in self._old.by_id:
            return None
        old = self._old.by_id[chunk_id]
        wanted = content_bigrams(old.text)
        added = (
            chunk
            for chunk in self._corpus.chunks
            if chunk.metadata.source == old.metadata.source and chunk.chunk_id not in self._old.by_id
        )
        scored = [(covered_share(wanted, content_bigrams(chunk.text)), chunk.chunk_id) for chunk in added]
        share, found = max(scored, default=(0.0, ""))
        return found if share >= MIN_SIMILARITY else None
