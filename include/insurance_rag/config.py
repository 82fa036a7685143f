"""What a run can be told, one typed model a stage.

Every field is documented where it is declared; the command line, the recipes and Airflow's trigger form all come from
these models. An unknown key is refused with a suggestion, and all problems of a configuration are reported at once.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from insurance_rag.errors import WrongInput
from insurance_rag.records import GENERATED_TYPES, QuestionType


class Config(BaseModel):
    """Base of every configuration: immutable, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str = "configuration") -> Self:
        """Validate `values`; WrongInput lists every problem as `where: key: what is wrong`, with a suggestion."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as e:
            raise WrongInput([f"{where}: {_explain(cls, error)}" for error in e.errors()]) from None


def _explain(model: type[BaseModel], error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"]) or "(whole)"
    if error["type"] != "extra_forbidden":
        return f"{key}: {error['msg']} (got {error['input']!r})"
    near = difflib.get_close_matches(str(error["loc"][-1]), model.model_fields, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else "known keys: " + ", ".join(model.model_fields)
    return f"{key}: unknown key; {hint}"


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """`["max_steps=20", "lora.r=8"]` (from `--set`) as a nested dict; values are read as YAML."""
    result: dict[str, Any] = {}
    problems = []
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key.strip():
            problems.append(f"--set {setting}: want key=value")
            continue
        *parents, leaf = key.strip().split(".")
        target = result
        for parent in parents:
            target = target.setdefault(parent, {})
        target[leaf] = yaml.safe_load(value)
    if problems:
        raise WrongInput(problems)
    return result


class GenerationConfig(Config):
    """How question-answer pairs are asked for."""

    teacher: Literal["gemini", "openai", "local"] = "gemini"
    """gemini: Google's API or the simulator; openai: any compatible server (vLLM, Ollama); local: a 4-bit model here."""
    model: str = "gemini-2.5-flash"
    """The teacher's model name; part of what a pair is keyed by."""
    base_url: str | None = None
    """Server address without /v1beta; None takes GEMINI_BASE_URL, then Google's own."""
    prompt: str = "qa_v1"
    """Name of a file in generation/prompts; its version is part of what a pair is keyed by."""
    types: tuple[QuestionType, ...] = GENERATED_TYPES
    """Question types asked for of every clause."""
    pairs_per_type: int = Field(default=1, ge=1, le=5)
    """Pairs wanted of each type from each clause."""
    temperature: float = Field(default=0.7, ge=0, le=2)
    max_retries: int = Field(default=5, ge=0)
    """Tries after the first, for 429s and passing faults of one clause."""
    request_gap_s: float = Field(default=0.2, ge=0)
    """Least time between two calls on one key."""
    save_every: int = Field(default=10, ge=1)
    """The part file is rewritten from the journal after this many chunks (an answer is on disk at once)."""
    timeout_s: float = Field(default=60.0, gt=0)
    """Of one call."""


class QuotaConfig(Config):
    """Limits of one project, for each model; None is unlimited, 0 means the model is not in the project's tier."""

    rpm: int | None = Field(default=None, ge=0)
    """Requests a minute."""
    tpm: int | None = Field(default=None, ge=0)
    """Input tokens a minute."""
    rpd: int | None = Field(default=None, ge=0)
    """Requests a day."""


FaultName = Literal["503", "500", "502", "drop", "malformed", "max_tokens", "empty", "blocked", "bare_429", "fenced"]


class SimulatorConfig(Config):
    """The Gemini look-alike. Every duration is in seconds of its own clock, which runs `speed` times as fast as ours."""

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)
    """0 takes a free one."""
    speed: float = Field(default=1.0, gt=0)
    """Its minute lasts 60 / speed of our seconds: quota windows, latencies and the delays it names shrink alike."""
    quota: QuotaConfig = QuotaConfig()
    """Of every project that `quotas` does not name."""
    quotas: dict[str, QuotaConfig] = {}
    """By project: {"p1": {"rpm": 5}}."""
    window: Literal["rolling", "fixed", "bucket"] = "rolling"
    """How a minute is counted: the last 60 s, the minute of the clock, or a bucket that refills steadily."""
    projects: dict[str, str] = {}
    """Key -> project. Keys of one project share its quota; a key that is not listed is a project of its own."""
    key_states: dict[str, Literal["invalid", "leaked", "suspended", "disabled"]] = {}
    """Keys that are refused: 400 API_KEY_INVALID, or 403 with the reason of that name."""
    latency_s: float = Field(default=0.3, ge=0)
    """From an admitted request to its answer."""
    latency_spread: float = Field(default=0.0, ge=0, le=1)
    """A latency is drawn from latency_s * (1 +- spread)."""
    batch_s: float = Field(default=120.0, ge=0)
    """From the submission of a batch to its result."""
    batch_jobs: int = Field(default=100, ge=1)
    """Batches that one project may have running; the next one is a 429."""
    faults: dict[FaultName, Annotated[float, Field(ge=0, le=1)]] = {}
    """Share of requests: {"503": 0.02, "drop": 0.015, "blocked": 0.005}. `blocked` is a share of clauses, for good."""
    outages: list[tuple[float, float]] = []
    """Spans (from, to) of the clock in which every request is a 503."""
    defects: float = Field(default=0.15, ge=0, le=1)
    """Share of the pairs that are wrong on purpose; GET /truth says which and how."""
    seed: int = 0
    """Of faults, latencies, answers and defects: the same seed and clause give the same answer."""


