"""Finds the chunk of every distinct question, and keeps it in a journal, so that a killed import continues."""

from __future__ import annotations

import json
from collections.abc import Sequence

from insurance_rag.config.live_questions import LiveQuestionsConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.journal import Journal
from insurance_rag.core.records import Chunk, Question
from insurance_rag.core.records.live_questions import LiveMatch, LiveRecord
from insurance_rag.korean.personal_data import without_placeholders
from insurance_rag.questions.live.distinct import Group
from insurance_rag.questions.live.store import RECORDS_AT_ONCE, LiveFolder, append_records, read_matches
from insurance_rag.retrieval import Retriever, build_retriever
from insurance_rag.retrieval.base import Filters

BM25_MIN_SCORE = 7.0
"""Score that separates questions about the sample policies, at most 5 % of which have a lower one, from questions about
other matters, most of which have."""


def min_score(config: LiveQuestionsConfig) -> float:
    """Return the minimum score of a chunk. Raises InvalidInputError if the retriever needs one that is not set."""
    if config.min_score is not None:
        return config.min_score
    if config.retrieval.kind != "bm25" or config.retrieval.reranker:
        kind = config.retrieval.kind + (" with a reranker" if config.retrieval.reranker else "")
        raise InvalidInputError(
            f"min_score: the scores of {kind} have their own scale; set it with --set min_score=NUMBER, after a look "
            "at the scores that `retrieve --out` writes"
        )
    return BM25_MIN_SCORE


def found_chunk(match: LiveMatch, config: LiveQuestionsConfig) -> str | None:
    """Return the id of the matched chunk; None if its score is below the minimum."""
    return match.chunk_id if match.score >= min_score(config) else None


class Matcher:
    """Finds chunks with one retriever, which is built when it is first needed."""

    def __init__(self, folder: LiveFolder, chunks: Sequence[Chunk], chunks_sha256: str, config: LiveQuestionsConfig):
        self._folder, self._chunks, self._config = folder, chunks, config
        self._identity = sha256_text(chunks_sha256, config.retrieval.model_dump_json())
        self._retriever: Retriever | None = None
        self._values = {
            name: {str(getattr(chunk.metadata, name)) for chunk in chunks} for name in ("company", "policy_type")
        }

    def match_groups(self, groups: Sequence[Group]) -> list[LiveMatch]:
        """Return the match of each group. Those in the journal are not looked up again."""
        use_filters = self._config.retrieval.use_filters
        asked = [(group.first.question, self.filters(group.first) if use_filters else {}) for group in groups]
        with Journal(self._folder.matches, append=True) as journal:
            known = read_matches(journal)
            keys = [sha256_text(self._identity, question, json.dumps(f, sort_keys=True))[:32] for question, f in asked]
            waiting: list[LiveMatch] = []
            for key, (question, filters) in zip(keys, asked, strict=True):
                if key not in known:
                    known[key] = self._search(key, question, filters)
                    waiting.append(known[key])
                if len(waiting) == RECORDS_AT_ONCE:
                    append_records(journal, waiting)
                    waiting = []
            append_records(journal, waiting)
        return [known[key] for key in keys]

    def match_frozen(self, questions: Sequence[Question]) -> list[LiveMatch]:
        """Return the best chunk of each question of the frozen set, without filters, as live questions have none."""
        return [self._search(question.question_id, question.question, {}) for question in questions]

    def filters(self, record: LiveRecord) -> Filters:
        """Return the company and policy type of a record, if there are chunks with these values."""
        given: Filters = {"company": record.company, "policy_type": record.policy_type}
        return {name: value for name, value in given.items() if value and value in self._values[name]}

    def _search(self, key: str, question: str, filters: Filters) -> LiveMatch:
        if self._retriever is None:
            config = self._config.retrieval
            self._retriever = build_retriever(config.kind, self._chunks, self._folder.index, config)
        hits = self._retriever.search(without_placeholders(question), 1, filters)
        return (
            LiveMatch(key=key, chunk_id=hits[0].chunk_id, score=round(hits[0].score, 3)) if hits else LiveMatch(key=key)
        )
