"""The merged format (adapter v3): the plain format with a blank line between the sections.

The merged dataset contains rows of all question types, including unanswerable ones.
"""

from __future__ import annotations

from insurance_rag.core.prompt_templates.registry import ANSWER_HEADING, PromptFormat, prompt_format


def merged_prompt(question: str, context: str) -> str:
    return f"### 지시\n{question}\n\n### 입력\n{context}\n\n{ANSWER_HEADING}"


MERGED = prompt_format(
    PromptFormat(
        name="merged",
        title="Merged dataset (v3)",
        file="train_dataset_final_v2.json",
        prompt=merged_prompt,
        keep_meta=True,
    )
)
