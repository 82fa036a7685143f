"""Checks of whether the gold chunks, and nothing else, answer the question."""

from __future__ import annotations

from insurance_rag.evaluation.checks import check_answer
from insurance_rag.korean import articles, known_quantities, quantities, refusal, remove_whitespace
from insurance_rag.korean.calculations import unsupported_quantities
from insurance_rag.korean.overlap import content_bigrams, covered_share
from insurance_rag.questions.candidate import Candidate
from insurance_rag.questions.checks.registry import question_check
from insurance_rag.questions.corpus import Corpus

MIN_COVERED = 0.15
"""Minimum fraction of the reference's content bigrams that the gold chunks or the question contain. The smallest
fraction among the 225 answerable sample questions is 0.3; for references with a random chunk, the median is 0.08."""


@question_check("unknown_chunk", title="Unknown gold chunk", title_ko="알 수 없는 근거 청크")
def unknown_chunk(candidate: Candidate, corpus: Corpus) -> str | None:
    """The question names a gold chunk that is not in the chunk file, or an answerable question names none."""
    question = candidate.question
    if missing := [i for i in question.gold_chunk_ids if i not in corpus.by_id]:
        return f"not in the chunk file: {', '.join(missing)}"
    return "no gold chunk" if question.answerable and not question.gold_chunk_ids else None


@question_check("unsupported_reference", title="Gold chunk does not answer", title_ko="근거 청크에 답이 없는 질문")
def unsupported_reference(candidate: Candidate, corpus: Corpus) -> str | None:
    """The question is labeled answerable, but its reference answer does not follow from the gold chunks: a number, an
    article or the subject is not in them, or the evidence is not a quote from them.
    """
    question = candidate.question
    if not question.answerable or not question.reference_answer:
        return None
    text, reference = corpus.gold_text(question), question.reference_answer
    if refusal(reference) == "full":
        return reference
    if candidate.evidence and remove_whitespace(candidate.evidence) not in remove_whitespace(text):
        return f"not a quote: {candidate.evidence}"
    known = known_quantities(text)
    for number in question.required_numbers:
        keys = {quantity.key for quantity in quantities(number)}
        is_stated = keys <= known if keys else remove_whitespace(number) in remove_whitespace(text)
        if not is_stated and unsupported_quantities(number, text, question=question.question, allow_rounding=False):
            return f"number not in the chunk: {number}"
    if missing := unsupported_quantities(reference, text, question=question.question, allow_rounding=False):
        return f"number not in the chunk: {missing[0].text}"
    if article := _unknown_article(candidate, corpus):
        return f"article not in the chunk: {article}"
    share = covered_share(content_bigrams(reference), content_bigrams(f"{text}\n{question.question}"))
    return f"only {share:.0%} of the reference's words are in the chunk" if share < MIN_COVERED else None


def _unknown_article(candidate: Candidate, corpus: Corpus) -> str | None:
    question = candidate.question
    known = set().union(*(corpus.texts[i].levels for i in question.gold_chunk_ids))
    asked = {level for article in articles(question.question) for level in article.levels}
    cited = articles(question.reference_answer or "")
    return next((a.text for a in cited if not all(level in known | asked for level in a.levels)), None)


@question_check("doubtful_reference", title="Reference to be checked", title_ko="확인이 필요한 모범 답안", drops=False)
def doubtful_reference(candidate: Candidate, corpus: Corpus) -> str | None:
    """A check of answers objects to the reference answer: it may deny what the gold chunk affirms, name another party,
    or bind a number to something else. These checks err on free wording, so that a person decides.
    """
    question = candidate.question
    if not question.answerable or not question.reference_answer:
        return None
    verdict = check_answer(question.reference_answer, corpus.gold_text(question), question.question, True)
    return "; ".join(f"{finding.check}: {finding.span}" for finding in verdict.findings) or None
