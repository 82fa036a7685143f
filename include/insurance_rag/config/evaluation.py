"""Settings for retrieval, decoding and the comparison of models."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from pydantic import Field

from insurance_rag.core.config_base import Config
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.registry import Choice


class RetrievalConfig(Config):
    """Settings of the retriever, which finds the chunks for a question."""

    kind: Annotated[str, Choice("retriever")] = "bm25"
    """Retriever that finds the chunks. bm25 needs nothing else; dense and hybrid need an `embedder` that understands
    Korean."""
    top_k: int = Field(default=3, ge=1, le=20)
    """Number of chunks in the prompt. The best match comes first."""
    use_filters: bool = True
    """Search only chunks that match the question's `filters` (company and policy type)."""
    embedder: str | None = None
    """Embedding model: sentence-transformers:NAME (a Hugging Face name or a folder; needs the extra `dense`) or
    openai:MODEL@BASE_URL (API key in EMBEDDING_API_KEY)."""
    query_prefix: str | None = None
    """Text before every question that is embedded, e.g. `'query_prefix="query: "'`. None uses the prompt in the model's
    own configuration; for E5 models without one, `query: `."""
    passage_prefix: str | None = None
    """Text before every chunk that is embedded. None uses the prompt in the model's own configuration; for E5 models
    without one, `passage: `."""
    reranker: str | None = None
    """Cross-encoder that sorts the first hits again, as a Hugging Face name (e.g. BAAI/bge-reranker-v2-m3) or a folder.
    It needs the extra `dense`. None: no reranker."""
    rerank_depth: int = Field(default=20, ge=1, le=200)
    """Number of hits that the reranker sorts."""
    batch_size: int = Field(default=32, ge=1)
    """Number of texts that a local embedder or reranker reads at the same time."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where a local embedder or reranker runs. auto: on a GPU if there is one."""
    dense_weight: float = Field(default=0.5, ge=0, le=1)
    """Weight of the dense ranking in the hybrid retriever. BM25 gets the remaining weight."""
    rrf_constant: float = Field(default=60.0, gt=0)
    """Constant of reciprocal rank fusion in the hybrid retriever. A larger value reduces the advantage of top-ranked
    chunks."""


DECODING_PRESETS = ("before", "after", "default")
"""Names that `DecodingConfig.preset` accepts."""

REFERENCE_STOP_PHRASES = ("이번에 새로 나온", "Este es", "Ich möchte", "이번엔", "이번에")
"""Phrases at which the reference design cuts off an answer (docs/origin.md). A phrase only counts at the start of the
second or a later sentence, because `이번에` is also an ordinary word."""


class _Sampled(TypedDict):
    """Settings shared by the two presets of the reference design."""

    stop_strings: tuple[str, ...]
    stop_loops: bool
    trim_foreign_tail: bool


class DecodingConfig(Config):
    """Settings for generating an answer and for cutting off unwanted text afterwards."""

    temperature: float = Field(default=0.0, ge=0, le=2)
    """Sampling temperature; 0 means greedy decoding."""
    top_p: float = Field(default=0.9, gt=0, le=1)
    """Probability mass for nucleus sampling; ignored in greedy decoding."""
    repetition_penalty: float = Field(default=1.05, ge=1, le=2)
    """Penalty on tokens that have already occurred. A larger value makes them less likely; 1 turns the penalty off."""
    penalty_scope: Literal["generated", "prompt"] = "generated"
    """Tokens to which the penalty applies. generated: only tokens of the answer; prompt: tokens of the prompt as
    well, as in transformers. Quotes from the context are then penalized."""
    max_new_tokens: int = Field(default=256, ge=1)
    """Maximum length of an answer in tokens."""
    stop_strings: tuple[str, ...] = ("###", "[보험약관]", "\n질문:")
    """Strings that end the generation. Each of them is the start of a new prompt."""
    stop_loops: bool = True
    """End the generation when the answer starts to repeat itself."""
    stop_phrases: tuple[str, ...] = REFERENCE_STOP_PHRASES
    """Phrases that cut off an answer. A phrase only counts at the start of the second or a later sentence."""
    trim_foreign_tail: bool = True
    """Remove sentences in another language from the end of an answer."""
    seed: int = 0
    """Seed for sampling. Every question has its own random numbers, so an answer does not depend on the other questions
    in its batch."""

    @classmethod
    def preset(cls, name: str) -> DecodingConfig:
        """Return a preset: `before` and `after` are the reference design's settings, `default` is this project's.

        Raises InvalidInputError for any other name.
        """
        sampled: _Sampled = {"stop_strings": (), "stop_loops": False, "trim_foreign_tail": False}
        presets = {
            "before": cls(temperature=0.7, repetition_penalty=1.0, stop_phrases=(), **sampled),
            "after": cls(temperature=0.1, repetition_penalty=1.2, penalty_scope="prompt", **sampled),
            "default": cls(),
        }
        if name not in presets:
            raise InvalidInputError(f"unknown decoding preset {name!r}; use one of: {', '.join(presets)}")
        return presets[name]


