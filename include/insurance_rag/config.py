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


#: The phrases at which the source cut an answer. `이번에` is an ordinary word, so a phrase counts only at the start of
#: a sentence after the first, and every cut is counted.
SOURCE_STOP_PHRASES = ("이번에 새로 나온", "Este es", "Ich möchte", "이번엔", "이번에")


class DecodingConfig(Config):
    """How an answer is generated from a prompt, and what is cut off afterwards."""

    temperature: float = Field(default=0.0, ge=0, le=2)
    """0 is greedy."""
    top_p: float = Field(default=0.9, gt=0, le=1)
    """Only when sampling."""
    repetition_penalty: float = Field(default=1.05, ge=1, le=2)
    """Divides the logits of tokens that were used already."""
    penalty_scope: Literal["generated", "prompt"] = "generated"
    """`prompt` counts the prompt's tokens too, as transformers does: that pushes the model off the clause."""
    max_new_tokens: int = Field(default=256, ge=1)
    stop_strings: tuple[str, ...] = ("###", "[보험약관]", "\n질문:")
    """Generation ends where one of these appears: the start of a prompt the model writes to itself."""
    stop_loops: bool = True
    """Generation ends when the answer repeats itself."""
    stop_phrases: tuple[str, ...] = SOURCE_STOP_PHRASES
    """The answer is cut where one of these starts a sentence after the first."""
    trim_foreign_tail: bool = True
    """Sentences in another language at the end are cut."""
    seed: int = 0
    """Of the sampling; each question and model draws its own numbers from it, whatever its place in a batch."""

    @classmethod
    def preset(cls, name: str) -> DecodingConfig:
        """`before` and `after` are the source's settings, `default` is ours."""
        sampled: dict[str, Any] = {"stop_strings": (), "stop_loops": False, "trim_foreign_tail": False}
        presets = {
            "before": cls(temperature=0.7, repetition_penalty=1.0, stop_phrases=(), **sampled),
            "after": cls(temperature=0.1, repetition_penalty=1.2, penalty_scope="prompt", **sampled),
            "default": cls(),
        }
        if name not in presets:
            raise WrongInput(f"decoding {name!r}: choose " + ", ".join(presets))
        return presets[name]


class EvaluationConfig(Config):
    """How Base and adapters are asked the same questions and compared."""

    contexts: tuple[Literal["retrieved", "gold"], ...] = Field(default=("retrieved", "gold"), min_length=1)
    """Clauses shown: those the retriever found, and the right ones; the difference is the retriever's fault."""
    retrieval: RetrievalConfig = RetrievalConfig()
    engine: Literal["auto", "static", "generate"] = "auto"
    """static: own decoding loop (CUDA graphs on a GPU) for plain full-attention models; generate: transformers' own."""
    precision: Literal["auto", "nf4", "nf4-dequantized", "bf16", "fp32"] = "auto"
    """Of the base. nf4-dequantized holds the values the adapters were trained on, in 16 bit: same answers, quicker;
    auto takes it where it fits into memory, else nf4."""
    batch_tokens: int | None = Field(default=None, ge=64)
    """Padded tokens (prompt and answer) in one batch; None fits the free memory."""
    server: str | None = None
    """Base URL of an OpenAI-compatible server (vLLM with LoRA) that answers instead; models by their served names."""
    server_concurrency: int = Field(default=32, ge=1)
    lexical_support: float = Field(default=0.3, ge=0, le=1)
    """A sentence of which less than this share of content words stands in the context is a finding."""
    judge: str | None = None
    """MODEL@BASE_URL of an OpenAI-compatible server that judges each answer (key in JUDGE_API_KEY); None is off."""
    warn_below: int = Field(default=200, ge=0)
    """Fewer questions put a warning on the table."""
    draws: int = Field(default=2000, ge=100)
    """Of the paired bootstrap."""


class PromotionConfig(Config):
    """When an adapter may replace the champion."""

    champion: str = "Base"
    """The model a challenger is held against where the registry has none."""
    context: Literal["retrieved", "gold"] = "retrieved"
    """Whose answers count."""
    margin: float = Field(default=0.03, ge=0, lt=1)
    """A challenger is "no worse" if, with confidence, it hallucinates at most this much more often than the champion."""
    must_improve: bool = True
    """Being no worse is not enough: fewer hallucinations, with confidence."""
    max_false_refusal: float = Field(default=0.10, ge=0, le=1)
    """Upper end of the interval of refusals where the clause had the answer."""
    max_missed_refusal: float = Field(default=0.50, ge=0, le=1)
    """Upper end of the interval of answers where the policy has none."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    min_questions: int = Field(default=50, ge=1)
    """Fewer are never enough to decide."""
    power: float = Field(default=0.8, gt=0.5, lt=1)
    """Of the number of further questions that "cannot tell" asks for."""


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
    versions: tuple[Literal["v1", "v2", "v3"], ...] = Field(
        default=("v1", "v2"), min_length=1, title="Adapters to train"
    )
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
