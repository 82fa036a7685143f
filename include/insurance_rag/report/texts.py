"""The texts of the page in Korean and English, and the labels that the files of a run bring along.

texts.json contains only the page's own texts. The names of metrics, checks, validation rules and gate rules come with
the results, so that the report can name what another distribution has added.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Literal

from markupsafe import Markup, escape

from insurance_rag.core.records import RuleOutcome
from insurance_rag.report.view import Label

TEMPLATES = Path(__file__).with_name("templates")

Language = Literal["ko", "en"]
LANGUAGES: tuple[Language, ...] = ("ko", "en")


@cache
def page_texts() -> dict[str, dict[str, str]]:
    """Return every text of the page: key -> language -> text."""
    texts: dict[str, dict[str, str]] = json.loads((TEMPLATES / "texts.json").read_text(encoding="utf-8"))
    return texts


def page_text(key: str, language: Language) -> str:
    """Return one text of the page. Raises KeyError if there is no such text."""
    return page_texts()[key][language]


def text_label(key: str, name: str) -> Label:
    """Return the page's own label `key`, or a label that shows `name` if the page has none."""
    text = page_texts().get(key, {})
    return Label(title=text.get("en", readable(name)), title_ko=text.get("ko", readable(name)))


def readable(name: str) -> str:
    """Return an identifier as words."""
    return name.replace("_", " ").strip() or name


def translate(key: str, *, fallback: str | None = None, **values: object) -> Markup:
    """Return both languages of a text; the style sheet shows one of them. Without a text: `fallback`, else the key."""
    text = page_texts().get(key)
    if text is None:
        return escape(key if fallback is None else fallback)
    return bilingual({language: text[language].format(**values) for language in LANGUAGES})


def show_label(label: Label | RuleOutcome) -> Markup:
    """Return both languages of a label, with its description as a tooltip."""
    shown = bilingual({"ko": label.title_ko, "en": label.title})
    description = label.description if isinstance(label, Label) else ""
    return Markup('<span title="{}">{}</span>').format(description, shown) if description else shown


def bilingual(text: dict[Language, str]) -> Markup:
    """Return one span per language; both are escaped."""
    spans = (Markup('<span class="{0}" lang="{0}">{1}</span>').format(name, text[name]) for name in LANGUAGES)
    return Markup("").join(spans)
