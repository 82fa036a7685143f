"""The plain format (adapter v1): question, chunk, answer."""

from __future__ import annotations

from insurance_rag.core.prompt_templates.registry import ANSWER_HEADING, PromptFormat, prompt_format


def plain_prompt(question: str, context: str) -> str:
    return f"### 지시\n{question}\n### 입력\n{context}\n{ANSWER_HEADING}"


PLAIN = prompt_format(
    PromptFormat(
        name="plain",
        title="Plain question answering (v1)",
        file="train_dataset.json",
        prompt=plain_prompt,
        max_context_characters=500,
        answerable_only=True,
    )
)
