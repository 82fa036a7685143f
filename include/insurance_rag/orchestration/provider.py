"""Describes the package as an Airflow provider (entry point `apache_airflow_provider`).

The plugins are not listed: Airflow loads them from the folder `plugins`, and would otherwise load them twice.
"""

from __future__ import annotations

from pydantic import JsonValue

PACKAGE = "insurance_rag.orchestration"
INTEGRATION = "Insurance RAG"
DOCUMENTATION = "https://ai.google.dev/gemini-api/docs/api-key"


def get_provider_info() -> dict[str, JsonValue]:
    """Return the provider description that Airflow's ProvidersManager reads."""
    return {
        "package-name": "insurance-rag",
        "name": "Insurance RAG",
        "description": "Keeps a document-grounded assistant fresh. One Gemini API key per connection.",
        "integrations": [{"integration-name": INTEGRATION, "external-doc-url": DOCUMENTATION, "tags": ["ai"]}],
        "hooks": [_modules("gemini_hook")],
        "operators": [_modules("generate_operator", "gpu_job", "pod_operator")],
        "triggers": [_modules("document_watch")],
        "extra-links": [f"{PACKAGE}.report_link.ReportLink"],
        "notifications": [f"{PACKAGE}.notifier.AlertNotifier"],
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


def _modules(*names: str) -> JsonValue:
    return {"integration-name": INTEGRATION, "python-modules": [f"{PACKAGE}.{name}" for name in names]}


def _field(label: str, kind: str, description: str) -> JsonValue:
    return {"label": label, "description": description, "schema": {"type": [kind, "null"]}}
