"""Checks of the teacher's model: before a run, and with the Test button of a connection."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Protocol

import pytest

from gemini_simulator import RunningSimulator, running_simulator
from insurance_rag.config import GenerationConfig, RunConfig
from insurance_rag.core.errors import InvalidInputError, ServerUnavailableError
from insurance_rag.core.files import read_json
from insurance_rag.core.records import GenerationEstimate
from insurance_rag.orchestration import tasks
from insurance_rag.orchestration.gemini_hook import GeminiHook
from insurance_rag.orchestration.preflight import check_models, validate_run_config, warnings_of
from insurance_rag.orchestration.run_inputs import open_run

DEAD_KEY = "planted-dead-key"
NOBODY = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def simulator() -> Iterator[RunningSimulator]:
    with running_simulator(
        key_states={DEAD_KEY: "invalid"}, routed_models={"gemini-2.5-flash": "gemini-3.5-flash-lite"}
    ) as running:
        yield running


class AddKey(Protocol):
    def __call__(self, name: str, host: str, key: str = ..., **extra: str) -> None: ...


@pytest.fixture
def add_key(monkeypatch: pytest.MonkeyPatch) -> AddKey:
    for name in ("GEMINI_MODEL", "GEMINI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)

    def add(name: str, host: str, key: str = "a-working-key", **extra: str) -> None:
        connection = {"conn_type": "gemini", "host": host, "password": key, "extra": extra}
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))

    return add


def run_config(*keys: str, **generation: object) -> RunConfig:
    return RunConfig(keys=keys, generation=GenerationConfig.parse(generation))


def test_a_known_model_passes_even_if_one_key_is_dead(add_key: AddKey, simulator: RunningSimulator) -> None:
    add_key("k1", simulator.url, DEAD_KEY)
    add_key("k2", simulator.url)
    check_models(run_config("k1", "k2"))
    check_models(run_config("k1", "k2", model="gemini-2.5-flash"))  # retired, but its successor answers
    assert simulator.stats()["calls"] == 0  # costs no quota
    with pytest.raises(InvalidInputError, match=r"keys: k1: .* rejects the key"):
        check_models(run_config("k1"))


def test_an_unknown_model_names_available_ones(add_key: AddKey, simulator: RunningSimulator) -> None:
    add_key("k1", simulator.url)
    with pytest.raises(InvalidInputError) as error:
        check_models(run_config("k1", model="gemini-3.5-flash-light", thinking="low"))
    (problem,) = error.value.problems
    assert problem.startswith(f"generation.model: {simulator.url} has no model 'gemini-3.5-flash-light' for this key")
    assert "gemini-3.5-flash-lite, " in problem
    with pytest.raises(InvalidInputError, match=r"generation\.thinking: gemini-3.5-flash-lite has no level 'off'"):
        check_models(run_config("k1", thinking="off"))


def test_an_unreachable_server_is_tried_again_unless_other_problems_stop_the_run(add_key: AddKey) -> None:
    add_key("k1", NOBODY)
    with pytest.raises(ServerUnavailableError, match=f"keys: k1: {NOBODY}: ConnectError.*; check the base URL"):
        validate_run_config(run_config("k1"))
    problems = validate_run_config(run_config("k1").model_copy(update={"base_model": "/nowhere"}))
    assert any(p.startswith("base_model: ") for p in problems) and any(p.startswith("keys: k1: ") for p in problems)


def test_the_first_tasks_estimate_the_cost_of_all_and_of_the_missing_answers(
    add_key: AddKey, simulator: RunningSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_key("k1", simulator.url, rpm="60")
    monkeypatch.setenv("ARTIFACT_ROOT", str(tmp_path))
    dag_run = SimpleNamespace(dag_id="refresh_dataset", run_id="today")
    monkeypatch.setattr(tasks, "get_current_context", lambda: {"dag_run": dag_run})
    run = tasks.check_input({"keys": ["k1"], "base_model": "demo"})
    assert run.estimate and run.estimate.chunks == run.rows and run.estimate.cost_usd and run.estimate.seconds
    tasks.plan(run)
    folder, _ = open_run(run)
    assert GenerationEstimate.model_validate(read_json(folder.estimate)) == run.estimate, "nothing is reused"


def test_other_teachers_have_no_model_to_check(add_key: AddKey) -> None:
    add_key("k1", NOBODY)
    check_models(run_config("k1", teacher="openai", model="qwen"))


def test_a_retiring_model_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    (warning,) = warnings_of(run_config(model="gemini-2.5-flash"))
    assert warning.startswith("generation.model: model gemini-2.5-flash reti") and "gemini-3.5-flash-lite" in warning
    assert warnings_of(run_config()) == []
    assert warnings_of(run_config(model="gemini-2.5-flash"), generates=False) == []


def test_the_test_button_uses_the_model_of_the_connection_or_the_environment(
    add_key: AddKey, simulator: RunningSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_key("k1", simulator.url)
    default = GenerationConfig().model
    assert GeminiHook("k1").test_connection() == (True, f"The key works and may use {default}.")
    monkeypatch.setenv("GEMINI_MODEL", "gemini-2.5-pro")
    works, message = GeminiHook("k1").test_connection()
    assert works and message.startswith("The key works and may use gemini-2.5-pro. Warning: model gemini-2.5-pro reti")
    add_key("k1", simulator.url, model="gemini-0")
    works, message = GeminiHook("k1").test_connection()
    assert not works and message.startswith("The server answered 404: ")
