"""Parse question-answer pairs from the text that a teacher generated."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from pydantic import JsonValue

from insurance_rag.core.errors import InvalidAnswerError
from insurance_rag.core.records import QuestionType
from insurance_rag.generation.teachers.base import Pair
from insurance_rag.korean.text import replace_surrogates

_FENCE = re.compile(r"^\s*```(?:json)?\s*|\s*```\s*$")
_LABELLED = re.compile(r"질문\s*[:：]\s*(.+?)\s*답변\s*[:：]\s*(.+?)(?=\n\s*(?:질문\s*[:：]|###|\[)|\Z)", re.DOTALL)


def parse_json(text: str, types: Sequence[QuestionType]) -> list[Pair]:
    """Return the pairs in a JSON array or in an object like `{"pairs": [...]}`, with or without a code fence.

    An item is skipped if it is not a complete pair or if its type is not in `types`. Raises InvalidAnswerError if no
    pair remains.
    """
    try:
        value: JsonValue = json.loads(_FENCE.sub("", text))
    except json.JSONDecodeError as e:
        raise InvalidAnswerError(f"the answer is not JSON ({e.msg} at character {e.pos} of {len(text)})") from None
    except RecursionError:
        raise InvalidAnswerError(f"the answer is JSON that is nested too deeply ({len(text)} characters)") from None
    items = _items(value)
    pairs = [pair for item in items if (pair := _pair(item, types))]
    if not pairs:
        raise InvalidAnswerError(
            f"the answer has no usable pair among {len(items)} items: each needs type, question and answer"
        )
    return pairs


def _items(value: JsonValue) -> list[JsonValue]:
    if isinstance(value, dict):
        return next((v for v in value.values() if isinstance(v, list)), [value])
    return value if isinstance(value, list) else []


def _pair(item: JsonValue, types: Sequence[QuestionType]) -> Pair | None:
    if not isinstance(item, dict):
        return None
    name, question, answer = (_text(item.get(field)) for field in ("type", "question", "answer"))
    question_type = next((t for t in types if t == name.lower()), None)  # some models capitalize the type
    if question_type is None or not question or not answer:
        return None
    return Pair(question_type, question, answer, _text(item.get("evidence")))


def _text(value: JsonValue) -> str:
    return replace_surrogates(value.strip()) if isinstance(value, str) else ""


def parse_labelled(text: str) -> list[tuple[str, str]]:
    """Return every (question, answer) written as `질문: ... 답변: ...`. Raises InvalidAnswerError if there is none."""
    found = [(question.strip(), answer.strip()) for question, answer in _LABELLED.findall(text)]
    if not found:
        raise InvalidAnswerError("the answer contains no 질문: ... 답변: ...")
    return found
