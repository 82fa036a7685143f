"""Content agreement: whether an answer speaks of what the reference speaks of.

Every sentence and every clause of the answer gets two fractions of its content lemmas: `own` occurs in the reference or
the question, and `rival` occurs in another sentence of the gold chunks but not in the reference. A sentence that was
copied from elsewhere in the chunk has a large `rival`. A paraphrase of the reference has a small one, even if it shares
few words with the reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from insurance_rag.core.records import CorrectnessProblem
from insurance_rag.evaluation.correctness.expected import Expected
from insurance_rag.evaluation.correctness.stance import begins_with_verdict, verdict
from insurance_rag.korean import articles, sentences
from insurance_rag.korean.morphemes import morphemes
from insurance_rag.korean.statements import analyze

CONTENT_TAGS = frozenset(["NNG", "NNP", "NR", "SL", "SN", "VV", "VA", "XR", "MAG", "MM"])
COMMON = frozenset(
    [
        "하",
        "되",
        "있",
        "없",
        "받",
        "이",
        "것",
        "때",
        "경우",
        "따르",
        "수",
        "등",
        "주",
        "드리",
        "말",
        "약관",
        "그",
        "보",
        "보험",
        "계약",
        "회사",
        "보험금",
        "네",
        "예",
        "아니요",
    ]
)
"""Lemmas that occur in nearly every answer and say nothing about its subject."""
SAME_SENTENCE = 0.6
"""Sentences of the chunk that agree with the reference at least this much (F-score of the lemmas) state the answer
themselves. They are no rivals."""


MIN_AGREEMENT = 0.2
"""Smallest agreement of a correct answer. This and the next two limits were chosen on the part `tuning` of the labeled
answers (`python -m bench.correctness`)."""
MIN_AGREEMENT_SAME_VERDICT = 0.15
"""The same for an answer whose first statement says yes or no as the reference does."""
MIN_AGREEMENT_EXPLICIT = -0.05
"""The same for an answer that begins with the right 네 or 아니요. Such an answer may use words of its own."""


MIN_NEW_LEMMAS = 5
"""If the reference has at least this many lemmas that are not in the question, the answer must have one of them."""


def find_wrong_content(answer: str, expected: Expected) -> Iterator[CorrectnessProblem]:
    """Yield a problem if the answer speaks of something else than the reference.

    If numbers are required, they show better whether the answer is about the same matter.
    """
    found = agreement(answer, expected)
    wanted = verdict(expected.reference or "", expected.question)
    least = MIN_AGREEMENT
    if wanted and wanted == verdict(answer, expected.question):
        least = MIN_AGREEMENT_EXPLICIT if begins_with_verdict(answer) else MIN_AGREEMENT_SAME_VERDICT
    if not expected.required_numbers and (found < least or (wanted == 0 and _repeats_question(answer, expected))):
        yield CorrectnessProblem(kind="content", text=f"{found:.2f} < {least:.2f}")


def _repeats_question(answer: str, expected: Expected) -> bool:
    """Return whether an answer has none of the words that the reference has and the question does not."""
    new = lemmas(expected.reference or "") - lemmas(expected.question)
    said = lemmas(answer)
    return len(new) >= MIN_NEW_LEMMAS and not any(word in said or (len(word) > 1 and word in answer) for word in new)


def agreement(answer: str, expected: Expected) -> float:
    """Return how well the content of the answer agrees with the reference, from -1 to 1.

    The result is the mean of two values: the largest `own - rival` of any part (see the module's docstring), and
    the recall, which is the fraction of the reference's lemmas that the answer contains. An answer without content
    lemmas ("네, 그렇습니다") has an agreement of 0.
    """
    reference = lemmas(expected.reference or "")
    known = reference | lemmas(expected.question)
    text = f"{expected.reference}\n{expected.question}"
    rivals = _rivals(tuple(expected.gold_texts), reference)
    found = lemmas(answer)
    parts = [lemmas(part) for part in (*(s.text for s in sentences(answer)), *(s.text for s in analyze(answer)))]
    scores = [_own_minus_rival(part, known, text, rivals) for part in parts if part]
    recall = len(found & reference) / len(reference) if reference else 0.0
    return (max(scores) + recall) / 2 if scores else 0.0


def f_score(a: frozenset[str], b: frozenset[str]) -> float:
    """Return the F-score of two sets of lemmas: twice the common ones divided by the sum of both sizes."""
    return 2 * len(a & b) / (len(a) + len(b)) if a and b else 0.0


def lemmas(text: str) -> frozenset[str]:
    """Return the content lemmas of a text without references to articles and without common words."""
    return frozenset().union(*(_lemmas(line) for line in without_articles(text).split("\n") if line.strip()))


@lru_cache(20_000)
def _lemmas(line: str) -> frozenset[str]:
    return frozenset(m.form for m in morphemes(line) if m.tag in CONTENT_TAGS and m.form not in COMMON)


def without_articles(text: str) -> str:
    """Return the text without references to articles."""
    for reference in reversed(articles(text)):
        text = text[: reference.start] + text[reference.end :]
    return text


@lru_cache(5_000)
def _rivals(gold_texts: tuple[str, ...], reference: frozenset[str]) -> tuple[frozenset[str], ...]:
    """Return the lemmas of the gold chunks' sentences that do not state the answer, without those of the reference."""
    found = [lemmas(sentence.text) for text in gold_texts for sentence in sentences(text)]
    support = max(found, key=lambda own: f_score(own, reference), default=frozenset[str]())
    return tuple(own - reference for own in found if own != support and f_score(own, reference) < SAME_SENTENCE)


def _own_minus_rival(
    sentence: frozenset[str], known: frozenset[str], text: str, rivals: Sequence[frozenset[str]]
) -> float:
    own = sum(lemma in known or (len(lemma) > 1 and lemma in text) for lemma in sentence) / len(sentence)
    rival = max((len(sentence & other) / len(sentence) for other in rivals), default=0.0)
    return own - rival
