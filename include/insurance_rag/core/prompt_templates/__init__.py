"""Prompt formats. Training, evaluation and serving build their prompts with the same functions."""

from __future__ import annotations

from insurance_rag.core.prompt_templates.merged import MERGED, merged_prompt
from insurance_rag.core.prompt_templates.plain import PLAIN, plain_prompt
from insurance_rag.core.prompt_templates.rag import RAG, RAG_INSTRUCTION, rag_prompt
from insurance_rag.core.prompt_templates.registry import ANSWER_HEADING, PROMPT_FORMATS, PromptFormat, prompt_format

__all__ = [
    "ANSWER_HEADING",
    "MERGED",
    "PLAIN",
    "PROMPT_FORMATS",
    "RAG",
    "RAG_INSTRUCTION",
    "PromptFormat",
    "merged_prompt",
    "plain_prompt",
    "prompt_format",
    "rag_prompt",
]
