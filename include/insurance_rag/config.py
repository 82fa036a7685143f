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


class Price(Config):
    """US dollars for a million tokens."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)


class GenerationConfig(Config):
    """How question-answer pairs are asked for."""

    teacher: Literal["gemini", "openai", "local"] = "gemini"
    """gemini: Google's API or the simulator; openai: any compatible server (vLLM, Ollama); local: a 4-bit model."""
    model: str = "gemini-2.5-flash"
    """The teacher's model name; part of what a pair is keyed by."""
    base_url: str | None = None
    """Server address without /v1beta; None takes GEMINI_BASE_URL, then Google's own."""
    prompt: str | None = None
    """A file of generation/prompts (None: qa_v1, or local_v1); its version is part of what a pair is keyed by."""
    types: tuple[QuestionType, ...] = Field(default=GENERATED_TYPES, min_length=1)
    """Question types asked for of every clause."""
    pairs_per_type: int = Field(default=1, ge=1, le=5)
    """Pairs wanted of each type from each clause."""
    temperature: float = Field(default=0.7, ge=0, le=2)
    max_retries: int = Field(default=5, ge=0)
    """Tries after the first for passing faults of one clause. A 429 of a minute's quota waits and does not count."""
    request_gap_s: float = Field(default=0.2, ge=0)
    """Least time between two calls on one key; shorter where a known quota allows more calls than that."""
    max_in_flight: int = Field(default=64, ge=1)
    """Most calls of one shard that wait for their answer; the pace decides how many of them are used."""
    save_every: int = Field(default=10, ge=1)
    """The part file is rewritten from the journal after this many chunks (an answer is on disk at once)."""
    timeout_s: float = Field(default=60.0, gt=0)
    """Of one call."""
    quota_window_s: float | None = Field(default=None, gt=0)
    """Seconds that the server's minute lasts; None takes GEMINI_QUOTA_WINDOW_S (a sped-up simulator), then 60."""
    mend: bool = True
    """Ask once more for pairs that the row rules would drop (gemini, openai), with the fault named; both are kept."""
    redistribute: bool = True
    """Plan what a dead key left over again, over the healthy keys."""
    budget_usd: float | None = Field(default=None, gt=0)
    """The run stops cleanly before its cost by `prices` passes this; None is no limit."""
    prices: dict[str, Price] = {
        "gemini-2.5-flash": Price(input=0.30, output=2.50),
        "gemini-2.5-flash-lite": Price(input=0.10, output=0.40),
        "gemini-2.5-pro": Price(input=1.25, output=10.0),
    }
    """Price of a million tokens by model (list prices, 2025-09); a model that is not listed counts as free."""
    batch: bool = False
    """In Airflow: Gemini's batch mode, at half the price and within a day; for scheduled refreshes."""
    batch_poll_s: float = Field(default=300.0, gt=0)
    """Between two looks at a batch."""
    batch_discount: float = Field(default=0.5, ge=0, le=1)
    """What batch mode costs, as a share of the price."""


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
    """The Gemini look-alike. Durations are in seconds of its own clock, which runs `speed` times as fast as ours."""

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


class LoraSettings(Config):
    """The adapter's shape."""

    r: int = Field(default=16, ge=1)
    """Rank."""
    alpha: int = Field(default=32, ge=1)
    """The adapter's output is scaled by alpha / r."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """On the adapter's input. The published value is 0.05 (profile source); its masks cost 3 % of speed and memory."""
    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    """Linear layers that get an adapter; never `lm_head`, whose adapter TRL's fused head would not train."""


