"""The prompt of a clause, and the JSON schema of its answer."""

from __future__ import annotations

import re
from typing import Any

from insurance_rag.core.records import REFUSAL, Chunk
from insurance_rag.planning.prompt_spec import PromptSpec, product

TYPES = {
    "fact": "조항에 적힌 금액, 기간, 조건 같은 사실을 묻는 질문",
    "scenario": "고객이 자신의 구체적인 상황을 말하고 어떻게 되는지 묻는 질문",
    "easy": "보험을 잘 모르는 사람이 쉬운 말로 묻는 질문과 쉬운 말로 쓴 답변",
    "unanswerable": f"조항과 관련이 있지만 조항에 답이 없는 질문. 답변은 정확히 '{REFUSAL}', evidence는 빈 문자열",
}


def render(content: PromptSpec, chunk: Chunk, note: str = "") -> str:
    """The template with its four places filled; the clause comes last, and behind it only the note of a correction."""
    values = {
        "types": "\n".join(f"   - {name}: {TYPES[name]}" for name in content.types),
        "pairs_per_type": str(content.pairs_per_type),
        "product": product(chunk),
        "clause": chunk.text,
    }
    prompt = fill(content.template, values)
    return f"{prompt.rstrip()}\n\n{note}" if note else prompt


def fill(template: str, values: dict[str, str]) -> str:
    """`{name}` becomes values["name"], in one pass: braces within the values stay."""
    return re.sub(r"\{(\w+)\}", lambda m: values.get(m[1], m[0]), template)


def answer_schema(content: PromptSpec) -> dict[str, Any]:
    """JSON schema of the answer: an array of pairs."""
    text = {"type": "string"}
    pair = {
        "type": "object",
        "properties": {
            "type": {"type": "string", "enum": list(content.types)},
            "question": text,
            "answer": text,
            "evidence": text,
        },
        "required": ["type", "question", "answer", "evidence"],
    }
    return {"type": "array", "items": pair}
