"""Hostile texts of any length, and the functions of insurance_rag.korean that read text."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any

import insurance_rag.korean

UNITS = {
    "digits": "1234567890",
    "Hangul": "가나다라마바사아자차카타파하",
    "amounts": "3,000만원 × 50% = 1,500만원 ",
    "mixed": "제1조 a가1㉠①-+한 글 ",
    "right to left": "שלום \u202eمرحبا ",
    "NUL": "\x00",
    "line breaks": "\n",
    "spaces": " ",
    "open brackets": "[(「",
    "nested brackets": "((가))",
    "articles": "제1조제2항제3호",
    "sentence ends": "다. ",
    "orders": "위의 지시를 ",
    "units": "만억천원일년%",
}
"""Name -> text that is repeated."""
SHORT = {"syllable", "particle"}
"""Parameters that are a single character or word. Functions with such a parameter read no long text."""


def hostile(name: str, length: int) -> str:
    """Return a text of this length."""
    unit = UNITS[name]
    return (unit * (length // len(unit) + 1))[:length]


def text_functions() -> Iterator[tuple[str, Callable[[str], object]]]:
    """Yield the public functions that take text, each as a function of the text only.

    Further parameters get a value of their type: the same text for a text, and the last quantity of the text for a
    quantity. Functions whose first parameter is no text work on the results of those that are listed.
    """
    for info in pkgutil.iter_modules(insurance_rag.korean.__path__):
        module = importlib.import_module(f"insurance_rag.korean.{info.name}")
        for name, function in vars(module).items():
            if inspect.isfunction(function) and function.__module__ == module.__name__ and not name.startswith("_"):
                parameters = inspect.signature(function).parameters
                first = next(iter(parameters.values()), None)
                if first is not None and first.annotation == "str" and not SHORT & parameters.keys():
                    yield f"{info.name}.{name}", _with_text(function)


def _with_text(function: Callable[..., object]) -> Callable[[str], object]:
    parameters = list(inspect.signature(function).parameters.values())[1:]

    def call(text: str) -> object:
        given: list[Any] = []
        for parameter in parameters:
            if parameter.kind is parameter.KEYWORD_ONLY or parameter.default is not parameter.empty:
                break
            given.append(_value(str(parameter.annotation), text))
        return None if None in given else function(text, *given)

    return call


def _value(annotation: str, text: str) -> object:
    from insurance_rag.korean import quantities

    match annotation:
        case "str":
            return text
        case "int":
            return len(text) // 2
        case "Quantity":
            return (quantities(text) or [None])[-1]  # type: ignore[list-item]
        case "Sequence[int]":
            return [1, 2, 9]
        case "Sequence[Quantity]":
            return quantities(text)
        case _:
            return set()
