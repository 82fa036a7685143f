"""The package as an Airflow provider, and Google's own connection as a source of keys."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import logging
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest
from airflow.providers_manager import ProvidersManager
from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime

import airflow
from gemini_simulator import running_simulator
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.orchestration.gemini_hook import GeminiHook, connection_keys
from insurance_rag.orchestration.provider import get_provider_info

KEY = "AIza-planted-google-key"


def add(monkeypatch: pytest.MonkeyPatch, name: str, **connection: object) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))


def test_airflow_lists_the_provider_with_all_its_parts(caplog: pytest.LogCaptureFixture) -> None:
    """What `airflow providers list`, `hooks`, `notifications` and `triggers` show."""
    manager = ProvidersManager()
    with caplog.at_level(logging.WARNING):
        assert manager.providers["insurance-rag"].version == importlib.metadata.version("insurance-rag")
        assert ProvidersManagerTaskRuntime().hooks["gemini"].connection_type == "gemini"
        assert "insurance_rag.orchestration.notifier.AlertNotifier" in manager.notification
        assert "insurance_rag.orchestration.report_link.ReportLink" in manager.extra_links_class_names
        modules = {info.trigger_class_name for info in manager.trigger if info.package_name == "insurance-rag"}
    assert modules == {"insurance_rag.orchestration.document_watch"}
    assert not [record.message for record in caplog.records if "insurance" in record.message]


def test_the_description_fits_airflows_schema_and_names_existing_modules() -> None:
    info: dict[str, list[dict[str, list[str]]]] = get_provider_info()  # type: ignore[assignment]
    schema = Path(str(airflow.__file__)).with_name("provider_info.schema.json")
    jsonschema.validate(info, json.loads(schema.read_text(encoding="utf-8")))
    for part in ("hooks", "operators", "triggers"):
        for entry in info[part]:
            assert all(importlib.import_module(module) for module in entry["python-modules"])


def test_a_google_connection_gives_key_and_project(monkeypatch: pytest.MonkeyPatch) -> None:
    add(
        monkeypatch,
        "by_extra",
        conn_type="google_cloud_platform",
        extra={"api_key": KEY, "project": "team-a", "rpm": 5},
    )
    add(monkeypatch, "by_password", conn_type="google_cloud_platform", password=f"{KEY}2", extra={"project": "team-a"})
    old = {"extra__google_cloud_platform__project": "team-b", "api_key": f"{KEY}3"}
    add(monkeypatch, "of_old_releases", conn_type="google_cloud_platform", extra=old)
    keys = connection_keys(["by_extra", "by_password", "of_old_releases"])
    assert [key.key.get_secret_value() for key in keys] == [KEY, f"{KEY}2", f"{KEY}3"]
    assert [(key.pool, key.rpm) for key in keys] == [("team-a", 5), ("team-a", None), ("team-b", None)]


def test_the_key_of_a_google_connection_works(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_simulator() as simulator:
        monkeypatch.setenv("GEMINI_BASE_URL", simulator.url)
        add(monkeypatch, "google_cloud_default", conn_type="google_cloud_platform", extra={"api_key": KEY})
        works, message = GeminiHook("google_cloud_default").test_connection()
    assert works, message


def test_a_connection_without_an_api_key_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, "robot", conn_type="google_cloud_platform", extra={"keyfile_dict": "{}", "project": "team-a"})
    with pytest.raises(InvalidInputError, match=r"robot: it has a service account, .*; add the key as .* `api_key`"):
        GeminiHook("robot").get_conn()
    add(monkeypatch, "warehouse", conn_type="postgres", host="db", password="a-password")
    with pytest.raises(
        InvalidInputError, match="warehouse: its type is 'postgres', so its password is no API key"
    ) as e:
        GeminiHook("warehouse").get_conn()
    assert "a-password" not in str(e.value)
