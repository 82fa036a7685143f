"""View models: typed records of everything that the templates show.

The templates read nothing else, so a missing, incomplete or hostile file cannot break the page.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from insurance_rag.core.records import CorrectnessProblem, Decision, PairedTest, ProgressState, Rate, RefusalLevel
from insurance_rag.core.records.general_text import PerplexityRatio
from insurance_rag.core.records.planning import GenerationEstimate
from insurance_rag.core.records.recipes import RecipeRate, RecipeTest
from insurance_rag.core.records.split import HoldoutUnit
from insurance_rag.core.records.usage import RunUsage, Usage

ShardState = Literal["running", "done", "failed", "waiting"]


class View(BaseModel):
    """Immutable base class of the view models. Fields that the page does not show are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Label(View):
    """The name of a rule, check or metric in both languages, with an optional description."""

    title: str
    title_ko: str
    description: str = ""


class MetricLabel(Label):
    """The name of a metric, and whether lower or higher values are better."""

    better: Literal["lower", "higher"] = "lower"


class StageProgress(View):
    """The contents of one progress file, and the time since its last update if the stage seems to have stopped."""

    state: ProgressState
    silent_s: int | None = Field(
        default=None, description="seconds since the last update, if the stage may have been killed"
    )


class ModelRates(View):
    """All rates for one model, by metric."""

    name: str
    rates: dict[str, Rate]


class GroupRates(View):
    """Rates for one question type or product, by model and metric."""

    value: str
    rates: dict[str, dict[str, Rate]]


GOLD = "gold_"
"""Prefix of the names of metrics for answers from the gold chunks only."""


class SeedDot(View):
    """The rate of one adapter of a recipe."""

    adapter: str
    seed: int | None
    rate: float


class RecipeRow(View):
    """One recipe in the spread over seeds: mean, interval and range, and the rate of each adapter."""

    name: str
    rate: RecipeRate
    dots: list[SeedDot]


class RecipeSpread(View):
    """The spread of one metric over seeds, by recipe, with the tests between recipes."""

    metric: str
    rows: list[RecipeRow]
    tests: list[RecipeTest] = []


class PerplexityRow(View):
    """The perplexity of one model on general text, and its ratio to that of the base model."""

    model: str
    perplexity: float
    ratio: PerplexityRatio | None = None


class GeneralTextTable(View):
    """The perplexities of all models on general text."""

    windows: int
    tokens: int
    rows: list[PerplexityRow]


class FaultRecall(View):
    """How many faults of one kind the verifier finds."""

    kind: Label
    rate: Rate
    trusted: bool


class VerifierTable(View):
    """How well the verifier that scored the answers works, measured on held-out answers."""

    target: float
    specificity: Rate
    chosen_on: int = Field(description="number of right answers that chose the threshold")
    faults: list[FaultRecall]


