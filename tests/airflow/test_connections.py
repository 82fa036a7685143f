"""The Test button of a `gemini` connection, as the browser calls it, and what Airflow shows of a key."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.airflow.conftest import Airflow

from gemini_simulator import RunningSimulator, running_simulator
from insurance_rag.config import GenerationConfig

pytestmark = [pytest.mark.airflow]

KEY = "a-working-test-key"


@pytest.fixture(scope="module")
def simulator() -> Iterator[RunningSimulator]:
    with running_simulator(key_states={"a-dead-test-key": "invalid"}) as running:
        yield running


def press_test(airflow: Airflow, host: str, key: str | None) -> tuple[bool, str]:
    body = {"connection_id": "being_edited", "conn_type": "gemini", "host": host, "password": key}
    answer = airflow.api.call("POST", "/connections/test", json=body)
    assert key is None or key not in answer["message"]
    return answer["status"], answer["message"]


def test_a_good_key(airflow: Airflow, simulator: RunningSimulator) -> None:
    assert press_test(airflow, simulator.url, KEY) == (True, f"The key works and may use {GenerationConfig().model}.")
    assert simulator.stats()["calls"] == 0  # costs no quota


def test_a_bad_key_and_a_bad_address_have_different_messages(airflow: Airflow, simulator: RunningSimulator) -> None:
    status, message = press_test(airflow, simulator.url, "a-dead-test-key")
    assert not status and message.startswith("The server answered 400: API key not valid")
    status, message = press_test(airflow, "http://127.0.0.1:9", KEY)
    assert not status and message.startswith("http://127.0.0.1:9 cannot be reached (ConnectError)")


def test_a_missing_key_says_where_to_enter_it(airflow: Airflow, simulator: RunningSimulator) -> None:
    status, message = press_test(airflow, simulator.url, None)
    assert not status and "put it into the field `password`" in message


def test_a_key_is_never_shown_again(airflow: Airflow, simulator: RunningSimulator) -> None:
    airflow.api.put_connection("kept", {"conn_type": "gemini", "host": simulator.url, "password": KEY})
    assert KEY not in str(airflow.api.call("GET", "/connections/kept"))
    # The browser sends this if only another field was edited: the mask represents the stored key.
    body = {"connection_id": "kept", "conn_type": "gemini", "host": simulator.url, "password": "***"}
    assert airflow.api.call("POST", "/connections/test", json=body)["status"]
