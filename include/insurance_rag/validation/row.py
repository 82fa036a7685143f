"""Parses generated rows. Invalid content becomes a `Row` with a `problem`, so that it cannot stop validation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from insurance_rag.core.records import QARow
from insurance_rag.korean import clean, is_encodable

TEXT_FIELDS = ("chunk_id", "type", "instruction", "input", "output", "evidence")
CLEANED_FIELDS = ("instruction", "output", "evidence")
"""Fields for which cleaning is counted. `input` is not one of them, because it repeats the text of the chunk."""


@dataclass
class Row:
    """A generated pair. If the row is readable, its strings are in NFC and contain no control characters."""

    chunk_id: str = ""
    type: str = ""
    instruction: str = ""
    input: str = ""
    output: str = ""
    evidence: str = ""
    answerable: bool = True
    meta: dict[str, JsonValue] = field(default_factory=dict)
    problem: str | None = None
    """Reason why the row cannot be read; None if it can be read."""
    cleaned: tuple[str, ...] = ()
    """Names of the fields that cleaning changed."""

    def as_qa_row(self) -> QARow:
        """Return the row in the form that the dataset stage reads."""
        return {
            "chunk_id": self.chunk_id,
            "type": self.type,
            "instruction": self.instruction,
            "input": self.input,
            "output": self.output,
            "evidence": self.evidence,
            "answerable": self.answerable,
            "meta": self.meta,
        }


def parse_row(raw: object, max_characters: int) -> Row:
    """Parse a row from JSON bytes or from a decoded JSON value. If it is unreadable, its `problem` says why."""
    if isinstance(raw, bytes):
        try:
            raw = json.loads(raw)
        except (ValueError, RecursionError) as e:  # not JSON, not UTF-8, or nested too deeply
            return Row(problem=f"cannot be read: {e}")
    if not isinstance(raw, dict):
        return Row(problem=f"is {json_type_name(raw)}, not an object")
    problem = next((p for name in TEXT_FIELDS if (p := _field_problem(name, raw.get(name), max_characters))), None)
    return _cleaned_row(raw) if problem is None else _unreadable_row(raw, problem)


def json_type_name(value: object) -> str:
    """Return the type of a decoded JSON value in words for messages, such as "a list"."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _field_problem(name: str, value: object, max_characters: int) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        return f"{name} is {json_type_name(value)}, not text"
    if len(value) > max_characters:
        return f"{name} has {len(value):,} characters; at most {max_characters:,} are allowed"
    return None if is_encodable(value) else f"{name} is not valid Unicode (it contains a lone surrogate)"


def _cleaned_row(raw: Mapping[str, JsonValue]) -> Row:
    given = {name: str(raw.get(name) or "") for name in TEXT_FIELDS}
    texts = {name: clean(text) if name != "chunk_id" else text for name, text in given.items()}
    question_type = texts["type"].strip().lower()  # the reference design capitalizes type names
    answerable = raw.get("answerable", question_type != "unanswerable")
    meta = raw.get("meta")
    extra = {k: v for k, v in raw.items() if k not in (*TEXT_FIELDS, "answerable", "meta")}
    problem = None
    if not isinstance(answerable, bool):
        problem = f"answerable is {json_type_name(answerable)}, not true or false"
    elif not is_encodable(json.dumps([meta, extra], ensure_ascii=False)):
        problem, meta, extra = "meta is not valid Unicode", {}, {}
    return Row(
        chunk_id=texts["chunk_id"],
        type=question_type,
        instruction=texts["instruction"].strip(),
        input=texts["input"],
        output=texts["output"].strip(),
        evidence=texts["evidence"],
        answerable=answerable is True and question_type != "unanswerable",
        meta={**(meta if isinstance(meta, dict) else {}), **extra},
        problem=problem,
        cleaned=tuple(name for name in CLEANED_FIELDS if texts[name] != given[name]),
    )


def _unreadable_row(raw: Mapping[str, JsonValue], problem: str) -> Row:
    """Return a row with the beginning of every field, so that the row can be recognized in rejects.jsonl."""
    row = Row(problem=problem)
    for name in TEXT_FIELDS:
        value = raw.get(name)
        text = value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
        setattr(row, name, text[:500].encode("utf-8", "replace").decode())
    return row