class Evaluation(View):
    """The comparison of the models on the evaluation questions."""

    questions: int
    few_questions: int | None = Field(default=None, description="recommended number of questions, if there are fewer")
    contaminated: dict[str, int] = Field(
        default={}, description="model -> number of questions about its training documents"
    )
    clusters: int | None = Field(default=None, description="number of clusters of correlated questions")
    design_effect: float | None = Field(default=None, description="median design effect, if it can be estimated")
    setup: dict[str, str] = {}
    metrics: list[str] = Field(description="metrics that are shown first, most important first")
    further: list[str] = Field(default=[], description="other metrics, shown on request")
    labels: dict[str, MetricLabel] = {}
    checks: dict[str, Label] = {}
    models: list[ModelRates]
    tests: list[PairedTest] = []
    recipes: list[RecipeSpread] = Field(default=[], description="spread over seeds, if a recipe has several")
    groups: dict[str, list[GroupRates]] = {}
    findings: dict[str, dict[str, int]] = Field(
        default={}, description="check -> model -> number of answers with findings from the check"
    )
    problems: dict[str, dict[str, int]] = Field(
        default={}, description="kind of problem -> model -> number of answers that are not correct because of it"
    )
    problem_kinds: dict[str, Label] = {}
    general_text: GeneralTextTable | None = Field(default=None, description="perplexities, if they were measured")
    retrievers: dict[str, dict[str, float]] = Field(
        default={}, description="retriever, and each of its parts alone -> score -> mean over the questions"
    )
    retriever_warnings: list[str] = []
    verifier: VerifierTable | None = Field(default=None, description="the verifier that scored the answers, if any")
    assumed_formats: list[str] = Field(
        default=[], description="adapters whose own prompt format is not known, so they were asked in `rag`"
    )
    formats: dict[str, str] = Field(default={}, description="model -> prompt format of the main results")
    asked_in_rag: list[ModelRates] = Field(
        default=[], description="rates for all models asked in the format `rag`, if they were also asked in their own"
    )

    @property
    def main(self) -> str:
        """The headline of the comparison, or "" if there is no metric."""
        return self.metrics[0] if self.metrics else ""

    @property
    def given_gold(self) -> str:
        """The name under which `rates` has the main metric for answers from the gold chunks only."""
        return f"{GOLD}{self.main}"

    @property
    def breakdown(self) -> list[str]:
        """The two metrics that are broken down by question type and product."""
        return [metric for metric in self.metrics if not metric.startswith(GOLD)][:2]

    def rate(self, model: str, metric: str) -> Rate | None:
        """Return one of the main results, or None if the model has no rate for `metric`."""
        return next((m.rates.get(metric) for m in self.models if m.name == model), None)

    def label(self, metric: str) -> MetricLabel:
        """Return the label of `metric`, or one that shows the identifier if no label is defined."""
        return self.labels.get(metric) or MetricLabel(title=metric, title_ko=metric)


class Sweep(View):
    """Results of all decoding settings. The questions that were used to choose the best settings are left out."""

    questions: int
    arms: dict[str, dict[str, Rate]] = Field(description="model -> decoding settings -> hallucination rate")
    correct: dict[str, dict[str, Rate]] = Field(default={}, description="the same with rates of correct answers")
    best: dict[str, str] = Field(description="model -> settings chosen on the other half of the questions")
    p: dict[str, float] = Field(description="model -> p value of the test that compares `after` with `before`")


class DropReason(View):
    """A rule that dropped rows, with a few of the dropped rows as examples."""

    name: str
    label: Label
    count: int
    examples: list[dict[str, str]] = []


class BreakdownRow(View):
    """The number of rows generated, kept, and dropped by each rule, for one shard or question type."""

    label: str
    rows: int
    kept: int
    drops: dict[str, int] = {}


class DriftRow(View):
    """A proportion of rows in the previous dataset and in the current one."""

    label: Label
    previous: float
    current: float
    notable: bool = Field(default=False, description="whether the proportion changed by more than the drift limit")


class GroupShare(View):
    """The proportion of kept rows that belong to one question type, company or product."""

    label: str
    rows: int
    share: float
    below_mean: int = Field(default=0, description="number of rows by which the group falls short of the mean")


class StyleRow(View):
    """How the kept rows of one question type are worded."""

    label: str
    rows: int
    copied_share: float | None = Field(description="mean fraction of a question's bigrams that occur in the chunk")
    yes_share: float | None = Field(description="fraction of the answers that begin with a yes")
    no_share: float | None
    refusal_share: float | None = Field(description="fraction of the answers that only refuse")
    evidence_characters: float | None


class HeldOutUnits(View):
    """What was kept out of training because of the evaluation questions."""

    unit: HoldoutUnit
    names: list[str] = Field(description="held-out documents, sections or chunks")
    chunks: int = Field(description="number of held-out chunks")
    training_chunks: int
    repeats: int = Field(description="number of chunks left out because they repeat a chunk on the other side")


class Funnel(View):
    """How many generated rows were kept and why the others were dropped, with breakdowns."""

    rows: int
    kept: int
    drops: list[DropReason]
    shards: list[BreakdownRow] = []
    types: list[BreakdownRow] = []
    balance: dict[str, list[GroupShare]] = {}
    style: list[StyleRow] = []
    style_facts: dict[str, str] = {}
    drift: list[DriftRow] = []
    held_out: HeldOutUnits | None = None
    facts: dict[str, str] = {}


