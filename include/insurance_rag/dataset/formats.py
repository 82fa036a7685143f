"""Converts validated rows to training rows: `format_row` for prompt formats, `chat_row` for chat messages.

`text` is the whole training text, as in the reference design (docs/origin.md). `prompt` is the text before the answer,
and `completion` is the answer. They are separate so that the loss can be computed on the answer alone. The completion
has no end-of-text token, because the trainer appends the token of its own tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from insurance_rag.chunks.headings import chunk_header
from insurance_rag.core.prompt_templates import (
    CHUNK_SEPARATOR,
    ChatMessage,
    ContextChunkText,
    PromptFormat,
    read_messages,
)
from insurance_rag.core.records import Chunk, FormattedRow, QARow
from insurance_rag.korean.sentences import cut_context


class ChatRow(TypedDict):
    """One row in the file of a chat format."""

    chunk_id: str
    type: str
    messages: list[ChatMessage]
    """System prompt, the user's message and the answer."""
    context: str
    """Context as it appears in the user's message, including chunk headers. Training may shorten it."""
    evidence: str


def format_row(prompt_format: PromptFormat, row: QARow, chunks: Sequence[Chunk] = ()) -> FormattedRow | None:
    """Return the row in the given prompt format, or None if the format's length limit would cut off its evidence.

    `chunks` is the context for formats with retrieved contexts. If it is empty, the context is the row's own chunk.
    """
    shown = [ContextChunkText(chunk.text, chunk_header(chunk)) for chunk in chunks] or [ContextChunkText(row["input"])]
    limit = prompt_format.max_context_characters
    context: str | None = prompt_format.context(shown)
    if context is not None and limit is not None:
        context = cut_context(context, limit, row["evidence"])
    if context is None:
        return None
    prompt = prompt_format.prompt(row["instruction"], context)
    formatted: FormattedRow = {
        "text": f"{prompt}{row['output']}{prompt_format.end_of_text}",
        "prompt": prompt,
        "completion": row["output"],
        "chunk_id": row["chunk_id"],
        "type": row["type"],
        "instruction": row["instruction"],
        "input": CHUNK_SEPARATOR.join(text for text, _ in shown) if limit is None else context,
        "context": context,
        "output": row["output"],
        "evidence": row["evidence"],
        "answerable": row["answerable"],
    }
    if prompt_format.keep_meta:
        formatted["meta"] = row["meta"]
    if prompt_format.retrieved_contexts:
        formatted["context_chunk_ids"] = [chunk.chunk_id for chunk in chunks] if chunks else [row["chunk_id"]]
    return formatted


def chat_row(row: FormattedRow) -> ChatRow:
    """Convert a row in a chat format to chat messages."""
    return {
        "chunk_id": row["chunk_id"],
        "type": row["type"],
        "messages": [*read_messages(row["prompt"]), {"role": "assistant", "content": row["completion"]}],
        "context": row["context"],
        "evidence": row["evidence"],
    }
