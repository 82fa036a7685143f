"""Registers the `gemini` connection type with Airflow (entry point `apache_airflow_provider`)."""

from __future__ import annotations

from pydantic import JsonValue


def get_provider_info() -> dict[str, JsonValue]:
    """Return the provider description that Airflow's ProvidersManager reads."""
    return {
        "package-name": "insurance-rag",
        "name": "Insurance RAG",
        "description": "One Gemini API key per connection, with the quota of the key's project.",
        "connection-types": [
            {
                "connection-type": "gemini",
                "hook-class-name": "insurance_rag.orchestration.gemini_hook.GeminiHook",
                "hook-name": "Gemini API key",
                "ui-field-behaviour": {
                    "hidden-fields": ["login", "schema", "port"],
                    "relabeling": {"password": "API key", "host": "Base URL (empty: Google's server)"},
                    "placeholders": {"host": "https://generativelanguage.googleapis.com"},
                },
                "conn-fields": {
                    "project": _field(
                        "Project", "string", "Keys of one project share a quota. Empty: the key has its own quota."
                    ),
                    "rpm": _field(
                        "Requests per minute", "integer", "Limit of the project. Empty: learned from 429 errors."
                    ),
                    "tpm": _field("Input tokens per minute", "integer", "Limit of the project. Empty: learned."),
                    "rpd": _field("Requests per day", "integer", "Limit of the project. Empty: learned."),
                    "model": _field(
                        "Model for the connection test",
                        "string",
                        "Default: $GEMINI_MODEL, else the default of generation.model.",
                    ),
                },
            }
        ],
    }


def _field(label: str, kind: str, description: str) -> JsonValue:
    return {"label": label, "description": description, "schema": {"type": [kind, "null"]}}
