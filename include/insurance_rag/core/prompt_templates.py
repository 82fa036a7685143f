"""The prompt formats of the three datasets, to the character; training and evaluation use the same functions.

A prompt ends where the model's answer begins; `prompt + answer` is a training row without its end-of-sequence token.
"""

from __future__ import annotations

#: What every prompt ends with: the answer begins behind it.
ANSWER_HEADING = "### 출력\n"

#: Clauses of plain QA rows (v1) are cut to this many characters.
PLAIN_CLAUSE_CHARACTERS = 500

#: End-of-text token that train_dataset_rag.json spells out (Llama 3's); no other place may hard-code one.
RAG_FILE_EOS = "<|end_of_text|>"

RAG_INSTRUCTION = (
    "아래 제공된 [보험약관]을 참고하여 사용자의 질문에 답변하세요. 약관에 명시된 내용에 근거하여 답변해야 하며, "
    "약관에 없는 내용은 추측하지 말고 '약관에 해당 내용이 없습니다'라고 답변하세요."
)


def plain_prompt(instruction: str, clause: str) -> str:
    """Phase 1 (v1). The caller cuts `clause` to PLAIN_CLAUSE_CHARACTERS."""
    return f"### 지시\n{instruction}\n### 입력\n{clause}\n{ANSWER_HEADING}"


def rag_prompt(clause: str, question: str) -> str:
    """Phase 2 (v2) and every evaluation prompt; several clauses are joined by a blank line."""
    return f"### 지시\n{RAG_INSTRUCTION}\n### 입력\n[보험약관]\n{clause}\n\n질문: {question}\n{ANSWER_HEADING}"


def merged_prompt(instruction: str, clause: str) -> str:
    """Phase 3 (v3): a blank line between the sections."""
    return f"### 지시\n{instruction}\n\n### 입력\n{clause}\n\n{ANSWER_HEADING}"
