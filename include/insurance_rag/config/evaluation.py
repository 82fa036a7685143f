"""How clauses are found, answers generated and models compared."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from insurance_rag.core.config_base import Config
from insurance_rag.core.errors import InvalidInputError


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
            raise InvalidInputError(f"decoding {name!r}: choose " + ", ".join(presets))
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
    reference: bool = False
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
