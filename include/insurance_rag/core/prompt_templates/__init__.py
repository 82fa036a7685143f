"""Prompt formats. Training, evaluation and serving build their prompts with the same functions."""

from __future__ import annotations

from insurance_rag.core.prompt_templates.chat import (
    CHAT,
    ChatMessage,
    chat_messages,
    chat_prompt,
    read_messages,
    replace_in_messages,
    write_messages,
)
from insurance_rag.core.prompt_templates.merged import MERGED, merged_prompt
from insurance_rag.core.prompt_templates.plain import PLAIN, plain_prompt
from insurance_rag.core.prompt_templates.rag import RAG, RAG_BARE, RAG_INSTRUCTION, rag_prompt
from insurance_rag.core.prompt_templates.registry import (
    ANSWER_HEADING,
    CHUNK_SEPARATOR,
    PROMPT_FORMATS,
    ContextChunkText,
    PromptFormat,
    prompt_format,
)
from insurance_rag.core.prompt_templates.verify import SUPPORTED, UNSUPPORTED, VERIFY, question_with_answer

__all__ = [
    "ANSWER_HEADING",
    "CHAT",
    "CHUNK_SEPARATOR",
    "MERGED",
    "PLAIN",
    "PROMPT_FORMATS",
    "RAG",
    "RAG_BARE",
    "RAG_INSTRUCTION",
    "SUPPORTED",
    "UNSUPPORTED",
    "VERIFY",
    "ChatMessage",
    "ContextChunkText",
    "PromptFormat",
    "chat_messages",
    "chat_prompt",
    "merged_prompt",
    "plain_prompt",
    "prompt_format",
    "question_with_answer",
    "rag_prompt",
    "read_messages",
    "replace_in_messages",
    "write_messages",
]
