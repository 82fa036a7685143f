"""What the evaluation writes: scored answers, the summary with its rates and tests, the sweep, the comparison files.

`summary.json` is an `EvaluationSummary`, a line of `answers.jsonl` a `ScoredAnswer`, `sweep.json` a `SweepSummary`,
`comparison_results.json` and `comparison_results_v2.json` a `Comparison`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue

from insurance_rag.core.records.artifacts import Artifact
from insurance_rag.core.records.data import Answer, Finding, QuestionType, Record
from insurance_rag.core.records.retrieval import RetrievalSummary

ContextSource = Literal["retrieved", "gold"]
RefusalLevel = Literal["none", "partial", "full"]
Interval = tuple[float, float]


class Rate(Record):
    """A share with Wilson's 95 % interval. `rate`, `low` and `high` are None if `n` is 0."""

    count: int
    n: int
    rate: float | None
    low: float | None
    high: float | None


class PairedDifference(Record):
    """How much more often `b` has an outcome than `a`, on the questions that both answered."""

    n: int
    """Common questions."""
    only_a: int
    """Questions with the outcome for `a` only."""
    only_b: int
    """Questions with the outcome for `b` only."""
    difference: float | None
    """rate(b) - rate(a), between -1 and 1; None if there is no common question."""
    low: float | None
    """Lower end of the bootstrap interval of `difference`."""
    high: float | None
    """Upper end of the bootstrap interval of `difference`."""
    p: float
    """Two-sided p value of McNemar's exact test."""
    questions_needed: int | None
    """Questions that would show a difference of this size with a power of 80 %; None if there is no difference."""


class PairedTest(PairedDifference):
    """The paired difference of two models in one metric."""

    metric: str
    a: str
    b: str
    p_holm: float
    """`p` after Holm's correction over all pairs of models in this metric."""


class Kappa(Record):
    """Cohen's kappa of two raters. `kappa` and `interval` are None if they are undefined."""

    kappa: float | None
    interval: Interval | None
    n: int
    agreement: float | None
    """Share of the items on which both raters agree."""


class CorrectedRate(Record):
    """A rate corrected for the errors of the rater (Rogan and Gladen 1978); both are None if it cannot be corrected."""

    rate: float | None
    interval: Interval | None


class Proportion(Record):
    """`right` decisions out of `of`."""

    right: int
    of: int


class RaterAgreement(Record):
    """How far the checks, or the judge, agree with the human annotations."""

    kappa: Kappa
    sensitivity: Proportion
    """Hallucinated answers that were flagged."""
    specificity: Proportion
    """Faithful answers that were not flagged."""
    corrected: dict[str, CorrectedRate]
    """Model -> hallucination rate, corrected by sensitivity and specificity."""


class JudgedModel(Record):
    """What the LLM judge says of one model."""

    hallucination: Rate
    """Among the usable judgements."""
    unusable: dict[str, int]
    """Reason -> judgements that could not be used."""


class JudgeSummary(Record):
    """What the LLM judge says of all models."""

    name: str
    """MODEL@BASE_URL."""
    models: dict[str, JudgedModel]


class MetricInfo(Record):
    """The definition of a metric, copied from the registry so that a summary can be read without it."""

    title: str
    title_ko: str
    description: str
    better: Literal["lower", "higher"]
    compared: bool
    """Whether the models were tested against each other in this metric."""


class CheckInfo(Record):
    """The definition of a check, copied from the registry so that a summary can be read without it."""

    title: str
    title_ko: str
    description: str
    hallucination: bool
    """Whether a finding of this check makes the answer a hallucination."""


class ModelSummary(Record):
    """The figures of one model over all answers of one context source."""

    rates: dict[str, Rate]
    """Metric -> rate."""
    findings: dict[str, int]
    """Check -> answers with at least one finding of it, most frequent first."""
    by_type: dict[str, dict[str, Rate]]
    """Question type -> metric -> rate."""
    by_product: dict[str, dict[str, Rate]]
    """Company and policy type -> metric -> rate."""
    new_tokens: int
    seconds: float


