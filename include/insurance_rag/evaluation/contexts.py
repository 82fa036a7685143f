"""Fit a question's context chunks into the model's context window.

All models see the same chunks, in whatever prompt format they are asked. Otherwise, their answers could not be
compared. The chunks therefore fit into the longest prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.prompt_templates import ContextChunkText
from insurance_rag.evaluation.backends.base import ModelBackend
from insurance_rag.evaluation.requests import DEFAULT_FORMAT, build_prompt

TokenCounter = Callable[[str, str], int]
"""Function (prompt, prompt format) -> number of tokens."""
MIN_CHUNK_TOKENS = 50
"""Minimum number of tokens that must be left for chunks in a prompt."""


def prompt_budget(backend: ModelBackend, max_new_tokens: int, formats: Sequence[str] = (DEFAULT_FORMAT,)) -> int:
    """Return the maximum number of tokens in a prompt. `formats` are the prompt formats that are used.

    Raises InvalidInputError if no chunk would fit.
    """
    budget = backend.context_limit - max_new_tokens
    if budget < _longest("", [], backend.count_tokens, formats) + MIN_CHUNK_TOKENS:
        raise InvalidInputError(
            f"max_new_tokens {max_new_tokens} leaves {budget} of {backend.context_limit} tokens for the prompt: "
            "no room for a chunk; lower decoding.max_new_tokens"
        )
    return budget


def fit_chunks(
    chunks: Sequence[ContextChunkText],
    question: str,
    budget: int,
    count_tokens: TokenCounter,
    formats: Sequence[str] = (DEFAULT_FORMAT,),
) -> list[ContextChunkText]:
    """Drop chunks from the end until the prompt has at most `budget` tokens in every format. Return those that remain.

    `chunks` must be sorted best first. If the first chunk alone is too long, its text is truncated.
    """
    kept = list(chunks)

    def longest() -> int:
        return _longest(question, kept, count_tokens, formats)

    while len(kept) > 1 and longest() > budget:
        kept.pop()
    while kept and kept[0].text and (tokens := longest()) > budget:
        # Remove one character for every three excess tokens. A character takes at most three byte-level tokens, so this
        # never removes too many characters. A few iterations are enough.
        text = kept[0].text
        kept[0] = kept[0]._replace(text=text[: max(0, len(text) - max(1, (tokens - budget) // 3))])
    return kept


def _longest(
    question: str, chunks: Sequence[ContextChunkText], count_tokens: TokenCounter, formats: Sequence[str]
) -> int:
    """Return the number of tokens in the longest of the prompts in `formats`."""
    return max(count_tokens(build_prompt(question, chunks, form), form) for form in formats)
