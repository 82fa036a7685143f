"""Checks whether the judge's evidence supports a claim: it is literal, long enough, and says what the claim says.

A language model that judges can be wrong or careless: it may quote a single syllable, or a sentence that says the
opposite. The checks need no model. They cannot show that a quote supports a claim, but they find many that do not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from insurance_rag.evaluation.judge.quotes import contains_quote, letters
from insurance_rag.korean import articles, quantities, unsupported_quantities
from insurance_rag.korean.bounds import Bound, bounded_quantities
from insurance_rag.korean.predicates import Predicate
from insurance_rag.korean.statements import Statement, analyze

MIN_QUOTE_LETTERS = 8
"""Minimum number of letters and digits in the evidence for a claim."""

NO_QUOTE = "a claim has no quote"
SHORT_QUOTE = "a quote is too short"
NOT_LITERAL = "a quote is not in the context"
QUANTITY_MISSING = "a quote does not state a quantity of its claim"
BOUND_DIFFERS = "a quote states another bound (이상, 이하, 초과, 미만) than its claim"
ARTICLE_DIFFERS = "a quote is from another article than its claim cites"
POLARITY_DIFFERS = "a quote affirms what its claim denies, or denies what it affirms"

# Bounds that the claim and the quote must both state. A bound in other words (지나서) may be missing in the quote.
_EXPLICIT_BOUND = re.compile("이상|이하|초과|미만")

# A worked example may assume any quantity. What follows the condition must be calculated from it and from the quote.
_EXAMPLE = re.compile(r"(?:가령|예를\s?들어|예컨대|예시로)[^.]{1,80}?(?:라면|다면|이면|경우|때)")

# Predicates that deny without a negation: `보상에서 제외합니다` means `보상하지 않습니다`.
_DENYING = frozenset(["면책", "제외", "무효", "거절", "면제", "불가", "불가능", "배제", "상실", "소멸"])
# Lemmas that say nothing without another word.
_LIGHT = frozenset(["하", "되", "있", "없", "받", "보", "이", "아니"])
_COORDINATING = frozenset(["고", "며", "으며", "지만", "나", "으나", "는데", "은데", "ᆫ데", "거나"])


def missing_support(claim: str, evidence: Sequence[str], context: str, question: str) -> str | None:
    """Return why the evidence does not support the claim, or None if no check objects.

    `evidence` consists of one or more quotes from `context`. A quantity that only the question states needs no quote,
    unless the quotes state other quantities of this unit and the claim repeats nothing of what they state.
    """
    quotes = [quote for quote in evidence if letters(quote)]
    if not quotes:
        return NO_QUOTE
    if sum(len(letters(quote)) for quote in quotes) < MIN_QUOTE_LETTERS:
        return SHORT_QUOTE
    if not all(contains_quote(context, quote) for quote in quotes):
        return NOT_LITERAL
    text = "\n".join(quotes)
    if not _states_quantities(claim, text, question):
        return QUANTITY_MISSING
    if not _states_bounds(claim, text):
        return BOUND_DIFFERS
    statements = _quoted_statements(quotes, context)
    if not _cites_quoted_articles(claim, text, statements):
        return ARTICLE_DIFFERS
    return None if _same_polarity(claim, statements) else POLARITY_DIFFERS


def _states_quantities(claim: str, quote: str, question: str) -> bool:
    assumed = _assumptions(claim)
    unquoted = unsupported_quantities(claim, quote, assumed)
    if not unquoted:
        return True
    if unsupported_quantities(claim, quote, assumed, question):
        return False
    quoted = quantities(quote)
    if {q.key for q in quantities(claim)} & {q.key for q in quoted}:
        return True
    return not {q.unit for q in unquoted} & {q.unit for q in quoted}


def _assumptions(claim: str) -> str:
    """Return the condition of a worked example, such as `예를 들어 손해액이 500만원이라면`; empty if there is none."""
    example = _EXAMPLE.search(claim)
    return example.group() if example else ""


def _states_bounds(claim: str, quote: str) -> bool:
    """Return whether the quote has the bounds of the claim. Bounds of quantities that are not quoted are skipped."""
    quoted = dict[tuple[float, str], set[Bound]]()
    for found in bounded_quantities(quote):
        quoted.setdefault(found.key, set()).update([found.bound] if found.bound else [])
    for found in bounded_quantities(claim):
        if not found.bound or found.key not in quoted or found.bound in quoted[found.key]:
            continue
        end = found.quantity.end
        if quoted[found.key] or _EXPLICIT_BOUND.search(claim[end : end + 8]):
            return False
    return True


def _cites_quoted_articles(claim: str, quote: str, statements: Sequence[Statement]) -> bool:
    """Return whether the quotes come from, or name, an article that the claim cites. Unknown articles are skipped."""
    cited = {(found.article, found.branch) for found in articles(claim) if found.article}
    quoted = {statement.article for statement in statements if statement.article}
    named = {(found.article, found.branch) for found in articles(quote) if found.article}
    return not cited or not quoted or bool(cited & (quoted | named))


def _same_polarity(claim: str, statements: Sequence[Statement]) -> bool:
    """Return whether the quotes affirm what the claim affirms and deny what it denies.

    Each predicate that the claim asserts is compared with the quotes' predicates of the same lemma. If the main
    predicate has none, it is compared with all predicates of the quotes: a claim that denies needs a quote that denies
    something. A quote without a predicate, such as the row of a table, affirms.
    """
    quoted = [found for statement in statements for found in _predicates(statement)]
    stated = [found for statement in analyze(claim) for found in _predicates(statement) if found.asserted]
    for predicate in stated:
        same = [other for other in quoted if other.lemma == predicate.lemma and other.lemma not in _LIGHT]
        polarities = {other.denies for other in same if other.asserted} or {other.denies for other in same}
        if not polarities and predicate is stated[-1]:
            polarities = {other.denies for other in quoted} or {False}
        if polarities and predicate.denies not in polarities:
            return False
    return True


def _quoted_statements(quotes: Sequence[str], context: str) -> list[Statement]:
    """Return the statements of the context that the quotes contain or belong to.

    In the context, the items of a list inherit the predicate of their lead sentence, which a quote may leave out. A
    quote with other particles than the context is analyzed without its context.
    """
    in_context = [(letters(statement.text), statement) for statement in analyze(context)]
    found = list[Statement]()
    for quote in quotes:
        text = letters(quote)
        same = [s for words, s in in_context if words and (words in text or text in words)]
        found += same or analyze(quote)
    return found


class _Predicate(NamedTuple):
    lemma: str
    denies: bool
    asserted: bool
    """False for the predicate of a condition or of a noun phrase."""


def _predicates(statement: Statement) -> Iterator[_Predicate]:
    for predicate in statement.predicates:
        asserted = predicate.ending == "final" or predicate.connective in _COORDINATING
        yield _Predicate(predicate.lemma, _denies(predicate), asserted)
    if statement.lead is not None:
        yield _Predicate(statement.lead.lemma, _denies(statement.lead), True)


def _denies(predicate: Predicate) -> bool:
    return predicate.negated != (predicate.lemma in _DENYING)
