"""Settings of retrieval, decoding and the comparison of models."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from pydantic import Field

from insurance_rag.core.config_base import Config
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.registry import Choice


class RetrievalConfig(Config):
    """How the chunks for a question are found."""

    kind: Annotated[str, Choice("retriever")] = "bm25"
    """The retriever. bm25 needs nothing else; dense and hybrid need an embedder that understands Korean."""
    top_k: int = Field(default=3, ge=1, le=20)
    """Number of chunks in the prompt, best first."""
    use_filters: bool = True
    """Search only the product that a question names in its `filters`."""
    embedder: str | None = None
    """sentence-transformers:NAME or openai:MODEL@BASE_URL (API key in EMBEDDING_API_KEY)."""
    dense_weight: float = Field(default=0.5, ge=0, le=1)
    """Weight of the dense ranking in the hybrid retriever; BM25 has the rest."""
    rrf_constant: float = Field(default=60.0, gt=0)
    """Constant of the reciprocal rank fusion: the larger it is, the less the first ranks dominate the later ones."""


DECODING_PRESETS = ("before", "after", "default")
"""Names that `DecodingConfig.preset` accepts."""

REFERENCE_STOP_PHRASES = ("이번에 새로 나온", "Este es", "Ich möchte", "이번엔", "이번에")
"""Phrases at which the reference design cuts an answer (docs/origin.md). `이번에` is an ordinary word, so a phrase only
counts at the start of a sentence after the first."""


class _Sampled(TypedDict):
    """What the two presets of the reference design have in common."""

    stop_strings: tuple[str, ...]
    stop_loops: bool
    trim_foreign_tail: bool


class DecodingConfig(Config):
    """How an answer is generated from a prompt, and what is cut off afterwards."""

    temperature: float = Field(default=0.0, ge=0, le=2)
    """0 is greedy decoding."""
    top_p: float = Field(default=0.9, gt=0, le=1)
    """Nucleus sampling; unused in greedy decoding."""
    repetition_penalty: float = Field(default=1.05, ge=1, le=2)
    """Divides the logits of tokens that occurred already; 1 is off."""
    penalty_scope: Literal["generated", "prompt"] = "generated"
    """Tokens that the penalty counts. `prompt` also counts the prompt's tokens, as transformers does; that penalises
    quoting the context."""
    max_new_tokens: int = Field(default=256, ge=1)
    """Longest answer in tokens."""
    stop_strings: tuple[str, ...] = ("###", "[보험약관]", "\n질문:")
    """Generation ends where one of these appears: they start a new prompt."""
    stop_loops: bool = True
    """End the generation when the answer repeats itself."""
    stop_phrases: tuple[str, ...] = REFERENCE_STOP_PHRASES
    """Cut the answer where one of these starts a sentence after the first."""
    trim_foreign_tail: bool = True
    """Cut sentences in another language at the end of the answer."""
    seed: int = 0
    """Seed of the sampling. Each question has its own random numbers, independent of its batch."""

    @classmethod
    def preset(cls, name: str) -> DecodingConfig:
        """Return a preset: `before` and `after` are the settings of the reference design, `default` is ours.

        Raises InvalidInputError for another name.
        """
        sampled: _Sampled = {"stop_strings": (), "stop_loops": False, "trim_foreign_tail": False}
        presets = {
            "before": cls(temperature=0.7, repetition_penalty=1.0, stop_phrases=(), **sampled),
            "after": cls(temperature=0.1, repetition_penalty=1.2, penalty_scope="prompt", **sampled),
            "default": cls(),
        }
        if name not in presets:
            raise InvalidInputError(f"unknown decoding preset {name!r}; available: {', '.join(presets)}")
        return presets[name]


class EvaluationConfig(Config):
    """How the base model and its adapters answer the same questions and are compared."""

    contexts: tuple[Literal["retrieved", "gold"], ...] = Field(default=("retrieved", "gold"), min_length=1)
    """Chunks in the prompt: those that the retriever found, or the gold ones. The retriever causes the difference."""
    retrieval: RetrievalConfig = RetrievalConfig()
    engine: Literal["auto", "static", "generate"] = "auto"
    """static: our decoding loop (CUDA graphs on a GPU) for models with plain full attention; generate: the one of
    transformers."""
    precision: Literal["auto", "nf4", "nf4-dequantized", "bf16", "fp32"] = "auto"
    """Precision of the base model. nf4-dequantized holds the values that the adapters were trained on in 16 bit: the
    same answers, faster; auto chooses it if it fits into memory, else nf4."""
    batch_tokens: int | None = Field(default=None, ge=64)
    """Padded tokens (prompt and answer) per batch; None fits the free memory."""
    reference: bool = False
    """Answer as the reference design does: load each model separately, merge its adapter into 4-bit weights, generate
    one answer at a time."""
    server: str | None = None
    """Base URL of an OpenAI-compatible server (vLLM with LoRA) that answers instead of a local model. Its served model
    names must be the names used here."""
    server_concurrency: int = Field(default=32, ge=1)
    """Requests to the server at a time."""
    min_lexical_support: float = Field(default=0.4, ge=0, le=1)
    """A sentence is a finding if a smaller share of its character bigrams occurs in the context."""
    judge: str | None = None
    """MODEL@BASE_URL of an OpenAI-compatible server that judges each answer (API key in JUDGE_API_KEY); None is off."""
    warn_below: int = Field(default=200, ge=0)
    """With fewer questions the summary carries a warning."""
    bootstrap_samples: int = Field(default=2000, ge=100)
    """Samples of the paired bootstrap."""
