"""Build the prompt for a chunk and the JSON schema for the answer."""

from __future__ import annotations

import re

from pydantic import JsonValue

from insurance_rag.core.records import REFUSAL, Chunk
from insurance_rag.planning.prompt_spec import PromptSpec, product_name

TYPE_DESCRIPTIONS = {
    "fact": "조항에 적힌 금액, 기간, 조건 같은 사실을 묻는 질문",
    "scenario": "고객이 자신의 구체적인 상황을 말하고 어떻게 되는지 묻는 질문",
    "easy": "보험을 잘 모르는 사람이 쉬운 말로 묻는 질문과 쉬운 말로 쓴 답변",
    "unanswerable": f"조항과 관련이 있지만 조항에 답이 없는 질문. 답변은 정확히 '{REFUSAL}', evidence는 빈 문자열",
}


def render(prompt_spec: PromptSpec, chunk: Chunk, note: str = "") -> str:
    """Return the prompt for a chunk. If `note` is given, append it: a repair request uses it to describe the faults."""
    values = {
        "types": "\n".join(f"   - {name}: {TYPE_DESCRIPTIONS[name]}" for name in prompt_spec.types),
        "pairs_per_type": str(prompt_spec.pairs_per_type),
        "product": product_name(chunk),
        "clause": chunk.text,
    }
    prompt = fill(prompt_spec.template, values)
    return f"{prompt.rstrip()}\n\n{note}" if note else prompt


def fill(template: str, values: dict[str, str]) -> str:
    """Replace each `{name}` in `template` with its value. Unknown names and braces inside values are kept."""
    return re.sub(r"\{(\w+)\}", lambda m: values.get(m[1], m[0]), template)


def answer_schema(prompt_spec: PromptSpec) -> dict[str, JsonValue]:
    """Return the JSON schema for an answer. An answer is an array of pairs."""
    text: dict[str, JsonValue] = {"type": "string"}
    pair: dict[str, JsonValue] = {
        "type": "object",
        "properties": {
            "type": {"type": "string", "enum": list(prompt_spec.types)},
            "question": text,
            "answer": text,
            "evidence": text,
        },
        "required": ["type", "question", "answer", "evidence"],
    }
    return {"type": "array", "items": pair}
