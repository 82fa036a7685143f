"""The retrieval-style format (adapter v2): answer only from the context, and refuse if the answer is missing.

Above each chunk, the context names its product and section. `rag_bare` is the same format without these lines.
"""

from __future__ import annotations

from dataclasses import replace

from insurance_rag.core.prompt_templates.registry import ANSWER_HEADING, PromptFormat, prompt_format

RAG_INSTRUCTION = (
    "아래 제공된 [보험약관]을 참고하여 사용자의 질문에 답변하세요. 약관에 명시된 내용에 근거하여 답변해야 하며, "
    "약관에 없는 내용은 추측하지 말고 '약관에 해당 내용이 없습니다'라고 답변하세요."
)


def rag_prompt(question: str, context: str) -> str:
    return f"### 지시\n{RAG_INSTRUCTION}\n### 입력\n[보험약관]\n{context}\n\n질문: {question}\n{ANSWER_HEADING}"


RAG = prompt_format(
    PromptFormat(
        name="rag",
        title="Retrieval style: answers from the context with citations, or refuses if the answer is missing (v2)",
        file="train_dataset_rag.json",
        prompt=rag_prompt,
        chunk_headers=True,
        retrieved_contexts=True,
        # The training file spells out Llama 3's end-of-text token. No other code may hard-code such a token.
        end_of_text="<|end_of_text|>",
    )
)

RAG_BARE = prompt_format(
    replace(
        RAG,
        name="rag_bare",
        title="Retrieval style without the product and the section above each chunk",
        file="train_dataset_rag_bare.json",
        chunk_headers=False,
    )
)
