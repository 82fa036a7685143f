"""Measure the checks on the answers that people wrote and labeled as correct or wrong.

The context of an answer is what evaluation shows: the retrieved chunks with their products, and the question's gold
chunks. Intervals respect clusters (questions on the same gold chunks).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bench.labeled_answers import LabeledAnswer, Part, labeled_answers
from insurance_rag.chunks import read_chunks
from insurance_rag.core.prompt_templates import CHUNK_SEPARATOR
from insurance_rag.core.records import Rate, Record, Verdict
from insurance_rag.core.stats import clustered_rate
from insurance_rag.evaluation.checks import ShownChunk, check_answer

FROM_ELSEWHERE = frozenset(["elsewhere", "tier"])
"""Kinds of wrong answers whose number belongs to something else."""


class LabelFigures(Record):
    """The checks on one part of the labeled answers."""

    questions: int
    specificity: Rate
    """Fraction of the correct answers that have no finding."""
    false_alarms: dict[str, Rate]
    """Kind of correct answer -> fraction with a finding."""
    recall: dict[str, Rate]
    """Kind of fault -> fraction of the wrong answers with a finding."""
    number_from_elsewhere: Rate
    """Recall for the kinds `elsewhere` and `tier` together."""


Checked = tuple[LabeledAnswer, Verdict]


def measure_labels(part: Part, with_products: bool = True) -> LabelFigures:
    """Check all labeled answers of one part. Without `with_products`, the checks do not know the chunks' products."""
    products = _products_by_text()
    checked = [(row, _check(row, products if with_products else {})) for row in labeled_answers(part)]
    correct = [pair for pair in checked if pair[0].label.correct]
    wrong = [pair for pair in checked if not pair[0].label.correct]
    return LabelFigures(
        questions=len({row.question.question_id for row, _ in checked}),
        specificity=_rate(correct, found=False),
        false_alarms=_by_kind(correct),
        recall=_by_kind(wrong),
        number_from_elsewhere=_rate([pair for pair in wrong if pair[0].label.kind in FROM_ELSEWHERE]),
    )


def _check(row: LabeledAnswer, products: Mapping[str, tuple[str, ...]]) -> Verdict:
    shown = row.context.split(CHUNK_SEPARATOR)
    texts = [*shown, *(text for text in row.gold_texts if text not in shown)]
    chunks = [ShownChunk(text, products.get(text, ())) for text in texts]
    question = row.question
    return check_answer(
        row.label.answer, CHUNK_SEPARATOR.join(texts), question.question, question.answerable, chunks=chunks
    )


def _products_by_text() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for chunk in read_chunks("sample"):
        product = chunk.metadata.breadcrumbs.split(">")[0].strip()
        found[chunk.text] = (*found.get(chunk.text, ()), product)
    return found


def _by_kind(checked: Iterable[Checked]) -> dict[str, Rate]:
    kinds: dict[str, list[Checked]] = {}
    for pair in checked:
        kinds.setdefault(pair[0].label.kind, []).append(pair)
    return {kind: _rate(kinds[kind]) for kind in sorted(kinds)}


def _rate(checked: list[Checked], found: bool = True) -> Rate:
    outcomes = [bool(verdict.findings) is found for _, verdict in checked]
    return clustered_rate(outcomes, [row.cluster for row, _ in checked])