class EvaluationConfig(Config):
    """Settings for comparing the base model and its adapters on the same questions."""

    contexts: tuple[Literal["retrieved", "gold"], ...] = Field(default=("retrieved", "gold"), min_length=1)
    """Sources of the chunks in the prompt. retrieved: chunks that the retriever found; gold: the question's gold
    chunks. The difference between the two results shows the effect of the retriever."""
    prompt: Literal["own", "rag", "both"] = "own"
    """Prompt formats in which the models are asked. own: each adapter in the format that it was trained on, and the
    base model in rag; rag: all models in rag; both: own and rag. The results of own are then the main results."""
    retrieval: RetrievalConfig = RetrievalConfig()
    """Settings of the retriever."""
    engine: Literal["auto", "static", "generate"] = "auto"
    """Decoding loop. static: this project's own loop (CUDA graphs on a GPU), for models with plain full attention;
    generate: the loop in transformers; auto: static if the model supports it, otherwise generate."""
    precision: Literal["auto", "nf4", "nf4-dequantized", "bf16", "fp32"] = "auto"
    """Precision of the base model. nf4: the 4-bit values that the adapters were trained on; nf4-dequantized: the same
    values stored in 16 bits, which gives the same answers faster; auto: nf4-dequantized if it fits into memory,
    otherwise nf4."""
    batch_tokens: int | None = Field(default=None, ge=64)
    """Number of tokens per batch, including prompts, answers and padding. None uses as many as fit into free memory."""
    reference: bool = False
    """Answer as the reference design does: load every model separately, merge its adapter into the 4-bit weights, and
    generate one answer at a time."""
    server: str | None = None
    """Base URL of an OpenAI-compatible server (vLLM with LoRA) that answers instead of a local model. It must serve the
    base model as `Base` and every adapter under the adapter's name."""
    server_concurrency: int = Field(default=32, ge=1)
    """Number of requests sent to the server at the same time."""
    min_lexical_support: float = Field(default=0.4, ge=0, le=1)
    """Minimum fraction of a sentence's character bigrams that must occur in the context or the question. A
    sentence with a smaller fraction is a finding."""
    judge: str | None = None
    """Language model that judges each answer, given as MODEL@BASE_URL of an OpenAI-compatible server (API key in
    JUDGE_API_KEY). None turns the judge off."""
    verifier: str | None = None
    """Folder of a calibrated verifier (recipe `verifier`). It scores the sentences of all answers, and its findings are
    shown next to those of the checks. It needs the base model on this machine, even if a server answers. `sweep` does
    not use it. None: no verifier."""
    verifier_counts: bool = False
    """Whether an answer that the verifier flags counts as a hallucination. If false, its findings are only counted in
    the metric `verifier_flagged`."""
    general_text: str | None = None
    """File with general text: a UTF-8 text file, or JSON Lines with a `text` in every row. The perplexity of every
    model on it shows how much an adapter has forgotten. At most 200 windows of at most 1,024 tokens are used. It needs
    a local model. None: not measured."""
    general_tasks: tuple[str, ...] = ()
    """Tasks of lm-evaluation-harness to run with every model, e.g. `["kobest_copa"]`. It needs the package lm_eval and
    a local model."""
    warn_below: int = Field(default=200, ge=0)
    """The summary contains a warning if there are fewer questions than this."""

    @property
    def prompts(self) -> tuple[Literal["own", "rag"], ...]:
        """The prompt formats that `prompt` selects. The results of the first are the main results."""
        return ("own", "rag") if self.prompt == "both" else (self.prompt,)
