"""Records that the evaluation writes: scored answers, summaries, the decoding sweep, and comparison files.

`summary.json` contains an `EvaluationSummary`, every line of `answers.jsonl` a `ScoredAnswer`, and `sweep.json` a
`SweepSummary`. `comparison_results.json` and `comparison_results_v2.json` both contain a `Comparison`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue

from insurance_rag.core.records.artifacts import Artifact
from insurance_rag.core.records.data import Answer, Finding, QuestionType, Record, Verdict
from insurance_rag.core.records.general_text import GeneralTasks, GeneralText
from insurance_rag.core.records.judging import JudgeSummary, RaterAgreement
from insurance_rag.core.records.recipes import RecipeSummary, RecipeTest
from insurance_rag.core.records.retrieval import RetrievalSummary
from insurance_rag.core.records.statistics import PairedDifference, PairedTest, Rate
from insurance_rag.core.records.verifier import VerifierCalibration

ContextSource = Literal["retrieved", "gold"]
PromptChoice = Literal["own", "rag"]
RefusalLevel = Literal["none", "partial", "full"]


class MetricInfo(Record):
    """Definition of a metric, copied from the registry so that a summary can be read without the registry."""

    title: str
    title_ko: str
    description: str
    better: Literal["lower", "higher"]
    compared: bool
    """Whether the models were tested for differences in this metric."""


class CheckInfo(Record):
    """Definition of a check, copied from the registry so that a summary can be read without the registry."""

    title: str
    title_ko: str
    description: str
    hallucination: bool
    """Whether a finding from this check makes the answer a hallucination."""


class ProblemInfo(Record):
    """Titles of a kind of `CorrectnessProblem`, copied so that a summary can be read without the evaluation."""

    title: str
    title_ko: str


class ModelSummary(Record):
    """Results of one model over all its answers with one context source and one prompt format."""

    rates: dict[str, Rate]
    """Metric -> rate."""
    findings: dict[str, int]
    """Check -> number of answers in which the check found a fault, largest number first."""
    problems: dict[str, int]
    """Kind of `CorrectnessProblem` -> number of answers with it, largest number first. Only answers that the rate of
    correct answers counts as not correct. An answer can have several kinds."""
    by_type: dict[str, dict[str, Rate]]
    """Question type -> metric -> rate."""
    by_product: dict[str, dict[str, Rate]]
    """Company and policy type -> metric -> rate."""
    new_tokens: int
    seconds: float


class SummaryFigures(Record):
    """Results computed from the scored answers with one context source and one choice of prompt formats."""

    questions: int
    answerable: int
    unanswerable: int
    notes: list[str]
    """Warnings to show next to the results."""
    metrics: dict[str, MetricInfo]
    """Definition of every registered metric by name, in display order."""
    checks: dict[str, CheckInfo]
    """Definition of every registered check by name, in display order."""
    problems: dict[str, ProblemInfo]
    """Titles of every kind of `CorrectnessProblem`, in display order."""
    models: dict[str, ModelSummary]
    """Model -> results. The base model comes first."""
    tests: list[PairedTest]
    power: dict[str, int]
    """Difference (e.g. "10%") -> number of questions needed to show it with a power of 80 % and this design effect."""
    design_effect: float | None
    """Median design effect of the paired tests; of the rates of all models if there are no tests. None if it cannot be
    estimated."""


class EvaluationSummary(SummaryFigures):
    """`summary.json`: comparison of the models with contexts from one source and one choice of prompt formats."""

    context: ContextSource
    prompt: PromptChoice
    """own: each adapter was asked in the format that it was trained on; rag: all models were asked in `rag`."""
    prompt_formats: dict[str, str]
    """Model -> prompt format in which it was asked."""
    assumed_formats: list[str]
    """Adapters without a training manifest. Their own format is not known, so they were asked in `rag`."""
    base_model: str
    decoding: dict[str, JsonValue]
    """The `DecodingConfig` that was used."""
    config: dict[str, JsonValue]
    """The `EvaluationConfig` that was used."""
    retrieval: RetrievalSummary
    contaminated: dict[str, int]
    """Adapter -> number of questions about documents that the adapter was trained on. An adapter is missing if its
    training documents are not recorded."""
    adapters: dict[str, Artifact]
    recipes: dict[str, RecipeSummary] = Field(default={})
    """Recipe -> results. Adapters that differ only in the seed are one recipe."""
    recipe_tests: list[RecipeTest] = Field(default=[])
    """Tests between recipes, if at least one recipe has several seeds."""
    general_text: GeneralText | None = None
    """Perplexities on general text; None if they were not measured."""
    general_tasks: GeneralTasks | None = None
    """Scores in general tasks; None if there were none."""
    wall_seconds: float
    judge: JudgeSummary | None = None
    labels: dict[str, RaterAgreement] | None = None
    """Rater ("checks", "correct" or "judge") -> how well the rater agrees with the human annotations."""
    verifier: VerifierCalibration | None = None
    """The verifier that scored the answers, with its measured recall; None if there was none."""


class EvaluationArtifact(Artifact):
    """A finished evaluation: `uri` is the path of `answers.jsonl`. The other files are in the same folder."""

    rows: int
    questions: int
    correct: dict[str, Rate]
    """Model -> rate of correct answers with contexts from the first configured source, in the first prompt format."""
    hallucination: dict[str, Rate]
    """Model -> hallucination rate of the same answers."""
    notes: list[str]
    parents: list[Artifact]
    """Adapters that were evaluated."""

    @property
    def folder(self) -> Path:
        """Folder of the evaluation."""
        return Path(self.uri).parent


CorrectnessProblemKind = Literal[
    "empty",
    "refusal",
    "missed_refusal",
    "missing_number",
    "contradicting_number",
    "bound",
    "polarity",
    "roles",
    "article",
    "content",
    "focus",
]


class CorrectnessProblem(Record):
    """One reason why an answer is not correct."""

    kind: CorrectnessProblemKind
    text: str
    """The words or numbers of the answer and, after `≠`, those that are expected. It needs no translation, and is empty
    if the kind says it all."""


class Correctness(Record):
    """Comparison of one answer with the question's reference."""

    correct: bool | None
    """Whether the answer is correct; None if it cannot be judged."""
    problems: tuple[CorrectnessProblem, ...] = ()
    """Everything that makes the answer wrong; empty if it is correct."""
    cannot_judge: str | None = None
    """Why the answer cannot be judged, e.g. because the question has no reference; None if it can."""
    agreement: float | None = None
    """Agreement of the answer's words with the reference, from 0 to 1; None if it was not computed."""


