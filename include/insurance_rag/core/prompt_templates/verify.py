"""The format of the verifier: an answer is shown below the question, and the policy supports it or not.

Its rows are made from right and from faulty answers (`dataset/verifier_rows.py`).
"""

from __future__ import annotations

from insurance_rag.core.prompt_templates.registry import ANSWER_HEADING, PromptFormat, prompt_format

VERIFY_INSTRUCTION = (
    "아래 [보험약관]이 질문에 대한 답변의 모든 내용을 뒷받침하는지 판단하세요. 조항 번호, 숫자, 당사자, 조건까지 모두 "
    "약관과 일치하면 '지지됨', 하나라도 다르거나 약관에 없으면 '지지되지 않음'이라고만 답하세요."
)
SUPPORTED, UNSUPPORTED = "지지됨", "지지되지 않음"
"""What the verifier answers."""


def question_with_answer(question: str, answer: str) -> str:
    """Return a question and the answer to be verified, as the verifier's prompt shows them."""
    return f"{question}\n답변: {answer}"


def verify_prompt(question: str, context: str) -> str:
    """Return the prompt. `question` is the result of `question_with_answer`."""
    return f"### 지시\n{VERIFY_INSTRUCTION}\n### 입력\n[보험약관]\n{context}\n\n질문: {question}\n{ANSWER_HEADING}"


VERIFY = prompt_format(
    PromptFormat(
        name="verify",
        title="Verifier: shows an answer and says whether the policy supports every statement of it",
        file="train_dataset_verifier.json",
        prompt=verify_prompt,
        chunk_headers=True,
        judges_answers=True,
    )
)
