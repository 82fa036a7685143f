"""Formats validated rows as training rows: one function for every registered prompt format, and one for chat messages.

`text` is the row as in the reference design (docs/origin.md), `prompt` and `completion` are its halves. The prompt ends
where the answer begins, so that the loss can be computed on the answer. A completion has no end-of-text token: the
trainer appends the one of its own tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypedDict

from insurance_rag.core.prompt_templates import RAG_INSTRUCTION, PromptFormat
from insurance_rag.core.records import Chunk, FormattedRow, QARow
from insurance_rag.korean import cut_at_sentence


class ChatMessage(TypedDict):
    """One message of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


class ChatRow(TypedDict):
    """One row of the chat file."""

    chunk_id: str
    type: str
    messages: list[ChatMessage]


def format_row(prompt_format: PromptFormat, row: QARow, chunks: Sequence[Chunk] = ()) -> FormattedRow:
    """Return the row in a prompt format.

    `chunks` are the context of formats with retrieved contexts; without them the context is the row's own chunk.
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
    """Return a row of the RAG format as messages, for base models with a chat template."""
    return {
        "chunk_id": rag_row["chunk_id"],
        "type": rag_row["type"],
        "messages": [
            {"role": "system", "content": RAG_INSTRUCTION},
            {"role": "user", "content": f"[보험약관]\n{rag_row['input']}\n\n질문: {rag_row['instruction']}"},
            {"role": "assistant", "content": rag_row["completion"]},
        ],
    }
