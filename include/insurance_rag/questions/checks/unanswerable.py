"""Checks of whether an unanswerable question really has no answer in the documents."""

from __future__ import annotations

from functools import lru_cache

from insurance_rag.evaluation.correctness.content import lemmas
from insurance_rag.korean import quantities, refusal, sentences
from insurance_rag.questions.asked import asked_units
from insurance_rag.questions.candidate import Candidate
from insurance_rag.questions.checks.registry import question_check
from insurance_rag.questions.corpus import Corpus

SEARCHED = 20
"""Number of chunks in which the answer is looked for: those that a search for the question finds."""
MIN_COVERED = 0.8
MIN_COVERED_WITH_QUANTITY = 0.7
"""A sentence may answer the question if it contains at least this fraction of the question's words, weighted by rarity.
The second limit is for a question about a quantity, if the sentence states one of this unit that the question lacks. No
near miss among the sample questions and the recorded pairs of the simulator reaches the limits."""

_QUESTION_WORDS = frozenset(
    ["얼마", "몇", "어떻", "무엇", "언제", "어디", "누구", "어느", "왜", "며칠", "나오", "받", "알", "싶", "궁금", "저"]
)


@question_check("missed_answer", title="The documents answer it", title_ko="약관에 답이 있는 질문")
def missed_answer(candidate: Candidate, corpus: Corpus) -> str | None:
    """The question is labeled unanswerable, but a sentence of the documents contains nearly all of its words, and a
    quantity of the kind that it asks for.
    """
    question = candidate.question
    if question.answerable:
        return None
    asked = lemmas(corpus.without_names(question.question)) - _QUESTION_WORDS
    if len(asked) < 2:
        return None
    total = corpus.weight(asked)
    units = asked_units(question.question)
    given = {quantity.key for quantity in quantities(question.question)}
    for chunk in corpus.nearest(question.question, corpus.scope(question), SEARCHED):
        heading = lemmas(chunk.text.partition("\n")[0])
        for sentence, own, stated in _sentences(chunk.text):
            share = corpus.weight(asked & (own | heading)) / total
            has_answer = not units or any(key[1] in units and key not in given for key in stated)
            limit = MIN_COVERED_WITH_QUANTITY if units else MIN_COVERED
            if has_answer and share >= limit:
                return f"{chunk.chunk_id} may answer it: {sentence}"
    return None


@question_check("answered_refusal", title="Reference does not refuse", title_ko="거절하지 않는 모범 답안")
def answered_refusal(candidate: Candidate, corpus: Corpus) -> str | None:
    """The question is labeled unanswerable, but its reference answer does not refuse, or it requires numbers."""
    question = candidate.question
    if question.answerable:
        return None
    if question.required_numbers:
        return f"requires {', '.join(question.required_numbers)}"
    reference = question.reference_answer
    return reference if reference and refusal(reference) != "full" else None


@lru_cache(maxsize=20_000)
def _sentences(text: str) -> tuple[tuple[str, frozenset[str], frozenset[tuple[float, str]]], ...]:
    """Return each sentence with its lemmas and the keys of its quantities."""
    return tuple((s.text, lemmas(s.text), frozenset(q.key for q in quantities(s.text))) for s in sentences(text))
