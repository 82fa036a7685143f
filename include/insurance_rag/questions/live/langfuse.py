"""Reads rows of Langfuse exports: traces or observations with input and output, and scores.

Exports from the user interface name their columns in camel case (`traceId`), and those to a blob storage in snake case
(`trace_id`). In CSV files, nested values are JSON texts. Only root observations are read, because the input of a nested
one is a prompt and no question.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from insurance_rag.questions.live.files import Row

NESTED, NO_QUESTION = "nested observation", "trace without a text as input"
_QUESTION_KEYS = (
    "question",
    "query",
    "user_question",
    "input",
    "prompt",
    "message",
    "text",
    "content",
    "kwargs",
    "args",
)
_ANSWER_KEYS = ("answer", "output", "content", "text", "response", "message", "choices", "messages")
_FEEDBACK = re.compile(r"feedback|thumb|rating|like|satisf|만족|평가|피드백", re.IGNORECASE)
_CONFIDENCE = re.compile(r"confidence|certainty|확신|신뢰도", re.IGNORECASE)
_CORRECTION = re.compile(r"correct(?:ion|ed)|expected.?output|수정|정정", re.IGNORECASE)


@dataclass(frozen=True)
class Score:
    """One score of a trace."""

    trace_id: str
    name: str
    value: JsonValue


def is_langfuse(row: Row) -> bool:
    """Return whether a row is a trace, an observation or a score of Langfuse."""
    plain = _plain(row)
    if is_score(row):
        return True
    return "id" in plain and "input" in plain and bool({"timestamp", "starttime", "sessionid", "traceid"} & set(plain))


def is_score(row: Row) -> bool:
    """Return whether a row of a Langfuse export is a score."""
    plain = _plain(row)
    return "input" not in plain and {"traceid", "name", "value"} <= set(plain)


def read_score(row: Row) -> Score:
    """Return the score in a row."""
    plain = _plain(row)
    value = plain.get("longstringvalue") or plain.get("stringvalue")
    name = "correction" if str(plain.get("datatype")).upper() == "CORRECTION" else str(plain["name"])
    return Score(str(plain["traceid"]), name, plain["value"] if value in (None, "") else value)


def trace_id(row: Row) -> str:
    """Return the id of the trace that a row belongs to."""
    plain = _plain(row)
    return str(plain.get("traceid") or plain["id"])


def why_left_out(row: Row) -> str:
    """Return why a row is no question of a customer; empty if it is one."""
    plain = _plain(row)
    if plain.get("parentobservationid"):
        return NESTED
    return "" if _text(_parsed(plain.get("input")), _QUESTION_KEYS, "user") else NO_QUESTION


def to_columns(row: Row, scores: list[Score]) -> Row:
    """Return the row with the names of this project's columns. `scores` come from a file with scores."""
    plain = _plain(row)
    metadata = _parsed(plain.get("metadata"))
    known = _plain(metadata) if isinstance(metadata, dict) else {}
    found: Row = {
        "id": trace_id(row),
        "question": _text(_parsed(plain.get("input")), _QUESTION_KEYS, "user"),
        "answer": _text(_parsed(plain.get("output")), _ANSWER_KEYS, "assistant"),
        "time": plain.get("timestamp") or plain.get("starttime"),
        "status": known.get("status") or known.get("outcome"),
        "company": known.get("company"),
        "policy_type": known.get("policytype"),
    }
    of_trace = [*((score.name, score.value) for score in scores), *_scores_in(row), *known.items()]
    for column, pattern in (("feedback", _FEEDBACK), ("confidence", _CONFIDENCE), ("correction", _CORRECTION)):
        values = [value for name, value in of_trace if pattern.search(name) and value not in (None, "", [], {})]
        found[column] = values[0] if values else None
    if isinstance(found["correction"], dict | list):
        found["correction"] = _text(found["correction"], _ANSWER_KEYS, "assistant")
    return found


def _scores_in(row: Row) -> Iterator[tuple[str, JsonValue]]:
    """Yield the scores of a row: a list or mapping `scores`, or one column per score with a list of values."""
    for name, cell in row.items():
        value = _parsed(cell)
        if name == "scores" and isinstance(value, list):
            for score in value:
                if isinstance(score, dict) and "name" in score:
                    read = read_score({"trace_id": "", "value": None, **score})
                    yield read.name, read.value
        elif name == "scores" and isinstance(value, dict):
            yield from ((key, _last(own)) for key, own in value.items())
        elif name not in ("input", "output", "metadata", "name", "tags"):
            yield name.removeprefix("scores."), _last(value)


def _last(value: JsonValue) -> JsonValue:
    return value[-1] if isinstance(value, list) and value else value


def _plain(row: Mapping[str, JsonValue]) -> Row:
    """Return the row with names in lower case without underscores, so that both spellings are the same."""
    return {re.sub(r"[_\s-]", "", name).lower(): value for name, value in row.items()}


def _parsed(value: JsonValue) -> JsonValue:
    """Return a value of a CSV cell, which is JSON if it is nested or null."""
    if value == "null":
        return None
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "[", '"'):
        try:
            parsed: JsonValue = json.loads(value)
        except (ValueError, RecursionError):
            return value
        return parsed
    return value


def _text(value: JsonValue, keys: tuple[str, ...], role: str, depth: int = 0) -> str:
    """Return the text in a value: itself, the last message of a role, or the value of one of some keys."""
    if isinstance(value, str):
        return value.strip()
    if depth > 6 or not isinstance(value, dict | list):
        return ""
    if isinstance(value, list):
        messages = [m for m in value if isinstance(m, dict) and m.get("role") in (role, "human", "ai")]
        own = [m for m in messages if m.get("role") in (role, "human" if role == "user" else "ai")]
        if messages or not value:
            return _text(own[-1].get("content"), keys, role, depth + 1) if own else ""
        texts = (_text(part, keys, role, depth + 1) for part in value)
        return next((text for text in texts if text), "")
    candidates = (value[key] for key in ("messages", *keys) if key in value)
    return next((text for v in candidates if (text := _text(v, keys, role, depth + 1))), "")
