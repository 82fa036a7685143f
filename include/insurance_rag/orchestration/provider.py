"""Tells Airflow of the `gemini` connection type (entry point `apache_airflow_provider`)."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    return {
        "package-name": "insurance-rag",
        "name": "Insurance RAG",
        "description": "One Gemini API key per connection, with the quota of its project.",
        "connection-types": [
            {
                "connection-type": "gemini",
                "hook-class-name": "insurance_rag.orchestration.gemini_hook.GeminiHook",
                "hook-name": "Gemini API key",
                "ui-field-behaviour": {
                    "hidden-fields": ["login", "schema", "port"],
                    "relabeling": {"password": "API key", "host": "Base URL (empty: Google's)"},
                    "placeholders": {"host": "https://generativelanguage.googleapis.com"},
                },
                "conn-fields": {
                    "project": _field(
                        "Project", "string", "Keys of one project share one quota; empty: a quota of its own"
                    ),
                    "rpm": _field("Requests a minute", "integer", "Of the project; empty: learnt from the first 429"),
                    "tpm": _field("Input tokens a minute", "integer", "Of the project; empty: learnt"),
                    "rpd": _field("Requests a day", "integer", "Of the project; empty: learnt"),
                    "model": _field("Model for the connection test", "string", "Default gemini-2.5-flash"),
                },
            }
        ],
    }


def _field(label: str, kind: str, description: str) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": {"type": [kind, "null"]}}
