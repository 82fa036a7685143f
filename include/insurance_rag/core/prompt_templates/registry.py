"""The registry of prompt formats. Each format has its own module in this package, which registers it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from insurance_rag.core.registry import Registry

ANSWER_HEADING = "### 출력\n"
"""Last line of every prompt. The answer begins after it."""


@dataclass(frozen=True)
class PromptFormat:
    """How a question and its context become a prompt, and which training file holds rows in this format.

    A prompt ends where the model's answer begins. In the training file, the `text` of a row is the prompt, the answer
    and `end_of_text`.
    """

    name: str
    title: str
    """One-line title for forms, reports and the reference documentation."""
    file: str
    """Name of the training file in the dataset folder."""
    prompt: Callable[[str, str], str]
    """Function (question, context) -> prompt. `context` is one chunk, or several chunks joined by blank lines."""
    max_context_characters: int | None = None
    """Maximum length of a context in characters. Longer contexts are cut at the end of a sentence; None never cuts."""
    answerable_only: bool = False
    """Whether to leave out rows that are labeled unanswerable."""
    retrieved_contexts: bool = False
    """Whether to add distractor chunks and refusal rows, so that training sees contexts like those from a retriever."""
    keep_meta: bool = False
    """Whether to write each row's lineage (`meta`) to the file."""
    end_of_text: str = ""
    """Token at the end of the `text` field in the training file; may be empty. The trainer does not use this field. It
    appends the end-of-text token of its tokenizer to the answer."""


PROMPT_FORMATS: Registry[PromptFormat] = Registry("prompt format", "insurance_rag.core.prompt_templates")


def prompt_format(entry: PromptFormat) -> PromptFormat:
    """Register a format under its name and return it."""
    return PROMPT_FORMATS.add(entry.name, entry)
