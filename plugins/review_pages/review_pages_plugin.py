"""Airflow plugin with the review pages: a tab on the page of a DAG run, and an entry under Browse.

Tasks, the scheduler and the DAG processor also load this file, so it imports little. The modules of the pages are
imported only when the property `fastapi_apps` is read. Only the api-server reads this property.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from airflow.plugins_manager import AirflowPlugin

if TYPE_CHECKING:
    from fastapi import FastAPI


class PluginApp(TypedDict):
    """Describes an app that the api-server mounts at `url_prefix`."""

    app: FastAPI
    url_prefix: str
    name: str


class ReviewPagesPlugin(AirflowPlugin):
    """Registers the review pages."""

    name = "review_pages"
    external_views = [  # noqa: RUF012 - Airflow expects a list
        {
            "name": "Review",
            "href": "review/dags/{DAG_ID}/runs/{RUN_ID}/",
            "destination": "dag_run",
            "url_route": "review",
        },
        {
            "name": "Review",
            "href": "review/",
            "destination": "nav",
            "category": "browse",
            "url_route": "review_sets",
        },
    ]

    @property
    def fastapi_apps(self) -> list[PluginApp]:
        """Import and return the app with the pages. Only the api-server reads this property."""
        from review_pages.routes import app

        return [{"app": app, "url_prefix": "/review", "name": "Review pages"}]