class TrainingConfig(Config):
    """A recipe: how one adapter is trained. Settings that are `auto` come from the memory preset."""

    version: Literal["v1", "v2", "v3"]
    """Which of the dataset's files it trains on, and which format its prompts have."""
    base_revision: str | None = None
    """Commit of a Hugging Face base model; None takes the newest, and the adapter records which that was."""
    quantization: Literal["nf4", "none"] = "nf4"
    """nf4: 4-bit base (QLoRA); none: the base in 16 bits, faster where it fits."""
    double_quantization: bool | Literal["auto"] = "auto"
    """Quantise NF4's scales too: 0.4 bit a weight less, 3 % slower."""
    lora: LoraSettings = LoraSettings()
    compute: Literal["auto", "bf16", "fp32"] = "auto"
    """Arithmetic of base and activations; auto: bf16 on a GPU, fp32 on a CPU.

    fp16 is not offered: TRL keeps QLoRA adapters in bf16, on which fp16's gradient scaler fails (trl #4901)."""
    adapter_dtype: Literal["auto", "bf16", "fp32"] = "auto"
    """Of the adapter's weights; auto: as `compute`."""
    epochs: float = Field(default=1.0, gt=0)
    """Length of the run where `max_steps` is not set."""
    max_steps: int | None = Field(default=None, ge=1)
    """Length of the run in optimizer steps."""
    batch_size: int = Field(default=8, ge=1)
    """Rows of one optimizer step over all devices."""
    memory: Literal["auto", "8GB", "24GB", "80GB"] = "auto"
    """Preset for the card; auto measures what is free and takes the fastest that an estimate says will fit."""
    micro_batch: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Rows of one forward pass on one device; the rest of `batch_size` is accumulated."""
    checkpointing: bool | Literal["auto"] = "auto"
    """Recompute activations in the backward pass: a third slower, a fraction of the memory."""
    optimizer: str = "auto"
    """A name of transformers' `optim`; auto: adamw_torch_fused, or adamw_8bit in the 8GB preset."""
    learning_rate: float = Field(default=2e-4, gt=0)
    warmup: float = Field(default=10, ge=0)
    """Steps, or below 1 a share of the run."""
    schedule: Literal["linear", "cosine", "constant_with_warmup"] = "linear"
    """How the learning rate falls after the warm-up."""
    max_length: int = Field(default=2048, ge=16)
    """Longest row in tokens; see `too_long`."""
    too_long: Literal["cut_context", "skip"] = "cut_context"
    """Rows over `max_length`: cut their clause at a sentence, or leave them out and list them. No answer is cut."""
    completion_only: bool = True
    """Loss on the answer alone; false: on prompt and answer."""
    teach_stop: bool = True
    """End every answer with the base tokenizer's end-of-text token, so that the model learns to stop."""
    padding_free: bool = True
    """Rows of a micro-batch in one sequence without padding, on variable-length attention."""
    liger: bool | Literal["auto"] = "auto"
    """Liger's kernels for norm, rotary embedding and SwiGLU; auto: where they are installed and there is a GPU."""
    compile: bool = False
    """torch.compile of each layer: about a minute once, pays off in runs over ten minutes."""
    kbit_preparation: bool = False
    """peft's `prepare_model_for_kbit_training`: casts norms and embeddings to fp32, 17 % slower, for comparison."""
    eval_every: int | None = Field(default=50, ge=1)
    """Steps between two measurements of the held-out loss; None only at the end."""
    eval_rows: int = Field(default=64, ge=1)
    """Held-out rows it is measured on."""
    early_stopping: int | None = Field(default=None, ge=1)
    """Stop after this many measurements without a better held-out loss, and keep the best adapter."""
    save_every: int = Field(default=50, ge=1)
    """Steps between two checkpoints; a stopped run goes on from the last one."""
    log_every: int = Field(default=10, ge=1)
    """Steps between two rows of loss_history.jsonl."""
    report_to: tuple[Literal["tensorboard", "mlflow", "wandb", "trackio"], ...] = ("tensorboard",)
    """Further places the figures go; each but tensorboard needs its package installed."""
    fsdp: bool = False
    """Shard base and adapter over the GPUs (for models that do not fit one); without it each GPU holds a copy."""
    seed: int = 42
    """Of adapter weights, row order and dropout."""


