"""Rows of the three formats. `text` is the spec's row to the character; prompt and completion are its halves.

The prompt ends with `### 출력\\n`, where the model's answer begins, so that the loss can be taken on the answer alone.
No completion holds an end-of-sequence token: the trainer appends its tokenizer's own. Only `text` of the RAG rows
spells out the spec's.
"""

from __future__ import annotations

from typing import Any

from insurance_rag.core.prompt_templates import (
    PLAIN,
    RAG,
    RAG_INSTRUCTION,
    merged_prompt,
    plain_prompt,
    rag_prompt,
)
from insurance_rag.korean import cut_at_sentence

Example = dict[str, Any]


def plain_example(row: dict[str, Any]) -> Example:
    """v1: question, clause cut to 500 characters, answer."""
    clause = cut_at_sentence(row["input"], PLAIN.max_context_characters or 0)
    return _example(row, plain_prompt(row["instruction"], clause), input=clause)


def rag_example(row: dict[str, Any], clauses: list[Any] | None = None) -> Example:
    """v2: the RAG instruction, the clause (or `clauses`, chunks that stand in its place), question, answer."""
    context = "\n\n".join(chunk.text for chunk in clauses) if clauses else row["input"]
    shown = [chunk.chunk_id for chunk in clauses] if clauses else [row["chunk_id"]]
    example = _example(row, rag_prompt(row["instruction"], context), eos=RAG.end_of_text, input=context)
    return {**example, "context_chunk_ids": shown}


def merged_example(row: dict[str, Any]) -> Example:
    """v3: a blank line between the sections, all the fields beside it."""
    return {**_example(row, merged_prompt(row["instruction"], row["input"])), "meta": row["meta"]}


def chat_example(rag: Example) -> Example:
    """A RAG row as messages, for bases with a chat template."""
    user = f"[보험약관]\n{rag['input']}\n\n질문: {rag['instruction']}"
    roles = (("system", RAG_INSTRUCTION), ("user", user), ("assistant", rag["completion"]))
    return {
        "chunk_id": rag["chunk_id"],
        "type": rag["type"],
        "messages": [{"role": role, "content": content} for role, content in roles],
    }


def _example(row: dict[str, Any], prompt: str, eos: str = "", **changed: Any) -> Example:
    fields = {key: value for key, value in row.items() if key != "meta"} | changed
    return {"text": f"{prompt}{row['output']}{eos}", "prompt": prompt, "completion": row["output"], **fields}
