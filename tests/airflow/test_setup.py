"""The set-up command with a real Airflow: running it again changes nothing, and its errors say what to do."""

from __future__ import annotations

import pytest
from tests.airflow.conftest import Airflow

from insurance_rag.orchestration.setup import main

pytestmark = [pytest.mark.airflow]


def test_pools_are_created_once(airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_PASSWORD", airflow.services.password)
    for _ in range(2):
        assert main(["--url", airflow.services.url, "--user", "admin", "--keys", "7", "--gpus", "2"]) == 0
    pools = {pool["name"]: pool for pool in airflow.api.call("GET", "/pools")["pools"]}
    assert {"gemini", "gpu"} < set(pools)
    assert (pools["gemini"]["slots"], pools["gemini"]["include_deferred"]) == (7, False)
    assert (pools["gpu"]["slots"], pools["gpu"]["include_deferred"]) == (2, True)


def test_a_wrong_password_and_a_wrong_address_are_reported(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIRFLOW_PASSWORD", "not-the-password")
    assert main(["--url", airflow.services.url]) == 1
    assert "login failed: 401" in capsys.readouterr().err
    assert main(["--url", "http://127.0.0.1:9"]) == 1
    assert "cannot be reached" in capsys.readouterr().err
