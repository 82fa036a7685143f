"""The registry of prompt formats. A format is one module of this package that registers a `PromptFormat`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from insurance_rag.core.registry import Registry

ANSWER_HEADING = "### 출력\n"
"""Every prompt ends with this line; the answer begins after it."""


@dataclass(frozen=True)
class PromptFormat:
    """How a question and its context become a prompt, and which training file holds rows of this format.

    A prompt ends where the model's answer begins; `prompt + answer` is a training row without its end-of-text token.
    """

    name: str
    title: str
    """One line for forms, reports and the reference documentation."""
    file: str
    """File name in the dataset folder."""
    prompt: Callable[[str, str], str]
    """(question, context) -> prompt. `context` is one chunk, or several joined by a blank line."""
    max_context_characters: int | None = None
    """Longer contexts are cut at the end of a sentence; None keeps them whole."""
    answerable_only: bool = False
    """Leave out rows that are labelled unanswerable."""
    retrieved_contexts: bool = False
    """Add distractor chunks and refusal rows, so that training sees contexts like those of a retriever."""
    keep_meta: bool = False
    """Write the lineage of each row (`meta`) into the file."""
    end_of_text: str = ""
    """Token that the file's `text` spells out after the answer. The trainer never uses it: it appends the token of its
    own tokenizer."""


PROMPT_FORMATS: Registry[PromptFormat] = Registry("prompt format", "insurance_rag.core.prompt_templates")


def prompt_format(entry: PromptFormat) -> PromptFormat:
    """Register a format under its name."""
    return PROMPT_FORMATS.add(entry.name, entry)
