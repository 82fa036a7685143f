"""What the report shows, typed: whatever a run folder holds is brought into these models or named as a problem.

The templates see nothing else, so that a missing, half-written or hostile file can never break the page.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
Figure = Annotated[float, Field(allow_inf_nan=False)]
State = Literal["running", "done", "failed", "waiting"]


class View(BaseModel):
    """Base: immutable, and further fields of the files are none of the page's business."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Rate(View):
    """A proportion with its 95 % interval; all three are None where n is 0."""

    count: Count
    n: Count
    rate: Share | None = None
    low: Share | None = None
    high: Share | None = None


class ModelRates(View):
    name: str
    rates: dict[str, Rate]


class PairTest(View):
    """McNemar's exact test of two models on the same questions."""

    metric: str
    a: str
    b: str
    n: Count
    difference: Figure | None = None
    low: Figure | None = None
    high: Figure | None = None
    only_a: Count = 0
    only_b: Count = 0
    p: Share | None = None
    p_holm: Share | None = None
    questions_needed: Count | None = None


class Group(View):
    """One metric for one value of a grouping (a question type, a product), model by model."""

    value: str
    rates: dict[str, Rate]


class Evaluation(View):
    questions: Count
    few: bool = Field(description="too few questions to tell anything but large differences apart")
    setup: dict[str, str] = {}
    metrics: list[str] = Field(description="the headline ones, the first of all first")
    further: list[str] = Field(default=[], description="metrics shown on request")
    models: list[ModelRates]
    tests: list[PairTest] = []
    groups: dict[str, list[Group]] = {}
    findings: dict[str, dict[str, Count]] = Field(default={}, description="check -> model -> answers it was found in")


class Sweep(View):
    """Decoding settings on the half of the questions that was not used to choose them."""

    questions: Count
    arms: dict[str, dict[str, Rate]] = Field(description="model -> setting -> hallucination rate")
    best: dict[str, str] = Field(description="model -> the setting chosen on the other half")
    p: dict[str, Share] = Field(description="model -> exact p of the source's `after` against its `before`")


class Rule(View):
    name: str
    outcome: Literal["pass", "fail", "unknown"]
    text: str = ""


class Verdict(View):
    decision: Literal["promote", "refuse", "cannot_tell"]
    model: str | None = None
    champion: str | None = None
    reason: str = Field(description="the gate's own words")
    rules: list[Rule] = []
    more_questions: Count | None = None


class Drop(View):
    """One reason for which rows were dropped, with a few of them."""

    reason: str
    count: Count
    samples: list[dict[str, Any]] = []


class Band(View):
    """Rows of one shard or type: how many came in, what became of them."""

    label: str
    rows: Count
    kept: Count
    drops: dict[str, Count] = {}


class Drift(View):
    """A share of the run before and of this one; `notable` where it leapt."""

    name: str
    before: Figure
    now: Figure
    notable: bool = False


class Portion(View):
    """One type's, company's or product's part of the rows that were kept."""

    label: str
    rows: Count
    share: Share
    top_up: Count = Field(default=0, description="rows that would bring it up to the mean")


class Funnel(View):
    rows: Count
    kept: Count
    drops: list[Drop]
    shards: list[Band] = []
    types: list[Band] = []
    balance: dict[str, list[Portion]] = {}
    drift: list[Drift] = []
    facts: dict[str, str] = {}


class Book(View):
    """One shard's account with its API key."""

    label: str
    state: State
    chunks: Count
    chunks_done: Count
    rows: Count = 0
    calls: Count = 0
    requests_429: Count = 0
    retries: Count = 0
    quarantined: Count = 0
    tokens_in: Count = 0
    tokens_out: Count = 0
    cost_usd: Figure = 0.0
    why: str = ""
    moved: bool = Field(default=False, description="another shard took over what this one left")


class Training(View):
    """One adapter: its figures and its loss by step."""

    name: str
    facts: dict[str, str] = {}
    loss: list[tuple[Figure, Figure]] = []
    eval_loss: list[tuple[Figure, Figure]] = []


class Job(View):
    """One file of progress/."""

    stage: str
    label: str = ""
    state: State
    done: Count = 0
    total: Count = 0
    unit: str = ""
    rate_per_min: Figure = 0.0
    eta_s: Figure | None = None
    updated: Figure = 0.0
    figures: dict[str, str | int | Figure] = {}


class ShownFinding(View):
    check: str
    span: str = ""
    evidence: str | None = None


class ShownAnswer(View):
    model: str
    answer: str
    raw: str | None = Field(default=None, description="only where post-processing changed it")
    cut: str | None = None
    hallucinated: bool
    refusal: str
    findings: list[ShownFinding]


class ShownQuestion(View):
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
        default=[], description="answers to the gold clauses alone, where they differ"
    )


class Clause(View):
    text: str
    title: str


class Report(View):
    """The whole page. A section that is None is shown as missing, with `problems` saying why."""

    name: str
    made: str
    problems: list[str] = []
    jobs: list[Job] = []
    verdict: Verdict | None = None
    evaluation: Evaluation | None = None
    sweep: Sweep | None = None
    funnel: Funnel | None = None
    books: list[Book] | None = None
    incomplete: bool = Field(default=False, description="the dataset was made although shards are missing")
    training: list[Training] | None = None
    questions: list[ShownQuestion] | None = None
    clauses: dict[str, Clause] = {}
