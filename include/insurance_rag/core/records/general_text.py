"""Records of the measurements on general text, which show what an adapter has forgotten."""

from __future__ import annotations

from pydantic import Field

from insurance_rag.core.records.data import Record


class PerplexityRatio(Record):
    """The perplexity of a model divided by that of the base model, on the same windows of text."""

    ratio: float
    low: float | None
    """Lower end of the confidence interval over windows; None with fewer than two windows."""
    high: float | None


class ModelPerplexity(Record):
    """The perplexity of one model on general text."""

    losses: list[float]
    """Sum of the losses of the tokens in each window, in nats."""
    perplexity: float
    """Perplexity per token over all windows."""
    against_base: PerplexityRatio | None
    """Comparison with the base model at a confidence level of 95 %; None for the base model."""


class GeneralText(Record):
    """Content of `general_text.json`: the perplexity of the base model and of every adapter on general text."""

    key: str
    """Identifies the text, the models and their precision. Equal keys mean the same measurement."""
    file: str
    """Absolute path of the text."""
    tokens: int
    """Number of tokens that were predicted."""
    window_tokens: list[int]
    """Number of predicted tokens in each window."""
    models: dict[str, ModelPerplexity]
    """Model -> perplexity. The base model comes first."""


class GeneralTasks(Record):
    """Content of `general_tasks.json`: scores of lm-evaluation-harness for the base model and every adapter."""

    key: str
    """Identifies the tasks, the version of the package, the models and their precision."""
    version: str
    """Version of lm-evaluation-harness."""
    scores: dict[str, dict[str, dict[str, float]]] = Field(default={})
    """Model -> task -> metric -> score, with the names that lm-evaluation-harness uses."""
