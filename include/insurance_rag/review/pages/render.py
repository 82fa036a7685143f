"""Renders the review pages. A page has no inline script or style but its own two files, which are allowed by hash."""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime
from functools import cache, partial
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup

from insurance_rag.core.html_pages import page_environment
from insurance_rag.review.edits import effective_fields
from insurance_rag.review.pages.filters import NO_RULE, OUTCOMES, STATUSES
from insurance_rag.review.pages.texts import page_text
from insurance_rag.review.pages.view import Page

TEMPLATES = Path(__file__).with_name("templates")


def render_page(template: str, page: Page, **values: object) -> str:
    """Return the HTML of a page."""
    t = partial(page_text, language=page.language)
    return _environment().get_template(template).render(page=page, t=t, **values)


@cache
def content_security_policy() -> str:
    """Return the policy for the pages: only their own style sheet and script, and forms only to this server."""
    style, script = (
        base64.b64encode(hashlib.sha256(_file(name).encode()).digest()).decode() for name in ("review.css", "review.js")
    )
    return (
        f"default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
    )


def readable(name: str) -> str:
    """Return an identifier as words separated by spaces."""
    return name.replace("_", " ").strip() or name


def short_time(time: str) -> str:
    """Return a time as date, hour and minute in UTC; unchanged if it is not a time."""
    try:
        return datetime.fromisoformat(time).strftime("%Y-%m-%d %H:%M UTC")
    except ValueError:
        return time


@cache
def _environment() -> Environment:
    environment = page_environment(TEMPLATES)
    environment.globals.update(
        css=Markup(_file("review.css")),
        js=Markup(_file("review.js")),
        effective_fields=effective_fields,
        NO_RULE=NO_RULE,
        OUTCOMES=OUTCOMES,
        STATUSES=STATUSES,
    )
    environment.filters.update(readable=readable, short_time=short_time, comma="{:,}".format)
    return environment


@cache
def _file(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")
