"""Checks of whether the gold chunks are the only ones that answer the question, and whether all of them are needed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from insurance_rag.core.records import Chunk
from insurance_rag.evaluation.correctness.content import lemmas
from insurance_rag.korean import articles, known_quantities, quantities, remove_whitespace
from insurance_rag.korean.overlap import content_bigrams, covered_share
from insurance_rag.questions.candidate import Candidate
from insurance_rag.questions.checks.registry import question_check
from insurance_rag.questions.corpus import Corpus, analyzed_sentences
from insurance_rag.retrieval.base import searchable_text

SEARCHED = 20
"""Number of other chunks that are compared with the gold chunk: those that a search for question and answer finds."""
MARGIN = 0.05
MIN_COVERED = 0.5
MAX_LACKING = 0.1
"""Another chunk answers the question if one of its sentences contains at least MIN_COVERED of the reference's bigrams
and at most MARGIN less than the best sentence of the gold chunk, and if it lacks at most MAX_LACKING (weighted by
rarity) of the question's words that the gold chunk contains. This is so for none of the 225 answerable sample
questions."""


@question_check("ambiguous", title="Another chunk answers, too", title_ko="다른 청크에도 답이 있는 질문")
def ambiguous(candidate: Candidate, corpus: Corpus) -> str | None:
    """Another chunk that the question may be about states the answer as well as the gold chunk does. Chunks with the
    same text as a gold chunk do not count.
    """
    question = candidate.question
    if not question.answerable or not question.reference_answer:
        return None
    wanted = content_bigrams(question.reference_answer)
    numbers = {q.key for number in question.required_numbers for q in quantities(number)}
    gold = [corpus.by_id[i] for i in question.gold_chunk_ids]
    best = max(_best_sentence(wanted, chunk.text, set()) for chunk in gold)
    of_gold = lemmas(corpus.without_names(question.question)) & _words(gold)
    same = {remove_whitespace(chunk.text) for chunk in gold}
    others = corpus.scope(question) - set(question.gold_chunk_ids)
    for chunk in corpus.nearest(f"{question.question} {question.reference_answer}", others, SEARCHED):
        if remove_whitespace(chunk.text) in same:
            continue
        if _best_sentence(wanted, chunk.text, numbers) < max(MIN_COVERED, best - MARGIN):
            continue
        if corpus.weight(of_gold - _words([chunk])) <= MAX_LACKING * corpus.weight(of_gold):
            return f"{chunk.chunk_id} answers it, too"
    return None


def _best_sentence(wanted: frozenset[str], text: str, numbers: set[tuple[float, str]]) -> float:
    """Return the largest fraction of the bigrams that one sentence with all `numbers` contains."""
    found = (covered_share(wanted, own) for _, own, stated in analyzed_sentences(text) if numbers <= stated)
    return max(found, default=0.0)


MIN_OWN_WORDS = 0.1
"""Fraction of the words of a question and its reference, weighted by rarity. A second chunk that explains one of them
reaches it; the neighbor of a chunk that answers alone rarely does."""


def _words(chunks: Iterable[Chunk]) -> frozenset[str]:
    return frozenset().union(*(lemmas(searchable_text(chunk)) for chunk in chunks))


@question_check(
    "one_chunk_suffices", title="One chunk answers alone", title_ko="한 청크로 답할 수 있는 질문", drops=False
)
def one_chunk_suffices(candidate: Candidate, corpus: Corpus) -> str | None:
    """The question is meant to need two chunks, but question and reference answer take nothing from one of them that
    the other one lacks. A second chunk may be needed for a definition in other words, so that a person decides.
    """
    question = candidate.question
    if candidate.kind != "two_chunk" or not question.reference_answer:
        return None
    needed = needed_chunks(f"{question.question}\n{question.reference_answer}", question.gold_chunk_ids, corpus)
    unneeded = [i for i in question.gold_chunk_ids if i not in needed]
    return f"{', '.join(unneeded)} is not needed" if unneeded else None


def needed_chunks(said: str, gold: Sequence[str], corpus: Corpus) -> list[str]:
    """Return which of the gold chunks the text `said` takes something from that gold chunks with other texts lack.

    This is a number, the chunk's own article, or words with at least MIN_OWN_WORDS of the weight of all words. Chunks
    with the same text are all needed, or none of them is.
    """
    said_words = lemmas(said)
    numbers = known_quantities(said)
    cited = {(a.article, a.branch) for a in articles(said)}
    needed = []
    for i in gold:
        own = corpus.texts[i]
        others = [corpus.texts[j] for j in gold if corpus.texts[j].squeezed != own.squeezed]
        of_others = frozenset[str]().union(*(lemmas(other.text) for other in others))
        numbers_of_others = set[tuple[float, str]]().union(*(other.amounts for other in others))
        words = {word for word in said_words & lemmas(own.text) - of_others if len(word) > 1}
        has_words = corpus.weight(words) >= MIN_OWN_WORDS * corpus.weight(said_words)
        if cited & own.own_articles or numbers & own.amounts - numbers_of_others or has_words:
            needed.append(i)
    return needed