class PretrainConfig(Config):
    """How the demo's small base model is trained from scratch."""

    vocab_size: int = Field(default=3000, ge=300)
    """Entries of the byte-level BPE, the 256 bytes and three special tokens among them."""
    hidden: int = Field(default=192, ge=192, multiple_of=192)
    """Width: three heads of 64, the block size of NF4."""
    layers: int = Field(default=2, ge=2)
    """Two are the least that can copy."""
    context: int = Field(default=1024, ge=64)
    """Longest input in tokens: an instruction, three clauses, a question and its answer."""
    steps: int = Field(default=300, ge=1)
    """Optimizer steps."""
    tokens_per_step: int = Field(default=2048, ge=64)
    """Tokens of a batch."""
    learning_rate: float = Field(default=0.01, gt=0)
    """Muon's rate for the layers; embeddings take a quarter of it by AdamW."""
    max_seconds: float = Field(default=60.0, gt=0)
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
    source_faithful: bool = False
    """The source's way instead: load each model anew, merge its adapter into 4-bit weights, one answer at a time."""
    server: str | None = None
    """Base URL of an OpenAI-compatible server (vLLM with LoRA) that answers instead; models by their served names."""
    server_concurrency: int = Field(default=32, ge=1)
    lexical_support: float = Field(default=0.4, ge=0, le=1)
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
    margin: float = Field(default=0.03, ge=0, lt=1)
    """A challenger is "no worse" if, with confidence, it hallucinates at most this much more than the champion."""
    must_improve: bool = True
    """Being no worse is not enough: fewer hallucinations, with confidence."""
    max_false_refusal: float = Field(default=0.10, ge=0, le=1)
    """Upper end of the interval of refusals where the clause had the answer."""
    max_missed_refusal: float = Field(default=0.50, ge=0, le=1)
    """Upper end of the interval of answers where the policy has none."""
    max_empty: float = Field(default=0.05, ge=0, le=1)
    """Upper end of the interval of empty answers: who says nothing makes nothing up."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    min_questions: int = Field(default=50, ge=1)
    """Fewer are never enough to decide."""
    power: float = Field(default=0.8, gt=0.5, lt=1)
    """Of the number of further questions that "cannot tell" asks for."""


class DatasetConfig(Config):
    """What the training files are made of."""

    unanswerable_share: float = Field(default=0.12, ge=0, lt=0.5)
    """Of the RAG rows (v2): a question against another product's clause, answered by the refusal sentence. 0: none."""
    distractor_share: float = Field(default=0.4, ge=0, le=1)
    """Of the RAG rows (v2): further clauses stand beside the right one, as a retriever hands them over. 0: none."""
    distractors: tuple[int, int] = (2, 4)
    """Least and most of them."""
    context_characters: int = Field(default=1600, ge=200)
    """Distractors are added while the context stays below this."""
    caps: dict[Literal["type", "company", "product"], Annotated[float, Field(gt=0, le=1)]] = {}
    """Largest share of any one type, company or product; what is over is left out and counted as `balance`."""
    parquet: bool = True
    """Write parquet/*.parquet beside the JSON files."""
    chat: bool = True
    """Write train_dataset_chat.json: the RAG rows as messages, for chat bases."""
    push_to_hub: str | None = None
    """Hugging Face data set (owner/name) to upload the finished folder to; needs HF_TOKEN."""
    seed: int = 0
    """Of every choice: which rows get which clauses, and what a cap leaves out."""


#: The spec's rules, in its order.
SPEC_RULES = ("required_fields", "duplicate", "too_short", "cut_off", "evasive")


