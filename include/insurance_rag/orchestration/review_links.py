"""Addresses of the review pages, which a plugin serves next to Airflow's own pages."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode, urlsplit

from insurance_rag.core.artifact_store.locations import public_uri


def rows_page(dataset: Path) -> str:
    """Return the path of the page on which people review the rows of a dataset."""
    return _page("rows", dataset=public_uri(dataset))


def questions_page(questions: Path) -> str:
    """Return the path of the page on which people review the questions of a set."""
    return _page("questions", questions=public_uri(questions))


def _page(kind: str, **query: str) -> str:
    from airflow.sdk.configuration import conf

    prefix = urlsplit(conf.get("api", "base_url", fallback=None) or "").path.rstrip("/")
    return f"{prefix}/review/{kind}?{urlencode(query)}"
