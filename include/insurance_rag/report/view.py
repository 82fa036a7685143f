"""The models that the templates render. Everything a page shows is in these models or in a typed record of a stage.

The templates read nothing else, so that a missing, half-written or hostile file can never break the page.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from insurance_rag.core.records import Decision, PairedTest, ProgressState, Rate, RefusalLevel
from insurance_rag.core.records.usage import Usage

ShardState = Literal["running", "done", "failed", "waiting"]


class View(BaseModel):
    """Base of the view models: immutable; fields of a file that the page does not show are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Label(View):
    """The name of a rule, check or metric in both languages."""

    title: str
    title_ko: str
    description: str = ""


class MetricLabel(Label):
    """The name of a metric, and in which direction it is better."""

    better: Literal["lower", "higher"] = "lower"


class StageProgress(View):
    """One progress file, and how long it has been silent."""

    state: ProgressState
    silent_s: int | None = Field(default=None, description="seconds since the last update of a stage that seems dead")


class ModelRates(View):
    """Every rate of one model, by metric."""

    name: str
    rates: dict[str, Rate]


class GroupRates(View):
    """The rate of one metric for one question type or product, model by model."""

    value: str
    rates: dict[str, Rate]


class Evaluation(View):
    """The comparison of the models."""

    questions: int
    few_questions: int | None = Field(default=None, description="recommended number if there are fewer questions")
    contaminated: dict[str, int] = Field(default={}, description="model -> questions about its training documents")
    setup: dict[str, str] = {}
    metrics: list[str] = Field(description="metrics shown at first, the most important first")
    further: list[str] = Field(default=[], description="metrics shown on request")
    labels: dict[str, MetricLabel] = {}
    checks: dict[str, Label] = {}
    models: list[ModelRates]
    tests: list[PairedTest] = []
    groups: dict[str, list[GroupRates]] = {}
    findings: dict[str, dict[str, int]] = Field(default={}, description="check -> model -> answers with that finding")

    def label(self, metric: str) -> MetricLabel:
        """Return the label of a metric; one without a definition is shown under its own name."""
        return self.labels.get(metric) or MetricLabel(title=metric, title_ko=metric)


class Sweep(View):
    """Decoding settings, measured on the half of the questions that was not used to choose them."""

    questions: int
    arms: dict[str, dict[str, Rate]] = Field(description="model -> decoding settings -> hallucination rate")
    best: dict[str, str] = Field(description="model -> settings chosen on the other half")
    p: dict[str, float] = Field(description="model -> p value of `after` against `before`")


class DropReason(View):
    """One rule that dropped rows, with a few of them."""

    name: str
    label: Label
    count: int
    examples: list[dict[str, str]] = []


class BreakdownRow(View):
    """The rows of one shard or one question type: how many there were, how many were kept, and why others were not."""

    label: str
    rows: int
    kept: int
    drops: dict[str, int] = {}


class DriftRow(View):
    """One share in the previous dataset and in this one."""

    label: Label
    previous: float
    current: float
    notable: bool = Field(default=False, description="the share changed by more than the drift limit")


class GroupShare(View):
    """The share of one question type, company or product in the kept rows."""

    label: str
    rows: int
    share: float
    below_mean: int = Field(default=0, description="rows that are missing to reach the mean of the groups")


class Funnel(View):
    """How the generated rows became the dataset."""

    rows: int
    kept: int
    drops: list[DropReason]
    shards: list[BreakdownRow] = []
    types: list[BreakdownRow] = []
    balance: dict[str, list[GroupShare]] = {}
    drift: list[DriftRow] = []
    facts: dict[str, str] = {}


class ShardUsage(View):
    """What one shard did and used."""

    label: str
    state: ShardState
    chunks: int
    chunks_done: int
    rows: int = 0
    quarantined: int = 0
    usage: Usage = Usage()
    error: str = Field(default="", description="why a failed shard stopped")
    reassigned_to: list[int] = Field(default=[], description="shards that received its remaining chunks")


class AdapterTraining(View):
    """The figures of one adapter and its loss by step."""

    name: str
    facts: dict[str, str] = {}
    loss: list[tuple[float, float]] = []
    eval_loss: list[tuple[float, float]] = []


class ShownFinding(View):
    """One fault of an answer, with the span to underline and the evidence to highlight in the chunks."""

    check: str
    span: str = ""
    evidence: str | None = None


class ShownAnswer(View):
    """The answer of one model."""

    model: str
    answer: str
    raw: str | None = Field(default=None, description="the generated text if post-processing changed it")
    cut: str | None = Field(default=None, description="the stop phrase at which it was cut")
    hallucinated: bool
    refusal: RefusalLevel
    findings: list[ShownFinding]


class ShownQuestion(View):
    """One question with the answers of all models. `gold` and `retrieved` are chunk ids."""

    id: str
    question: str
    type: str
    product: str
    answerable: bool
    gold: list[str] = []
    retrieved: list[str] = []
    reference: str | None = None
    answers: list[ShownAnswer]
    gold_answers: list[ShownAnswer] = Field(default=[], description="answers given only the gold chunks, if different")


class ShownChunk(View):
    """A chunk that questions refer to; `title` is its path in the document."""

    text: str
    title: str


class Report(View):
    """The whole page. A section that is None is shown as missing, or as unreadable if its file exists."""

    name: str
    generated: str
    problems: list[str] = []
    unreadable: list[str] = Field(default=[], description="files that exist but cannot be read, relative to the run")
    stages: list[StageProgress] = []
    decision: Decision | None = None
    evaluation: Evaluation | None = None
    sweep: Sweep | None = None
    funnel: Funnel | None = None
    usage: list[ShardUsage] | None = None
    incomplete: bool = Field(default=False, description="the dataset was made although shards are missing")
    training: list[AdapterTraining] | None = None
    questions: list[ShownQuestion] | None = None
    chunks: dict[str, ShownChunk] = {}