class PretrainConfig(Config):
    """How the demo's small base model is trained from scratch."""

    vocab_size: int = Field(default=3000, ge=300)
    """Entries of the byte-level BPE, the 256 bytes and three special tokens among them."""
    hidden: int = Field(default=128, ge=64, multiple_of=64)
    """Width; a multiple of 64, the block size of NF4."""
    layers: int = Field(default=3, ge=1)
    """Two are the least that can copy (one head looks back, the next one fetches)."""
    heads: int = Field(default=4, ge=1)
    """Attention heads a layer."""
    context: int = Field(default=1024, ge=64)
    """Longest input in tokens: an instruction, three clauses, a question and its answer."""
    steps: int = Field(default=600, ge=1)
    """Optimizer steps."""
    tokens_per_step: int = Field(default=2048, ge=64)
    """Tokens of a batch."""
    learning_rate: float = Field(default=0.02, gt=0)
    """Muon's rate for the layers; embeddings take a quarter of it by AdamW."""
    max_seconds: float = Field(default=75.0, gt=0)
    """The learning rate reaches zero after this time at the latest, however slow the machine."""
    seed: int = 42
    """Of weights and data."""


class RunConfig(Config):
    """One run of the whole path; the trigger form of `finetune_pipeline` is made from it.

    The defaults are the embedded demo: the sample clauses, a simulator, a small base model trained on the spot.
    """

    chunks: str = Field(default="sample", title="Clauses")
    """JSON lines of policy clauses; "sample" takes the fictional policies that ship with the project."""
    questions: str = Field(default="sample", title="Evaluation questions")
    """JSON lines of frozen questions; their documents are held out of training. "sample" goes with the sample clauses."""
    keys: tuple[str, ...] = Field(default=(), title="API keys")
    """Airflow connections of type `gemini`, one shard each."""
    base_model: str = Field(default="demo", min_length=1, title="Base model")
    """Hugging Face name or local folder, e.g. beomi/Llama-3-Open-Ko-8B; "demo" trains a small Llama on the clauses."""
    versions: tuple[Literal["v1", "v2", "v3"], ...] = Field(default=("v1", "v2"), min_length=1, title="Adapters to train")
    """v1: plain QA; v2: RAG style, refuses and cites; v3: the merged dataset."""
    profile: Literal["smoke", "default", "source"] = Field(default="smoke", title="Training profile")
    """smoke: minutes on a CPU; default: the recipes' fast settings for a GPU; source: the settings of the original system."""
    question_limit: int | None = Field(default=60, ge=1, title="Questions to ask")
    """Evaluate on the first n questions; empty asks all. Under 200 a difference of 10 points cannot be told from chance."""
    redistribute: bool = Field(default=True, title="Redistribute")
    """Plan again over the healthy keys what a dead key left over."""
    allow_partial: bool = Field(default=False, title="Allow a partial dataset")
    """Go on although chunks are missing; the dataset is marked incomplete and its asset is not published."""
    previous_run: str | None = Field(default=None, title="Earlier run")
    """Folder of an earlier run: only new and changed clauses are asked for."""
    generation: GenerationConfig = GenerationConfig()
    training: dict[str, Any] = {}
    """Recipe settings over the profile, e.g. {"max_steps": 300}; the recipe checks them."""


class RetrievalConfig(Config):
    """How clauses are found for a question."""

    kind: Literal["bm25", "dense", "hybrid"] = "bm25"
    """bm25 needs nothing; dense and hybrid need an embedder that reads Korean."""
    clauses: int = Field(default=3, ge=1, le=20)
    """Clauses put into the prompt, best first."""
    use_filters: bool = True
    """Search only the product a question names in its `filters`."""
    embedder: str | None = None
    """sentence-transformers:NAME or openai:MODEL@BASE_URL (key in EMBEDDING_API_KEY)."""
    dense_weight: float = Field(default=0.5, ge=0, le=1)
    """Share of the dense ranking in the hybrid; the rest is BM25's."""
    rrf_constant: float = Field(default=60.0, gt=0)
    """Of the reciprocal rank fusion: the larger, the less the first ranks outweigh the later ones."""