class SummaryFigures(Record):
    """The figures that follow from the scored answers of one context source."""

    questions: int
    answerable: int
    unanswerable: int
    notes: list[str]
    """Warnings that belong next to the figures."""
    metrics: dict[str, MetricInfo]
    """Every metric of the registry, in display order."""
    checks: dict[str, CheckInfo]
    """Every check of the registry, in display order."""
    models: dict[str, ModelSummary]
    """Model -> figures; the base model first."""
    tests: list[PairedTest]
    power: dict[str, int]
    """Difference ("10%") -> questions needed to see it with a power of 80 %."""


class EvaluationSummary(SummaryFigures):
    """`summary.json`: the comparison of the models on the contexts of one source."""

    context: ContextSource
    base_model: str
    decoding: dict[str, JsonValue]
    """The `DecodingConfig`."""
    config: dict[str, JsonValue]
    """The `EvaluationConfig`."""
    retrieval: RetrievalSummary
    contaminated: dict[str, int]
    """Adapter -> questions about documents it was trained on; an adapter without that record is absent."""
    adapters: dict[str, Artifact]
    wall_seconds: float
    judge: JudgeSummary | None = None
    labels: dict[str, RaterAgreement] | None = None
    """Rater ("checks" or "judge") -> agreement with the human annotations."""


class EvaluationArtifact(Artifact):
    """The finished evaluation: `uri` is its folder, `sha256` the hash of `answers.jsonl`."""

    rows: int
    questions: int
    hallucination: dict[str, Rate]
    """Model -> hallucination rate with the first context source."""
    notes: list[str]
    parents: list[Artifact]
    """The adapters."""


class ScoredAnswer(Answer):
    """A line of `answers.jsonl`. The fields `raw_*` describe the generated text, the others the answer as shown."""

    key: str
    context_source: ContextSource
    product: str
    reference_answer: str | None
    gold_chunk_ids: list[str]
    gold_in_context: bool | None
    """Whether a gold chunk is in the context; None if the question has none."""
    hallucinated: bool
    findings: list[Finding]
    refusal: RefusalLevel
    raw_hallucinated: bool
    raw_findings: list[Finding]
    number_accuracy: bool | None
    """Whether every required number is in the answer; None if none is required or no gold chunk is in the context."""


class ComparedAnswer(Record):
    """One model's answer in a comparison file."""

    answer: str
    raw_answer: str
    hallucinated: bool
    refusal: RefusalLevel
    findings: list[Finding]


class ComparedQuestion(Record):
    """One question of a comparison file with the answers of all models."""

    question_id: str
    question: str
    type: QuestionType
    answerable: bool
    reference_answer: str | None
    chunk_ids: list[str]
    answers: dict[str, ComparedAnswer]


class Comparison(Record):
    """`comparison_results.json` (Base and v1) and `comparison_results_v2.json` (all models)."""

    context: ContextSource
    notes: list[str]
    hallucination: dict[str, Rate]
    raw_hallucination: dict[str, Rate]
    tests: list[PairedTest]
    questions: list[ComparedQuestion]


class SweepHalves(Record):
    """Number of questions in the two halves of a sweep."""

    tuning: int
    report: int


class BeforeAfter(Record):
    """Hallucination rates of one model with the three decoding presets, on the report half."""

    before: Rate
    after: Rate
    default: Rate
    after_against_before: PairedDifference


class SweepSummary(Record):
    """`sweep.json`: the decoding settings ("arms") on the tuning half, the chosen ones on the report half."""

    questions: SweepHalves
    notes: list[str]
    base_model: str
    tuning: dict[str, dict[str, dict[str, Rate]]]
    """Arm -> model -> metric -> rate on the tuning half."""
    best: dict[str, str]
    """Model -> arm that was chosen on the tuning half."""
    report: dict[str, dict[str, dict[str, Rate]]]
    """Arm -> model -> metric -> rate on the report half; presets and chosen arms only."""
    before_after: dict[str, BeforeAfter]


class SweepArtifact(Artifact):
    """A finished sweep: `uri` is `sweep.json`."""

    rows: int
    """Answers on the report half."""
    best: dict[str, str]
    """Model -> arm that was chosen on the tuning half."""


class CheckedAnswers(Artifact):
    """The result of the `check` command: `uri` is the file of verdicts."""

    rows: int
    hallucination: Rate
    findings: dict[str, int]
    """Check -> answers with at least one finding of it."""
