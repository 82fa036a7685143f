"""Replaces the numbers of a chunk and of the answer from it, so that a model learns to read them in the chunk.

A small dataset repeats the same amounts and periods in every epoch. A model then remembers them, and states remembered
numbers for chunks that it sees for the first time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random

from insurance_rag.core.records import Chunk, QARow
from insurance_rag.korean.quantities import Quantity, quantities

_WRITTEN = re.compile(r"(?P<number>[1-9][0-9]{0,2}(?:,[0-9]{3})*|[1-9][0-9]*)(?P<unit>\D+)")
_FACTORS = (0.3, 0.4, 0.5, 0.6, 0.8, 1.2, 1.4, 1.5, 2, 2.5, 3, 4, 5)
SMALL = 40
"""Numbers up to this one are replaced by any other number up to it; larger ones are multiplied by a factor."""
TRIES = 20

Replacements = Mapping[tuple[float, str], str]
"""Value and unit of a quantity -> the text that replaces it."""


def vary_numbers(row: QARow, chunk: Chunk, rng: Random) -> tuple[QARow, Chunk] | None:
    """Return the row and its chunk with other numbers, or None if that is not possible without a mistake.

    Possible are rows whose question has no quantities and whose answer states only quantities of the chunk: a result
    that was calculated would be wrong with other numbers. Numbers of articles and `1` as in `1회당` stay.
    """
    if quantities(row["instruction"]) or "=" in row["output"]:
        return None
    replacements = _replacements(chunk.text, rng)
    stated = {quantity.key for quantity in quantities(row["output"])}
    if not replacements or any(key not in replacements and key[0] != 1 for key in stated):
        return None
    text = _replace(chunk.text, replacements)
    varied: QARow = {
        **row,
        "input": text,
        "output": _replace(row["output"], replacements),
        "evidence": _replace(row["evidence"], replacements),
    }
    return varied, chunk.model_copy(update={"text": text})


def _replacements(text: str, rng: Random) -> dict[tuple[float, str], str]:
    """Return a replacement for every quantity that is always written in the same way, with one number."""
    written: dict[tuple[float, str], set[str]] = {}
    for quantity in quantities(text):
        written.setdefault(quantity.key, set()).add(quantity.text)
    used = set(written)
    found = {}
    for key in sorted(written):
        match = _WRITTEN.fullmatch(next(iter(written[key])))
        if key[0] == 1 or len(written[key]) > 1 or match is None:
            continue
        if (new := _other_text(key, match, used, rng)) is not None:
            found[key] = new
    return found


def _other_text(key: tuple[float, str], match: re.Match[str], used: set[tuple[float, str]], rng: Random) -> str | None:
    """Return the quantity with another number, and add it to `used`. None if no unused number was found."""
    for _ in range(TRIES):
        text = f"{_other_number(int(match['number'].replace(',', '')), key[1], rng):,}{match['unit']}"
        new = {quantity.key for quantity in quantities(text)}
        if len(new) == 1 and not new & used:
            used |= new
            return text
    return None


def _other_number(number: int, unit: str, rng: Random) -> int:
    if unit == "%":
        return 5 * rng.randint(1, 19)
    if number <= SMALL:
        return rng.randint(2, SMALL)
    zeros = len(str(number)) - len(str(number).rstrip("0"))
    step = 10 ** min(zeros, len(str(number)) - 1)
    return max(step, round(number * rng.choice(_FACTORS) / step) * step)


def _replace(text: str, replacements: Replacements) -> str:
    changed: list[Quantity] = [quantity for quantity in quantities(text) if quantity.key in replacements]
    for quantity in reversed(changed):
        text = text[: quantity.start] + replacements[quantity.key] + text[quantity.end :]
    return text