class ValidationConfig(Config):
    """Which rows are good enough to train on. The first rule that drops a row is its reason."""

    rules: tuple[str, ...] = (
        "malformed",
        *SPEC_RULES,
        "missed_refusal",
        "unknown_chunk",
        "stale_clause",
        "prompt_echo",
        "foreign_tail",
        "repetition",
        "not_korean",
        "open_ended",
        "not_standalone",
        "unsupported_article",
        "unsupported_number",
        "evidence",
        "leak",
        "near_duplicate",
        "not_retrieved",
    )
    """Rules in the order they are tried, each a function of that name in `insurance_rag.validation`."""
    min_output: int = Field(default=10, ge=1)
    """Characters of the shortest answer; the spec's 10."""
    max_characters: int = Field(default=20_000, ge=100)
    """Of any field; a longer one is malformed."""
    keep_partial_evasions: bool = False
    """Keep answers that answer and then say that a detail is not stated."""
    min_korean: float = Field(default=0.6, ge=0, le=1)
    """Share of Hangul among the letters of an answer."""
    near_duplicate: float = Field(default=0.8, gt=0, le=1)
    """Jaccard similarity of the 3-grams of question and answer from which the later of two rows is dropped."""
    near_duplicate_question: float = Field(default=0.6, gt=0, le=1)
    """... if their questions alone are this similar too: one clause has one long answer to several questions."""
    leak_similarity: float = Field(default=0.85, gt=0, le=1)
    """Jaccard similarity of the 5-grams of two clauses from which training on one leaks a question on the other."""
    questions_sha256: str | None = None
    """Hash of the frozen evaluation questions; another file is refused."""
    retriever_check: bool = True
    """Search every question with BM25 and note the rank of its clause."""
    max_rank: int | None = Field(default=None, ge=1)
    """Drop rows whose question ranks its clause behind this, as `not_retrieved`; None only reports."""
    workers: int | None = Field(default=None, ge=1)
    """Processes; None takes one a core, and a single one for few rows."""
    dataset: DatasetConfig = DatasetConfig()
    """What is made of the rows that stay."""


class RunConfig(Config):
    """One run of the whole path; the DAGs' trigger forms are made from it.

    The defaults are the embedded demo: the sample clauses, a simulator, a small base model trained on the spot.
    """

    chunks: str = Field(default="sample", title="Clauses")
    """JSON lines of policy clauses; "sample" takes the fictional policies that ship with the project."""
    keys: tuple[str, ...] = Field(default=(), title="API keys")
    """Airflow connections of type `gemini`, one shard each."""
    base_model: str = Field(default="demo", min_length=1, title="Base model")
    """Hugging Face name or local folder, e.g. beomi/Llama-3-Open-Ko-8B; "demo" trains a small one."""
    versions: tuple[Literal["v1", "v2", "v3"], ...] = Field(
        default=("v1", "v2"), min_length=1, title="Adapters to train"
    )
    """v1: plain QA; v2: RAG style, cites and refuses; v3: the merged dataset."""
    profile: Literal["smoke", "default", "source"] = Field(default="smoke", title="Training profile")
    """smoke: minutes on a CPU; default: fast settings for a GPU; source: the settings of the original system."""
    questions: str = Field(default="sample", title="Evaluation questions")
    """JSON lines of frozen questions; their documents are held out of training. "sample" goes with those clauses."""
    question_limit: int | None = Field(default=60, ge=1, title="Questions to ask")
    """Evaluate on the first n; empty asks all. Under 200 a difference of 10 points cannot be told from chance."""
    reuse_answers: bool = Field(default=True, title="Reuse answers")
    """Take answers to unchanged clauses over from earlier runs; only new and changed clauses are paid for."""
    allow_partial: bool = Field(default=False, title="Allow a partial dataset")
    """Go on although clauses are missing; the dataset is marked incomplete and never published."""
    approve: bool = Field(default=True, title="Ask before publishing")
    """A refreshed dataset waits for a person's approval."""
    dataset: str | None = Field(default=None, title="Finished dataset")
    """Folder of a dataset to train on; nothing is generated then."""
    adapters: dict[str, str] = Field(default={}, title="Trained adapters")
    """Adapters to evaluate, name -> folder."""
    generation: GenerationConfig = GenerationConfig()
    validation: ValidationConfig = ValidationConfig()
    training: dict[str, Any] = {}
    """Recipe settings over the profile, e.g. {"max_steps": 300}; the recipe checks them."""
