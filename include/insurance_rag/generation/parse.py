"""Read a teacher's answer. What cannot be read is a InvalidAnswerError: asked again, then quarantined."""

from __future__ import annotations

import json
import re
from typing import Any, get_args

from insurance_rag.core.errors import InvalidAnswerError
from insurance_rag.core.records import QuestionType
from insurance_rag.generation.teachers.base import Pair
from insurance_rag.korean.text import encodable

_FENCE = re.compile(r"^\s*```(?:json)?\s*|\s*```\s*$")
_LABELLED = re.compile(r"질문\s*[:：]\s*(.+?)\s*답변\s*[:：]\s*(.+?)(?=\n\s*(?:질문\s*[:：]|###|\[)|\Z)", re.DOTALL)


def parse_json(text: str, types: tuple[str, ...]) -> list[Pair]:
    """Pairs of a JSON array (or of `{"pairs": [...]}`, or in a code fence); items that are no pair are left out."""
    try:
        value: Any = json.loads(_FENCE.sub("", text))
    except json.JSONDecodeError as e:
        raise InvalidAnswerError(f"not JSON ({e.msg} at character {e.pos} of {len(text)})") from None
    if isinstance(value, dict):
        value = next((v for v in value.values() if isinstance(v, list)), [value])
    items = value if isinstance(value, list) else []
    pairs = [pair for item in items if (pair := _pair(item, types))]
    if not pairs:
        raise InvalidAnswerError(f"no usable pair among {len(items)} items: each needs type, question and answer")
    return pairs


def _pair(item: Any, types: tuple[str, ...]) -> Pair | None:
    if not isinstance(item, dict):
        return None
    kind, question, answer = (_text(item.get(name)) for name in ("type", "question", "answer"))
    kind = kind.lower()  # some models capitalise it
    if kind not in types or kind not in get_args(QuestionType) or not question or not answer:
        return None
    return Pair(kind, question, answer, _text(item.get("evidence")))  # type: ignore[arg-type]  # checked above


def _text(value: Any) -> str:
    return encodable(value.strip()) if isinstance(value, str) else ""


def parse_labelled(text: str) -> list[tuple[str, str]]:
    """Every (question, answer) of `질문: ... 답변: ...`; InvalidAnswerError where there is none."""
    found = [(q.strip(), a.strip()) for q, a in _LABELLED.findall(text)]
    if not found:
        raise InvalidAnswerError("no 질문: ... 답변: ... in the answer")
    return found
