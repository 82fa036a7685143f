"""Selects the best candidates: the planned number of each kind, spread over documents, sections and chunks."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from insurance_rag.chunks.sections import section_name
from insurance_rag.config.questions import QuestionsConfig
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records.questions import QUESTION_KINDS, QuestionKind
from insurance_rag.questions.candidate import Candidate
from insurance_rag.questions.corpus import Corpus
from insurance_rag.questions.duplicates import NEAR_DUPLICATE, SimilarQuestions

NOT_NEEDED, CHUNK_FULL = "not_needed", "chunk_full"
SUBSTITUTES: tuple[tuple[QuestionKind, ...], ...] = (("fact", "scenario", "easy", "two_chunk"), ("near_miss", "far"))
"""Kinds that can replace each other if there are too few candidates of one."""


@dataclass
class Selection:
    """The selected candidates, and why the others were not selected."""

    chosen: list[Candidate] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    """Question id of each candidate that was not selected -> reason: the name of a check, or why it was not needed."""

    @property
    def chosen_ids(self) -> set[str]:
        """Ids of the selected questions."""
        return {candidate.question.question_id for candidate in self.chosen}

    def count(self, kind: QuestionKind) -> int:
        """Return the number of selected candidates of a kind."""
        return sum(candidate.kind == kind for candidate in self.chosen)


def select(
    candidates: Sequence[Candidate],
    kept: Sequence[Candidate],
    wanted: Mapping[QuestionKind, int],
    corpus: Corpus,
    config: QuestionsConfig,
    *,
    fill: bool = False,
) -> Selection:
    """Select up to the `wanted` number of candidates of each kind. `kept` are questions that are in the set already.

    Candidates that no check objects to come first. If there are more than needed, the document, the section and the
    chunk with the fewest questions for their size come first. The result depends only on the content and the seed.

    With `fill`, other answerable questions replace answerable ones of which there are too few, and likewise for
    unanswerable questions.
    """
    selection = Selection(reasons={c.question.question_id: c.dropped_by for c in candidates if c.dropped_by})
    selector = _Selector(corpus, config, selection, kept)
    kinds = sorted(QUESTION_KINDS, key=lambda kind: (wanted[kind], kind))  # the rare kinds choose first
    for kind in kinds:
        selector.choose([c for c in candidates if c.kind == kind and not c.dropped_by], wanted[kind])
    for group in SUBSTITUTES if fill else ():
        taken = selection.chosen_ids
        left = [c for c in candidates if c.kind in group and not c.dropped_by and c.question.question_id not in taken]
        selector.choose(left, sum(wanted[kind] - selection.count(kind) for kind in group))
    chosen = selection.chosen_ids
    for candidate in candidates:
        if candidate.question.question_id not in chosen:
            selection.reasons.setdefault(candidate.question.question_id, NOT_NEEDED)
    return selection


class _Selector:
    def __init__(
        self, corpus: Corpus, config: QuestionsConfig, selection: Selection, kept: Sequence[Candidate]
    ) -> None:
        self._corpus, self._config, self._selection = corpus, config, selection
        self._similar = SimilarQuestions(config.near_duplicate)
        self._of_chunk: Counter[str] = Counter()
        self._of_place: Counter[str] = Counter()
        self._sizes: Counter[str] = Counter()
        self._places: dict[str, tuple[str, str, str]] = {}
        for chunk in corpus.chunks:
            self._sizes.update((chunk.metadata.source, section_name(chunk)))
        for candidate in kept:
            self._count(candidate)

    def choose(self, candidates: Sequence[Candidate], n: int) -> None:
        """Choose up to `n` of the candidates: the harder ones as planned, then the others."""
        harder = math.ceil(self._config.not_first_share * n)
        is_hard = [c for c in candidates if c.question.answerable and c.rank != 1]
        chosen = self._choose(is_hard, min(n, harder))
        taken = self._selection.chosen_ids
        left = [c for c in candidates if c.question.question_id not in taken]
        chosen += self._choose([c for c in left if not c.warnings], n - chosen)
        self._choose([c for c in left if c.warnings], n - chosen)

    def _choose(self, candidates: Sequence[Candidate], n: int) -> int:
        groups: defaultdict[str, list[Candidate]] = defaultdict(list)
        for candidate in sorted(candidates, key=self._draw, reverse=True):
            groups[self._first_chunk(candidate)].append(candidate)
        chosen = 0
        while groups and chosen < n:
            chunk_id = min(groups, key=self._load)
            candidate = groups[chunk_id].pop()
            if not groups[chunk_id]:
                del groups[chunk_id]
            if self._fits(candidate):
                self._selection.chosen.append(candidate)
                self._count(candidate)
                chosen += 1
        return chosen

    def _draw(self, candidate: Candidate) -> str:
        return sha256_text(str(self._config.seed), candidate.question.question_id)

    def _first_chunk(self, candidate: Candidate) -> str:
        """Return the first gold chunk. Questions without one are grouped by their filters."""
        return next(iter(candidate.question.gold_chunk_ids), str(sorted(candidate.question.filters.items())))

    def _load(self, chunk_id: str) -> tuple[float, float, int, str]:
        """Return how many questions there are for the size of the document, of the section, and about the chunk."""
        document, section, draw = self._place(chunk_id)
        shares = [self._of_place[place] / max(1, self._sizes[place]) for place in (document, section)]
        return shares[0], shares[1], self._of_chunk[chunk_id], draw

    def _place(self, chunk_id: str) -> tuple[str, str, str]:
        """Return the document and the section of a chunk, and a string that decides between chunks of equal load."""
        if chunk_id not in self._places:
            chunk = self._corpus.by_id.get(chunk_id)
            place = (chunk.metadata.source, section_name(chunk)) if chunk else ("", "")
            self._places[chunk_id] = (*place, sha256_text(str(self._config.seed), chunk_id))
        return self._places[chunk_id]

    def _fits(self, candidate: Candidate) -> bool:
        question = candidate.question
        full = [i for i in question.gold_chunk_ids if self._of_chunk[i] >= self._config.max_per_chunk]
        if full or self._similar.find(question.question):
            self._selection.reasons[question.question_id] = CHUNK_FULL if full else NEAR_DUPLICATE
            return False
        return True

    def _count(self, candidate: Candidate) -> None:
        question = candidate.question
        self._similar.add(question.question)
        self._of_chunk.update(question.gold_chunk_ids or [self._first_chunk(candidate)])
        self._of_place.update(self._place(self._first_chunk(candidate))[:2])
