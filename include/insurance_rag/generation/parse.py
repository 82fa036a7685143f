"""Parse question-answer pairs from the text that a teacher generated, and match them with the requested chunks."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from insurance_rag.core.errors import InvalidAnswerError
from insurance_rag.generation.prompt import ChunkRequest, request_id
from insurance_rag.generation.teachers.base import Pair
from insurance_rag.korean.numbered import quote, remove_citations, strip_marks
from insurance_rag.korean.text import remove_whitespace, replace_surrogates

MIXED_UP_MARGIN = 0.25
"""A pair counts as written about another chunk of the call if that chunk contains this much more of its answer."""

_FENCE = re.compile(r"^```(?:json)?|```$")
_LABELLED = re.compile(r"질문\s*[:：]\s*(.+?)\s*답변\s*[:：]\s*(.+?)(?=\n\s*(?:질문\s*[:：]|###|\[)|\Z)", re.DOTALL)
_CHUNK_NAME = re.compile(r"(?:조항\s*)?C?(\d{1,3})", re.IGNORECASE)
_NUMBERS_ONLY = re.compile(r"[\s\d\[\],.]*")
_SHORT_NUMBER = re.compile(r"(?<![\d.])\d{1,4}(?!\d)")
MAX_EVIDENCE_CHARACTERS = 1000
"""Sentence numbers beyond this length are ignored."""
_ITEM_START = re.compile(r"\{\s*\"")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class ParsedAnswer:
    """The pairs in an answer, by requested chunk."""

    pairs: list[list[Pair]]
    """One list per requested chunk, in the order of the request."""
    dropped: list[str]
    """Descriptions of the items that belong to no requested pair."""
    is_cut: bool
    """Whether the JSON is incomplete, so that only its complete items were read."""


def parse_answer(text: str, requests: Sequence[ChunkRequest]) -> ParsedAnswer:
    """Return the pairs in a JSON array, or in an object like `{"pairs": [...]}`, with or without a code fence.

    The items of incomplete JSON are read as far as they are complete. An item is dropped if it is not a complete pair,
    if it names a chunk or a type that was not requested, if all pairs of this kind are there already, or if it is about
    another chunk of the request than it says. Raises InvalidAnswerError if no pair remains.
    """
    items, error = _items(_FENCE.sub("", text.strip()))
    found: list[list[Pair]] = [[] for _ in requests]
    dropped: list[str] = []
    wanted = [Counter(pair.type for pair in request.pairs) for request in requests]
    for item in items:
        number = _chunk_number(item, len(requests))
        pair = None if number is None else _pair(item, requests[number])
        if number is None or pair is None:
            dropped.append("names no requested chunk" if number is None else "is not a complete pair")
        elif wanted[number][pair.type] <= 0:
            dropped.append(f"is a pair of type {pair.type} too many")
        elif _is_mixed_up(pair, number, requests):
            dropped.append(f"is about another chunk than {request_id(number)}")
        else:
            wanted[number][pair.type] -= 1
            found[number].append(pair)
    if not any(found):
        reason = error or f"no usable pair among {len(items)} items" + (f" (the first {dropped[0]})" if dropped else "")
        raise InvalidAnswerError(f"the answer has {reason}; each item needs chunk, type, question and answer")
    return ParsedAnswer(found, dropped, is_cut=bool(error))


def parse_labelled(text: str) -> list[tuple[str, str]]:
    """Return every (question, answer) written as `질문: ... 답변: ...`. Raises InvalidAnswerError if there is none."""
    found = [(question.strip(), answer.strip()) for question, answer in _LABELLED.findall(text)]
    if not found:
        raise InvalidAnswerError("the answer contains no 질문: ... 답변: ...")
    return found


def _items(text: str) -> tuple[list[JsonValue], str]:
    """Return the items of the answer, and a description of the error if the JSON is incomplete or malformed.

    Text after the JSON is ignored.
    """
    try:
        value: JsonValue = _DECODER.raw_decode(text.lstrip())[0]
    except json.JSONDecodeError as e:
        return _complete_items(text), f"no complete JSON ({e.msg} at character {e.pos} of {len(text)})"
    except (ValueError, RecursionError) as e:  # a number that is too long, or nested too deeply
        return _complete_items(text), f"JSON that cannot be read ({type(e).__name__}, {len(text)} characters)"
    if isinstance(value, dict) and "question" not in value:
        return next((v for v in value.values() if isinstance(v, list)), [value]), ""
    return (value if isinstance(value, list) else [value]), ""


def _complete_items(text: str) -> list[JsonValue]:
    """Return the complete objects in an incomplete JSON array."""
    items: list[JsonValue] = []
    end = max(0, text.find("["))
    while start := _ITEM_START.search(text, end):
        try:
            item, end = _DECODER.raw_decode(text, start.start())
        except (ValueError, RecursionError):
            break
        items.append(item)
    return items


def _chunk_number(item: JsonValue, n_chunks: int) -> int | None:
    """Return the index of the chunk that an item names, as `C2` or `2`. A single chunk may be left unnamed."""
    name = item.get("chunk") if isinstance(item, dict) else None
    if name is None or name == "":
        return 0 if n_chunks == 1 else None
    digits = _CHUNK_NAME.fullmatch(str(name).strip())
    number = int(digits[1]) if digits else 0
    return number - 1 if 1 <= number <= n_chunks else None


def _pair(item: JsonValue, request: ChunkRequest) -> Pair | None:
    if not isinstance(item, dict):
        return None
    name, question, answer = (_text(item.get(field)) for field in ("type", "question", "answer"))
    question, answer = (remove_citations(text, request.chunk.text).strip() for text in (question, answer))
    # some models capitalize the type
    kind = next((pair.type for pair in request.pairs if pair.type == name.lower()), None)
    if kind is None or not question or not answer:
        return None
    return Pair(kind, question, answer, "" if kind == "unanswerable" else _evidence(item.get("evidence"), request))


def _evidence(value: JsonValue, request: ChunkRequest) -> str:
    """Return the quote for sentence numbers, or a quote without the marks that number the sentences.

    Numbers of no sentence are returned as they are. They are not in the chunk, so that validation finds them.
    """
    text = request.chunk.text
    values = value if isinstance(value, list) else [value]
    given = next((_text(v) for v in values if isinstance(v, str) and not _NUMBERS_ONLY.fullmatch(v)), None)
    if given is not None:
        return given if given in text else strip_marks(given)
    numbers = [int(digits) for digits in _SHORT_NUMBER.findall(str(values)[:MAX_EVIDENCE_CHARACTERS])]
    return quote(text, numbers) or ", ".join(f"[{number}]" for number in numbers)


def _text(value: JsonValue) -> str:
    return replace_surrogates(value.strip()) if isinstance(value, str) else ""


def _is_mixed_up(pair: Pair, number: int, requests: Sequence[ChunkRequest]) -> bool:
    """Return whether another chunk of the call contains much more of the answer than the chunk that the pair names."""
    if len(requests) == 1 or pair.type == "unanswerable":
        return False
    shares = [_contained_share(pair.answer, request.chunk.text) for request in requests]
    own = _contained_share(pair.answer, requests[number].checked_chunk.text)
    return max(shares) > own + MIXED_UP_MARGIN


def _contained_share(answer: str, text: str) -> float:
    """Return the fraction of the answer's pairs of adjoining characters that also occur in the text."""
    letters, within = remove_whitespace(answer), remove_whitespace(text)
    pairs = {letters[i : i + 2] for i in range(len(letters) - 1)}
    return sum(pair in within for pair in pairs) / len(pairs) if pairs else 0.0
