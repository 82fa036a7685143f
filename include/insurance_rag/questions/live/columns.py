"""The columns of a file with live questions, and the values that they may have."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from datetime import date

from pydantic import JsonValue

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.records.live_questions import LiveOutcome
from insurance_rag.korean.personal_data import anonymize

COLUMNS: dict[str, str] = {
    "question": "what the customer asked; the only required column",
    "answer": "what the assistant answered",
    "correction": "what an agent answered instead",
    "feedback": "the customer's feedback: a number, or a word such as up or down",
    "confidence": "confidence of the assistant, from 0 to 1 or in percent",
    "status": "answered, refused or uncertain",
    "id": "name of the record, by which a record that is exported again is recognized",
    "time": "when the question was asked",
    "company": "company whose policy the question is about",
    "policy_type": "policy type that the question is about",
}
"""Column -> its meaning."""
MAX_TEXT = 20_000
MAX_NAMES, MAX_NAME = 20, 30
"""Number of column names that a message lists, and their length."""

_OUTCOMES: dict[str, LiveOutcome] = {
    **dict.fromkeys(
        ["refused", "refusal", "rejected", "no_answer", "unanswered", "거절", "답변불가", "미답변"], "refused"
    ),
    **dict.fromkeys(["uncertain", "unsure", "escalated", "handover", "불확실", "상담사연결", "이관"], "uncertain"),
}
_NEGATIVE_WORDS = """
    down thumbs_down dislike disliked negative bad no false n wrong incorrect
    싫어요 불만 불만족 나쁨 부정 아니요 틀림 👎
"""
_POSITIVE_WORDS = """
    up thumbs_up like liked positive good yes true y right correct
    좋아요 만족 좋음 긍정 네 맞음 👍
"""
_NEGATIVE, _POSITIVE = frozenset(_NEGATIVE_WORDS.split()), frozenset(_POSITIVE_WORDS.split())
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def parse_columns(given: Iterable[str]) -> dict[str, str]:
    """Return column -> name in the file, from words such as `question=문의내용`.

    Raises an InvalidInputError that lists every word that is not of this form.
    """
    names: dict[str, str] = {}
    problems = []
    for word in (part for words in given for part in words.split(",")):
        column, equals, name = (piece.strip() for piece in word.partition("="))
        if not equals or not name:
            problems.append(f"--columns {word}: not of the form COLUMN=NAME; e.g. question=문의내용")
        elif column not in COLUMNS:
            near = difflib.get_close_matches(column, COLUMNS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "known columns: " + ", ".join(COLUMNS)
            problems.append(f"--columns {word}: unknown column {column!r}; {hint}")
        elif column in names:
            problems.append(f"--columns {word}: {column} is named twice; name it once")
        else:
            names[column] = name
    if problems:
        raise InvalidInputError(problems)
    return names


def question_problem(found: Iterable[str], names: Mapping[str, str]) -> str:
    """Return what is wrong with the columns of a row; empty if the column of the question is there.

    The names are anonymized, because those of a file without a header are a customer's texts.
    """
    listed = [*dict.fromkeys(found)]
    wanted = names.get("question", "question")
    if wanted in listed:
        return ""
    shown = ", ".join(repr(anonymize(name)[0][:MAX_NAME]) for name in listed[:MAX_NAMES]) or "none"
    return f"no column {wanted!r} among {shown}; name the column of the question with --columns question=NAME"


def text_of(value: JsonValue) -> str:
    """Return a cell as text, without control characters and lone surrogates."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else str(value)
    return _CONTROL.sub(" ", text).encode("utf-8", "replace").decode().strip()


def outcome_of(status: str) -> LiveOutcome:
    """Return the outcome that a status means. Unknown words mean an ordinary answer."""
    return _OUTCOMES.get(re.sub(r"[\s-]+", "_", status.lower()), "answered")


def is_negative(feedback: JsonValue, highest_negative: float) -> bool:
    """Return whether feedback is negative. Words that are neither positive nor negative are no feedback.

    >>> is_negative("👎", 0), is_negative("1", 0), is_negative(2, 2)
    (True, False, True)
    """
    if isinstance(feedback, bool):
        return not feedback
    word = text_of(feedback).lower().replace(" ", "_")
    if word in _NEGATIVE or word in _POSITIVE:
        return word in _NEGATIVE
    try:
        return float(word) <= highest_negative
    except ValueError:
        return False


def confidence_of(value: JsonValue) -> float | None:
    """Return a confidence from 0 to 1; None for an empty cell. Raises ValueError for anything else."""
    text = text_of(value)
    if not text:
        return None
    number = float(text.removesuffix("%"))
    if text.endswith("%") or 1 < number <= 100:
        number /= 100
    if not 0 <= number <= 1:
        raise ValueError(text)
    return number


def date_of(value: JsonValue) -> str:
    """Return the date in a time such as `2026-11-02T10:00:00Z`; empty if there is none."""
    match = re.match(r"(\d{4})[-./](\d{1,2})[-./](\d{1,2})", text_of(value))
    try:
        return date(*map(int, match.groups())).isoformat() if match else ""
    except ValueError:
        return ""