class ScoredAnswer(Answer):
    """One line of `answers.jsonl`.

    Fields named `raw_*` refer to the text as generated, all other fields to the answer after post-processing.
    """

    key: str
    context_source: ContextSource
    prompt_format: str
    """Prompt format in which the model was asked."""
    product: str
    cluster: str
    """Questions with the same gold chunks form a cluster: their outcomes are correlated. The name is the joined chunk
    ids, or the question id if there are no gold chunks."""
    document: str
    """Document of the first gold chunk. Without gold chunks, the question id."""
    reference_answer: str | None
    gold_chunk_ids: list[str]
    gold_in_context: bool | None
    """Whether a gold chunk is in the context; None if the question has no gold chunks."""
    hallucinated: bool
    findings: list[Finding]
    refusal: RefusalLevel
    raw_hallucinated: bool
    raw_findings: list[Finding]
    number_accuracy: bool | None
    """Whether the answer states every required number, and neither contradicts it nor copies whole chunks. None if no
    number is required, or if no gold chunk is in the context."""
    correctness: Correctness
    raw_correctness: Correctness
    verifier_score: float | None = None
    """Lowest score that a verifier gave to a sentence of the answer; None if it scored none."""


class ComparedAnswer(Record):
    """One model's answer in a comparison file."""

    answer: str
    raw_answer: str
    correct: bool | None
    """Whether the answer is correct; None if it cannot be judged."""
    problems: tuple[CorrectnessProblem, ...]
    """Everything that makes the answer wrong."""
    hallucinated: bool
    refusal: RefusalLevel
    findings: list[Finding]


class ComparedQuestion(Record):
    """One question in a comparison file, with the answers from all models."""

    question_id: str
    question: str
    type: QuestionType
    answerable: bool
    reference_answer: str | None
    chunk_ids: list[str]
    answers: dict[str, ComparedAnswer]


class Comparison(Record):
    """Content of `comparison_results.json` (Base and v1) and `comparison_results_v2.json` (all models)."""

    context: ContextSource
    notes: list[str]
    correct: dict[str, Rate]
    """Model -> rate of correct answers."""
    raw_correct: dict[str, Rate]
    hallucination: dict[str, Rate]
    raw_hallucination: dict[str, Rate]
    tests: list[PairedTest]
    questions: list[ComparedQuestion]


class SweepHalves(Record):
    """Number of questions in each half of a sweep. Settings are chosen on the tuning half only."""

    tuning: int
    report: int


class BeforeAfter(Record):
    """One model's hallucination rates with the three decoding presets, on the report half of the questions."""

    before: Rate
    after: Rate
    default: Rate
    after_against_before: PairedDifference


class SweepSummary(Record):
    """`sweep.json`: rates with different decoding settings. Each combination of settings is called an arm.

    Each model's best arm is chosen on the tuning half of the questions. Final rates are measured on the report half.
    """

    questions: SweepHalves
    notes: list[str]
    base_model: str
    tuning: dict[str, dict[str, dict[str, Rate]]]
    """Arm -> model -> metric -> rate on the tuning half of the questions."""
    best: dict[str, str]
    """Model -> its best arm (combination of decoding settings), chosen on the tuning half of the questions."""
    report: dict[str, dict[str, dict[str, Rate]]]
    """Arm -> model -> metric -> rate on the report half of the questions. Only presets and best arms are included."""
    before_after: dict[str, BeforeAfter]


class SweepArtifact(Artifact):
    """A finished sweep; `uri` is the path of `sweep.json`."""

    rows: int
    """Number of answers to the questions in the report half."""
    best: dict[str, str]
    """Model -> its best arm (combination of decoding settings), chosen on the tuning half of the questions."""


class CheckedAnswers(Artifact):
    """Result of the `check` command; `uri` is the path of the file that contains the verdicts."""

    rows: int
    hallucination: Rate
    correct: Rate
    """Correct answers, among those that could be compared with a reference."""
    findings: dict[str, int]
    """Check -> number of answers in which the check found a fault."""


class AnswerVerdict(Verdict):
    """What the checks found in one answer, and whether it says what its reference says."""

    correct: bool | None
    """None if it cannot be judged."""
    problems: tuple[CorrectnessProblem, ...]
    cannot_judge: str | None
