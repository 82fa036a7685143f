"""The chat format: the retrieval-style format as chat messages, for base models with a chat template.

The chat template of the base model's tokenizer turns the messages into text. Until then, a prompt is the JSON text of
its messages, so that it can be stored, hashed and compared like the prompts of the other formats.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal, TypedDict

from insurance_rag.core.prompt_templates.rag import RAG_INSTRUCTION
from insurance_rag.core.prompt_templates.registry import PromptFormat, prompt_format


class ChatMessage(TypedDict):
    """One chat message."""

    role: Literal["system", "user", "assistant"]
    content: str


def chat_messages(question: str, context: str) -> list[ChatMessage]:
    """Return the system prompt and the user's message. Dataset, training, evaluation and serving use these messages."""
    return [
        {"role": "system", "content": RAG_INSTRUCTION},
        {"role": "user", "content": f"[보험약관]\n{context}\n\n질문: {question}"},
    ]


def write_messages(messages: Sequence[ChatMessage]) -> str:
    """Return the prompt that consists of these messages, as JSON text."""
    return json.dumps(messages, ensure_ascii=False)


def read_messages(prompt: str) -> list[ChatMessage]:
    """Return the messages of a prompt that `write_messages` wrote."""
    messages: list[ChatMessage] = json.loads(prompt)
    return messages


def replace_in_messages(prompt: str, old: str, new: str) -> str:
    """Return the prompt with the first occurrence of `old` in each message replaced by `new`."""
    return write_messages(
        [
            {"role": message["role"], "content": message["content"].replace(old, new, 1)}
            for message in read_messages(prompt)
        ]
    )


def chat_prompt(question: str, context: str) -> str:
    return write_messages(chat_messages(question, context))


CHAT = prompt_format(
    PromptFormat(
        name="chat",
        title="Chat messages: the retrieval style for instruction-tuned models, through their chat template (v2)",
        file="train_dataset_chat.json",
        prompt=chat_prompt,
        chunk_headers=True,
        retrieved_contexts=True,
        chat=True,
    )
)
