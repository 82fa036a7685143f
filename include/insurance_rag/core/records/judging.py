"""Records on the LLM judge, and on the agreement of raters with human annotations."""

from __future__ import annotations

from typing import Literal

from insurance_rag.core.records.data import Record
from insurance_rag.core.records.statistics import CorrectedRate, Kappa, PairedTest, Rate


class RaterRate(Record):
    """A rater's sensitivity or specificity, estimated from labeled answers.

    `rate`, `low` and `high` are None if there are no such answers. The 95 % interval uses `effective`.
    """

    right: int
    """Number of labeled answers on which the rater was right."""
    of: int
    """Number of labeled answers."""
    effective: float
    """Number of equally weighted, independent answers with the same information. It is smaller than `of` if the labeled
    answers have different weights or form clusters."""
    rate: float | None
    """Weighted rate: each labeled answer counts for the answers of its model with the same flag."""
    low: float | None
    high: float | None


class ModelAgreement(Record):
    """One model's rate of faulty answers, corrected for the rater's errors."""

    scope: Literal["model", "pooled"]
    """model: sensitivity and specificity come from this model's labels. pooled: this model has too few labels, so they
    come from the labels of all models."""
    faulty: int
    """Number of this model's answers that people labeled as faulty."""
    faultless: int
    """Number of this model's answers that people labeled as not faulty."""
    sensitivity: RaterRate
    specificity: RaterRate
    corrected: CorrectedRate


class RaterAgreement(Record):
    """How well one rater agrees with the human annotations."""

    fault: Literal["hallucinated", "wrong"]
    """What people labeled: hallucinated answers, or answers that are not correct."""
    kappa: Kappa
    sensitivity: RaterRate
    """Proportion of the faulty answers that the rater flagged, over all models."""
    specificity: RaterRate
    """Proportion of the other answers that the rater did not flag, over all models."""
    models: dict[str, ModelAgreement]


class JudgedModel(Record):
    """The LLM judge's results for one model."""

    hallucination: Rate
    """Hallucination rate among the usable judgements."""
    relevance: Rate
    """Fraction of the answers that address the question, among those for which the judge says so or denies it. Refusals
    are left out."""
    unusable: dict[str, int]
    """Reason -> number of judgements that could not be used."""
    second_tries: int
    """Number of answers that were judged again because the first judgement was unusable."""
    recovered: int
    """Number of answers whose second judgement is usable."""


class JudgeSummary(Record):
    """The LLM judge's results for all models. The promotion gate does not read them."""

    name: str
    """The judge as MODEL@BASE_URL."""
    models: dict[str, JudgedModel]
    tests: list[PairedTest]
    """Paired tests of judged_hallucination and judged_relevance for each pair of models, on the questions for which
    both models have a verdict."""
