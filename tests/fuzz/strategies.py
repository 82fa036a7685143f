"""Strategies that damage valid input: bytes of any format, and values inside JSON."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

#: Byte strings that break parsers: numbers, nesting, encodings, YAML, formulas, paths, markup, direction marks.
WORDS = tuple(
    text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    for text in (
        "null", "NaN", "-Infinity", "1e999", "9" * 5000, "-0", "true", "[]", "{}", "[" * 3000, '{"a":' * 1500, "}" * 9,
        '"', "\\", "\\ud800", "\ud800", "\x00", b"\xff\xfe", b"\x80", b"\xef\xbb\xbf", "\u2028", "\u202e", "\u200b",
        "가", "제1조(목적)", "①", "％", "٣", "²", "1.",
        "!!python/object:x", "2020-13-45", "12:99:99", "0x", "0o9", "? ", "| ", "%", "../", "/", "~", "<", "</",
        "<!--", "=1+1", "@", ",", ";", "\t", "\n", "\r\n", ":", "- ", "&a ", "*a", " " * 300, "a" * 3000,
        "&lt;", "<![CDATA[", "<table><tr><td>", "<|im_start|>", "|", "#", "```", "\x1a", "\x7f", "🙂",
    )
)  # fmt: skip


@st.composite
def mutated_bytes(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """Return one of the seeds after up to six random changes."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(data)))
        size = draw(st.integers(0, 40))
        match draw(st.integers(0, 6)):
            case 0:
                data = data[:at] + data[at + size :]
            case 1:
                data = data[:at] + draw(st.sampled_from(WORDS)) + data[at:]
            case 2:
                data = data[:at] + draw(st.sampled_from(WORDS)) + data[at + size :]
            case 3:
                data = data[:at] + bytes([draw(st.integers(0, 255))]) + data[at + 1 :]
            case 4:
                data = data[:at] + data[at : at + size] * draw(st.integers(2, 30)) + data[at + size :]
            case 5:
                data = data[:at]
            case _:
                data += draw(st.sampled_from(seeds))
    return data


def json_values() -> st.SearchStrategy[Any]:
    """Return values that JSON can contain, also those that only Python's parser accepts."""
    texts = st.one_of(st.text(max_size=20), st.sampled_from(WORDS).map(lambda word: word.decode("utf-8", "replace")))
    leaves = st.one_of(
        st.none(), st.booleans(), st.integers(), st.sampled_from([10**30, -1, 0]), st.floats(), texts,
        st.just("\ud800"), st.just("\x00"),
    )  # fmt: skip
    return st.recursive(
        leaves,
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
        max_leaves=8,
    )


@st.composite
def mutated_json(draw: st.DrawFn, seeds: Sequence[Any]) -> Any:
    """Return one of the seeds after some of its inner values were replaced, removed or added."""
    value = copy.deepcopy(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 3))):
        value = _changed(draw, value, depth=0)
    return value


def _changed(draw: st.DrawFn, value: Any, depth: int) -> Any:
    if not isinstance(value, dict | list) or not value or depth > 6 or draw(st.integers(0, 4)) == 0:
        return draw(json_values())
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = draw(st.sampled_from(keys))
    match draw(st.integers(0, 7)):
        case 0:
            del value[key]
        case 1 if isinstance(value, dict):
            value[draw(st.text(max_size=8))] = draw(json_values())
        case 1 if isinstance(value, list):
            value.append(draw(json_values()))
        case _:
            value[key] = _changed(draw, value[key], depth + 1)
    return value


def encoded(value: Any) -> bytes:
    """Return JSON as an unkind program writes it: with lone surrogates as bytes."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def json_files(seeds: Sequence[Any]) -> st.SearchStrategy[bytes]:
    """Return JSON files: damaged as bytes, or with damaged values, escaped or not."""
    return st.one_of(
        mutated_json(seeds).map(encoded),
        mutated_json(seeds).map(lambda value: json.dumps(value).encode()),
        mutated_bytes([encoded(seed) for seed in seeds]),
    )


def jsonl_files(rows: Sequence[Any]) -> st.SearchStrategy[bytes]:
    """Return JSON Lines files whose lines are valid or damaged rows."""
    line = st.one_of(st.sampled_from([encoded(row) for row in rows]), json_files(rows))
    return st.lists(line, min_size=1, max_size=4).map(b"\n".join)
