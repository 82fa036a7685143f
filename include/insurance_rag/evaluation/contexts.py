"""Fit a question's context chunks into the model's context window."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.evaluation.backends.base import ModelBackend
from insurance_rag.evaluation.requests import CHUNK_SEPARATOR, build_prompt

MIN_CHUNK_TOKENS = 50
"""Minimum number of tokens that must be left for chunks in a prompt."""


def prompt_budget(backend: ModelBackend, max_new_tokens: int) -> int:
    """Return the maximum number of tokens in a prompt. Raises InvalidInputError if no chunk would fit."""
    budget = backend.context_limit - max_new_tokens
    if budget < backend.count_tokens(build_prompt("", "")) + MIN_CHUNK_TOKENS:
        raise InvalidInputError(
            f"max_new_tokens {max_new_tokens} leaves {budget} of {backend.context_limit} tokens for the prompt: "
            "no room for a chunk; lower decoding.max_new_tokens"
        )
    return budget


def fit_chunks(texts: Sequence[str], question: str, budget: int, count_tokens: Callable[[str], int]) -> list[str]:
    """Drop texts from the end until the prompt has at most `budget` tokens, and return the remaining texts.

    `texts` must be sorted best first. If the first text alone is too long, it is truncated.
    """
    kept = list(texts)
    while len(kept) > 1 and count_tokens(_prompt(question, kept)) > budget:
        kept.pop()
    while kept and kept[0] and (tokens := count_tokens(_prompt(question, kept))) > budget:
        # Remove one character for every three excess tokens. A character takes at most three byte-level tokens, so this
        # never removes too many characters. A few iterations are enough.
        kept[0] = kept[0][: max(0, len(kept[0]) - max(1, (tokens - budget) // 3))]
    return kept


def _prompt(question: str, texts: Sequence[str]) -> str:
    return build_prompt(question, CHUNK_SEPARATOR.join(texts))
