"""The strings of the review pages, in Korean and English."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Literal

Language = Literal["ko", "en"]
Theme = Literal["", "light", "dark"]


@cache
def page_texts() -> dict[str, dict[str, str]]:
    """Return all strings: key -> language -> string."""
    texts: dict[str, dict[str, str]] = json.loads(Path(__file__).with_name("texts.json").read_text(encoding="utf-8"))
    return texts


def page_text(key: str, language: Language, fallback: str | None = None, **values: object) -> str:
    """Return one string with its values filled in, numbers with commas. For an unknown key, return `fallback`.

    Raises KeyError for an unknown key without a fallback.
    """
    texts = page_texts().get(key)
    if texts is None:
        if fallback is None:
            raise KeyError(key)
        return fallback
    shown = {name: f"{value:,}" if isinstance(value, int) else value for name, value in values.items()}
    return texts[language].format(**shown)


def preferred_language(chosen: str | None, accepted: str) -> Language:
    """Return the chosen language. Without one, return Korean if the browser accepts it before English, else English.

    `accepted` is the value of the header Accept-Language. Without such a header, the language is Korean.
    """
    if chosen in ("ko", "en"):
        return "ko" if chosen == "ko" else "en"
    for part in accepted.split(","):
        tag = part.strip()[:2].lower()
        if tag in ("ko", "en"):
            return "ko" if tag == "ko" else "en"
    return "en" if accepted.strip(" *") else "ko"
