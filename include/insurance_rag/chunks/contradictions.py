"""Find evaluation questions whose own fields contradict each other, so that no answer could be judged by them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from insurance_rag.core.records import Question
from insurance_rag.korean import quantities, refusal, remove_whitespace


def find_contradictions(questions: Sequence[tuple[int, Question]]) -> Iterator[tuple[int, str]]:
    """Yield (line, what is wrong and what to do) for each contradiction. `questions` are pairs (line, question)."""
    first_asked: dict[tuple[str, ...], tuple[int, Question]] = {}
    for line, question in questions:
        yield from ((line, problem) for problem in _own_contradictions(question))
        identity = (remove_whitespace(question.question), *sorted(question.filters.values()))
        first_line, first = first_asked.setdefault(identity, (line, question))
        if first.answerable != question.answerable:
            yield (
                line,
                f"the same question as in line {first_line}, but only one of them is answerable; correct `answerable` "
                "or remove one of them",
            )


def _own_contradictions(question: Question) -> Iterator[str]:
    reference = question.reference_answer
    refuses = refusal(reference) if reference else None
    if question.answerable and refuses == "full":
        yield "answerable, but reference_answer refuses; correct one of them"
    if not question.answerable and refuses == "none":
        yield "not answerable, but reference_answer does not refuse; correct one of them"
    if not question.answerable and question.required_numbers:
        yield "not answerable, but required_numbers is not empty; correct one of them"
    if question.answerable and reference:
        for number in question.required_numbers:
            if not _states(reference, number):
                yield f"required_numbers: {number!r} is not in reference_answer; correct one of them"


def _states(reference: str, number: str) -> bool:
    """Return whether the reference states `number`, as an equal quantity or as the same text."""
    if remove_whitespace(number) in remove_whitespace(reference):
        return True
    wanted = {quantity.key for quantity in quantities(number)}
    return bool(wanted) and wanted <= {quantity.key for quantity in quantities(reference)}