class ShardUsage(View):
    """The progress, API usage and cost of one shard."""

    label: str
    state: ShardState
    chunks: int
    chunks_done: int
    rows: int = 0
    quarantined: int = 0
    usage: Usage = Usage()
    error: str = Field(default="", description="reason why a failed shard stopped")
    moved: dict[str, int] = Field(default={}, description="number of chunks that other keys answered, by key id")
    helped: int = Field(default=0, description="number of chunks of other shards that the shard's key answered")

    @property
    def moved_to(self) -> str:
        """The keys that answered chunks of this shard, each with its number of chunks, the largest number first."""
        moved = sorted(self.moved.items(), key=lambda entry: -entry[1])
        return ", ".join(f"{key_id} ({n:,})" for key_id, n in moved)

    @property
    def cost_per_1000_pairs(self) -> float | None:
        """US dollars per 1,000 accepted pairs; None if no pair was accepted or the model has no price."""
        usage = self.usage
        return 1000 * usage.cost_usd / usage.pairs_accepted if usage.pairs_accepted and usage.cost_usd else None


class AdapterTraining(View):
    """The training results for one adapter, with its loss curves as (step, loss) points."""

    name: str
    facts: dict[str, str] = {}
    loss: list[tuple[float, float]] = []
    eval_loss: list[tuple[float, float]] = []
    margin: list[tuple[float, float]] = []
    """Mean differences between the rewards of better and worse answers. Empty if the adapter was not trained on pairs,
    as the next three lists."""
    eval_margin: list[tuple[float, float]] = []
    accuracy: list[tuple[float, float]] = []
    """Shares of the pairs whose better answer has the higher reward."""
    eval_accuracy: list[tuple[float, float]] = []


class ShownFinding(View):
    """One fault in an answer, with the span of the answer to underline and the evidence to highlight in the chunks."""

    check: str
    span: str = ""
    evidence: str | None = None


class ShownAnswer(View):
    """One model's answer to a question."""

    model: str
    answer: str
    raw: str | None = Field(default=None, description="generated text, if post-processing changed it")
    cut: str | None = Field(default=None, description="stop phrase at which the answer was cut")
    correct: bool | None = Field(description="whether the answer is correct; None if it cannot be judged")
    unjudged: str | None = Field(
        default=None, description="why the answer cannot be judged, as a sentence or the key of a text"
    )
    problems: list[CorrectnessProblem] = []
    hallucinated: bool
    refusal: RefusalLevel
    findings: list[ShownFinding]


class ShownQuestion(View):
    """One question with the answers from all models. `gold` and `retrieved` are lists of chunk ids."""

    id: str
    question: str
    type: str
    product: str
    answerable: bool
    gold: list[str] = []
    retrieved: list[str] = []
    reference: str | None = None
    answers: list[ShownAnswer]
    gold_answers: list[ShownAnswer] = Field(
        default=[], description="answers given only the gold chunks, if they differ"
    )


class ShownChunk(View):
    """A chunk that a question refers to. `title` is the path of headings above it in the document."""

    text: str
    title: str


class Report(View):
    """The contents of the page. A section that is None is shown as missing, or as unreadable if its file exists."""

    name: str
    generated: str
    problems: list[str] = []
    unreadable: list[str] = Field(
        default=[], description="paths, relative to the run folder, of files that exist but cannot be read"
    )
    stages: list[StageProgress] = []
    decision: Decision | None = None
    evaluation: Evaluation | None = None
    sweep: Sweep | None = None
    funnel: Funnel | None = None
    usage: list[ShardUsage] | None = None
    run_usage: RunUsage | None = None
    estimate: GenerationEstimate | None = None
    incomplete: bool = Field(
        default=False, description="whether the dataset was built although some shards are missing"
    )
    training: list[AdapterTraining] | None = None
    questions: list[ShownQuestion] | None = None
    chunks: dict[str, ShownChunk] = {}
