"""The registry of prompt formats. Each format has its own module in this package, which registers it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from insurance_rag.core.registry import Registry

ANSWER_HEADING = "### 출력\n"
"""Last line of every prompt. The answer begins after it."""


CHUNK_SEPARATOR = "\n\n"
"""Separates the chunks in a context."""


class ContextChunkText(NamedTuple):
    """A chunk for a context."""

    text: str
    header: str = ""
    """Lines that name the product and the section (see `chunk_header`)."""


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
    """Function (question, context) -> prompt. `context` is what the method `context` returns."""
    chunk_headers: bool = False
    """Whether a context names the product and the section above each chunk."""
    max_context_characters: int | None = None
    """Maximum length of a context in characters. Longer contexts are cut at the end of a sentence; None never cuts."""
    answerable_only: bool = False
    """Whether to leave out rows that are labeled unanswerable."""
    retrieved_contexts: bool = False
    """Whether to add distractor chunks and refusal rows, so that training sees contexts like those from a retriever."""
    judges_answers: bool = False
    """Whether the prompt shows an answer, and asks whether the policy supports it. The files of such a format hold
    right and wrong answers (`dataset/verifier_rows.py`). No question is answered with it."""
    chat: bool = False
    """Whether the prompt is the JSON text of chat messages (`write_messages`). The chat template of the base model's
    tokenizer turns the messages into text, and the training file holds `messages` instead of `text`."""
    keep_meta: bool = False
    """Whether to write each row's lineage (`meta`) to the file."""
    end_of_text: str = ""
    """Token at the end of the `text` field in the training file; may be empty. The trainer does not use this field. It
    appends the end-of-text token of its tokenizer to the answer."""

    def context(self, chunks: Iterable[ContextChunkText]) -> str:
        """Return the chunks as one text, separated by blank lines, with headers if the format has them."""
        with_header = self.chunk_headers
        return CHUNK_SEPARATOR.join(f"{c.header}\n{c.text}" if with_header and c.header else c.text for c in chunks)


PROMPT_FORMATS: Registry[PromptFormat] = Registry("prompt format", "insurance_rag.core.prompt_templates")


def prompt_format(entry: PromptFormat) -> PromptFormat:
    """Register a format under its name and return it."""
    return PROMPT_FORMATS.add(entry.name, entry)
