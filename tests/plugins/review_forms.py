"""Addresses of the review pages, and what a person without JavaScript does on them."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import quote

import httpx
from tests.plugins.conftest import DAG, REVIEWED_RUN

ROWS = f"/review/dags/{DAG}/runs/{quote(REVIEWED_RUN)}/rows"
QUESTIONS = f"/review/dags/{DAG}/runs/{quote(REVIEWED_RUN)}/questions"


def form_of(page: str, action: str = "") -> dict[str, str]:
    """Return the hidden fields of the first form on a page that contains `action`."""
    forms = re.findall(r"<form.*?</form>", page, re.DOTALL)
    form = next(form for form in forms if action in form and 'name="csrf"' in form)
    return {name: unescape(value) for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form)}


def current_key(page: str) -> str:
    """Return the key of the row or question that a page shows."""
    return form_of(page, "decide")["key"]


def decide(client: httpx.Client, page: str, action: str, **fields: str) -> httpx.Response:
    """Decide about the row on a page, and return the next page."""
    form = form_of(page, "decide") | {"action": action} | fields
    return client.post(f"{ROWS}/decide", data=form, follow_redirects=True)
