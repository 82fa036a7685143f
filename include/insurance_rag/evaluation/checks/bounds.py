"""Check for numbers of the context whose bound the answer turns round: 20일 이하 instead of 20일 이상."""

from __future__ import annotations

from collections.abc import Iterator

from insurance_rag.evaluation.checks.passages import Match, claim_weights, statement_meaning
from insurance_rag.evaluation.checks.registry import CheckedAnswer, check
from insurance_rag.korean.bounds import LOWER, UPPER, Bound, BoundedQuantity, bounded_quantities
from insurance_rag.korean.statements import Statement

MIN_SCORE = 0.35
"""A passage with a smaller cosine similarity to the sentence may be about something else."""
NEAR = 0.7
"""Passages with the same number count if their similarity is at least this fraction of the best one's."""


MAX_NUMBERS = 2
"""In a clause with more numbers, it is unclear which of them belong together."""
# Main predicates that only state the bound: `30일이 지나지 않아야 하고`.
_EXCEEDING = frozenset(["지나", "넘", "초과", "넘기", "경과", "미달"])


@check(
    "bound",
    title="Bound turned round",
    title_ko="이상·이하 바뀜",
    description="A number has the opposite bound of the same number in the context, such as 이하 instead of 이상.",
    order=76,
)
def find_reversed_bounds(answer: CheckedAnswer) -> Iterator[str]:
    """Yield every number whose bound is the opposite of its bound in all similar passages with the same number."""
    for statement in answer.statements:
        bounded = [quantity for quantity in statement.quantities if _direction(quantity.bound)]
        if not bounded:
            continue
        matches = answer.passages.matches(claim_weights(statement.text, answer.question))
        for quantity in bounded:
            if _is_reversed(statement, quantity, matches):
                yield quantity.quantity.text


def _is_reversed(statement: Statement, quantity: BoundedQuantity, matches: list[Match]) -> bool:
    shown = [match for match in matches if any(q.key == quantity.key for q in match.passage.statement.quantities)]
    if not shown or shown[0].score < MIN_SCORE:
        return False
    near = _with_most_numbers(statement, [match for match in shown if match.score >= NEAR * shown[0].score])
    return all(_reverses(statement, quantity, match) for match in near)


def _with_most_numbers(statement: Statement, matches: list[Match]) -> list[Match]:
    """Return the passages that share the most numbers with the statement: `180일 이내 | 30%` is about 30%."""
    keys = {q.key for q in statement.quantities}
    if len(keys) > MAX_NUMBERS:
        return matches
    shared = [len(keys & {q.key for q in match.passage.statement.quantities}) for match in matches]
    return [match for match, n in zip(matches, shared, strict=True) if n == max(shared)]


def _reverses(statement: Statement, quantity: BoundedQuantity, match: Match) -> bool:
    """Return whether the passage has the number only with the opposite bound, and the same meaning.

    `30일이 지나면 철회할 수 없다` agrees with `30일 이내에 철회할 수 있다`: both the bound and the predicate
    differ.
    """
    passage = match.passage.statement
    is_limit = any("한도" in cell for cell in passage.header)
    others = {q.key for q in statement.quantities if q.key != quantity.key}
    is_alone = not others & {q.key for q in passage.quantities}
    if passage.cells and is_alone and any(q.key == quantity.key for q in bounded_quantities(passage.cells[0])):
        return False  # the upper limit of one tier is the lower limit of the next
    bounds = [q.bound or ("at_most" if is_limit else "") for q in passage.quantities if q.key == quantity.key]
    if any(_direction(bound) != -_direction(quantity.bound) for bound in bounds):
        return False
    said, shown = statement_meaning(statement), match.passage.meaning
    if said is not None and said.concept in _EXCEEDING:
        return False
    return said is None or shown is None or said.affirmed == shown.affirmed


def _direction(bound: Bound) -> int:
    return 1 if bound in LOWER else -1 if bound in UPPER else 0
