"""Converts validated rows to training rows: `format_row` for prompt formats, `chat_row` for chat messages.

`text` is the whole training text, as in the reference design (docs/origin.md). `prompt` is the text before the answer,
and `completion` is the answer. They are separate so that the loss can be computed on the answer alone. The completion
has no end-of-text token, because the trainer appends the token of its own tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypedDict

from insurance_rag.core.prompt_templates import RAG_INSTRUCTION, PromptFormat
from insurance_rag.core.records import Chunk, FormattedRow, QARow
from insurance_rag.korean import cut_at_sentence


class ChatMessage(TypedDict):
    """One chat message."""

    role: Literal["system", "user", "assistant"]
    content: str


class ChatRow(TypedDict):
    """One row in the chat file."""

    chunk_id: str
    type: str
    messages: list[ChatMessage]


def format_row(prompt_format: PromptFormat, row: QARow, chunks: Sequence[Chunk] = ()) -> FormattedRow:
    """Return the row in the given prompt format.

    `chunks` is the context for formats with retrieved contexts. If it is empty, the context is the row's own chunk.
    """
    context = "\n\n".join(chunk.text for chunk in chunks) if chunks else row["input"]
    if prompt_format.max_context_characters is not None:
        context = cut_at_sentence(context, prompt_format.max_context_characters)
    prompt = prompt_format.prompt(row["instruction"], context)
    formatted: FormattedRow = {
        "text": f"{prompt}{row['output']}{prompt_format.end_of_text}",
        "prompt": prompt,
        "completion": row["output"],
        "chunk_id": row["chunk_id"],
        "type": row["type"],
        "instruction": row["instruction"],
        "input": context,
        "output": row["output"],
        "evidence": row["evidence"],
        "answerable": row["answerable"],
    }
    if prompt_format.keep_meta:
        formatted["meta"] = row["meta"]
    if prompt_format.retrieved_contexts:
        formatted["context_chunk_ids"] = [chunk.chunk_id for chunk in chunks] if chunks else [row["chunk_id"]]
    return formatted


def chat_row(rag_row: FormattedRow) -> ChatRow:
    """Convert a row in the RAG format to chat messages, for base models with a chat template."""
    return {
        "chunk_id": rag_row["chunk_id"],
        "type": rag_row["type"],
        "messages": [
            {"role": "system", "content": RAG_INSTRUCTION},
            {"role": "user", "content": f"[보험약관]\n{rag_row['input']}\n\n질문: {rag_row['instruction']}"},
            {"role": "assistant", "content": rag_row["completion"]},
        ],
    }
