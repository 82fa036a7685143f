"""Look up the page's strings in Korean and English, and show labels from a run's files in both languages.

texts.json contains only the page's own strings. The names of metrics, checks, validation rules and gate rules are
stored with the results, so the report can also name those from plug-in packages.
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
    """Return all strings of the page: key -> language -> string."""
    texts: dict[str, dict[str, str]] = json.loads((TEMPLATES / "texts.json").read_text(encoding="utf-8"))
    return texts


def page_text(key: str, language: Language) -> str:
    """Return one string of the page. Raises KeyError for an unknown key."""
    return page_texts()[key][language]


def text_label(key: str, name: str) -> Label:
    """Return the label for `key` from texts.json, or a label that shows `name` if the file does not contain `key`."""
    text = page_texts().get(key, {})
    return Label(title=text.get("en", readable(name)), title_ko=text.get("ko", readable(name)))


def readable(name: str) -> str:
    """Return an identifier as words separated by spaces."""
    return name.replace("_", " ").strip() or name


def translate(key: str, *, fallback: str | None = None, **values: object) -> Markup:
    """Return a string in both languages. The style sheet shows only one of them.

    For an unknown key, return `fallback`, or the key itself if there is no fallback.
    """
    text = page_texts().get(key)
    if text is None:
        return escape(key if fallback is None else fallback)
    return bilingual({language: text[language].format(**values) for language in LANGUAGES})


def show_label(label: Label | RuleOutcome) -> Markup:
    """Return a label in both languages, with its description as a tooltip."""
    shown = bilingual({"ko": label.title_ko, "en": label.title})
    description = label.description if isinstance(label, Label) else ""
    return Markup('<span title="{}">{}</span>').format(description, shown) if description else shown


def bilingual(text: dict[Language, str]) -> Markup:
    """Return one <span> per language, with the content escaped."""
    spans = (Markup('<span class="{0}" lang="{0}">{1}</span>').format(name, text[name]) for name in LANGUAGES)
    return Markup("").join(spans)
