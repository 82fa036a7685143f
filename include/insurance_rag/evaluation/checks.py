"""Checks of an answer against the clauses it was given: rules, free and always on, each with the span it rests on.

They find what contradicts the context on its face: tails, loops, echoes, numbers and articles from nowhere, sentences
that share no words with the clauses, refusals in the wrong place. They cannot find a negation, swapped roles, or a
wrong number that stands elsewhere in the context; a judge or a person can.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from insurance_rag.core.records import Finding, Verdict
from insurance_rag.korean import (
    advertising,
    articles,
    foreign_tail,
    is_refusal_sentence,
    named_levels,
    prompt_echo,
    refusal,
    repetition,
    sentences,
    unsupported_quantities,
)

#: Findings that are faults but no hallucination: nothing was made up.
HARMLESS = frozenset({"empty", "false_refusal"})
_GARBLED = re.compile("[\ufffd\x00-\x08\x0b-\x1f\x7f]+")
#: Longer answers are judged by their beginning and their end; a 100,000-character answer is a loop or an echo anyway.
LONGEST = 20_000
MIN_SUPPORT = 0.4

_WORD = re.compile(r"[가-힣A-Za-z]{2,}")


def check_answer(
    answer: str, context: str, question: str = "", answerable: bool | None = None, min_support: float = MIN_SUPPORT
) -> Verdict:
    """The verdict on one answer. `answerable`: whether this context answers the question; None if that is not known.

    What the question itself states (its amounts, its articles) counts as known: an answer may repeat it.
    """
    text = answer if len(answer) <= LONGEST else answer[: LONGEST // 2] + "\n" + answer[-LONGEST // 2 :]
    refused = refusal(text)
    if not text.strip():
        return Verdict(hallucinated=False, findings=[Finding(check="empty", span="")], refusal="none")
    findings = [*_form(text, context, question), *_facts(text, context, question)]
    if refused != "full":
        findings += _lexical_support(text, f"{context}\n{question}", min_support)
    if answerable is False and refused == "none":
        findings.append(Finding(check="missed_refusal", span=sentences(text)[0].text))
    if answerable is True and refused == "full":
        findings.append(Finding(check="false_refusal", span=text.strip()[:200]))
    hallucinated = any(finding.check not in HARMLESS for finding in findings)
    return Verdict(hallucinated=hallucinated, findings=findings, refusal=refused)


def _form(text: str, context: str, question: str) -> Iterator[Finding]:
    """What no answer should contain, whatever it says."""
    found = (
        ("foreign_tail", foreign_tail(text, context, question)),
        ("advertising", advertising(text, context, question)),
        ("loop", repetition(text)),
        ("prompt_echo", prompt_echo(text, question)),
    )
    for check, span in found:
        if span is not None:
            yield Finding(check=check, span=span.text)
    if broken := _GARBLED.search(text):
        yield Finding(check="garbled", span=broken.group())


def _facts(text: str, context: str, question: str) -> Iterator[Finding]:
    """Articles, amounts, periods and shares that neither the clauses nor the question name."""
    known = named_levels(context) | named_levels(question)
    for reference in articles(text):
        if not known.issuperset(reference.levels):
            yield Finding(check="article", span=reference.text)
    for quantity in unsupported_quantities(text, context, question):
        yield Finding(check="quantity", span=quantity.text)


def _lexical_support(text: str, context: str, least: float) -> Iterator[Finding]:
    """Sentences that share too few of their character bigrams with the context; those that only refuse are left out."""
    known = _bigrams(context)
    for sentence in sentences(text):
        own = _bigrams(sentence.text)
        if len(own) >= 6 and not is_refusal_sentence(sentence.text) and len(own & known) < least * len(own):
            yield Finding(check="unsupported", span=sentence.text)


def _bigrams(text: str) -> set[str]:
    return {word[i : i + 2] for word in _WORD.findall(text) for i in range(len(word) - 1)}
