"""Locks between machines that share nothing but an object store."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
from tests.artifact_store.conftest import Store
from tests.artifact_store.faulty_proxy import FaultyProxy

from insurance_rag.core.artifact_store.bucket import retry_seconds
from insurance_rag.core.artifact_store.leases import check_leases, lease_seconds
from insurance_rag.core.errors import IncompleteError, InvalidInputError
from insurance_rag.core.locks import hold_lock, is_locked

HOLD = """
import sys, time
from insurance_rag.core.artifact_store.locations import local_path
from insurance_rag.core.locks import hold_lock
with hold_lock(local_path(sys.argv[1]), "shard 1"):
    print("held", flush=True)
    time.sleep(60)
"""


def hold_elsewhere(store: Store, machine: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", HOLD, store.uri("shard.lock")]
    process = subprocess.Popen(argv, env=store.environment(machine), stdout=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "held\n"
    return process


def test_the_second_machine_learns_who_holds_the_lock(store: Store) -> None:
    with hold_lock(store.path("shard.lock"), "shard 1"), store.on("machine-2"):
        assert is_locked(store.path("shard.lock"))
        with pytest.raises(IncompleteError, match=r"shard 1 is in use by process \d+ on .* \(s3://.*/shard.lock\)"):
            hold_lock(store.path("shard.lock"), "shard 1").__enter__()
    with store.on("machine-2"):
        assert not is_locked(store.path("shard.lock"))
        with hold_lock(store.path("shard.lock"), "shard 1"):
            pass


def test_a_process_that_was_killed_on_this_machine_loses_its_lease_at_once(store: Store) -> None:
    process = hold_elsewhere(store, "machine-2")
    assert is_locked(store.path("shard.lock"))
    process.kill()
    process.wait()
    assert not is_locked(store.path("shard.lock"))
    with hold_lock(store.path("shard.lock"), "shard 1"):
        pass


@pytest.mark.parametrize("seconds", ["soon", "nan", "inf", "-1"])
def test_seconds_in_the_environment_that_make_no_sense_are_refused(
    seconds: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, read in (("ARTIFACT_LEASE_S", lease_seconds), ("ARTIFACT_RETRY_S", retry_seconds)):
        monkeypatch.setenv(name, seconds)
        with pytest.raises(InvalidInputError, match=f"{name}: '{seconds}' is not a number of seconds from"):
            read()


def test_the_lease_of_a_vanished_machine_can_be_taken_after_its_term(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARTIFACT_LEASE_S", "2")
    process = hold_elsewhere(store, "machine-2")
    process.kill()
    process.wait()
    lease = json.loads(store.get("shard.lock"))
    store.put("shard.lock", json.dumps({**lease, "system": "another machine"}).encode())
    with pytest.raises(IncompleteError, match="is in use by"), hold_lock(store.path("shard.lock"), "shard 1"):
        pass
    time.sleep(3.1)
    with hold_lock(store.path("shard.lock"), "shard 1"):
        assert json.loads(store.get("shard.lock"))["system"] != "another machine"


def test_a_holder_that_lost_its_lease_stops_before_it_writes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTIFACT_LEASE_S", "2")
    with hold_lock(store.path("shard.lock"), "shard 1"):
        check_leases()
        store.put("shard.lock", b'{"id": "of another process"}')
        time.sleep(0.5)
        with pytest.raises(IncompleteError, match="shard 1: this process lost its lease s3://"):
            check_leases()


def test_a_lease_is_renewed_while_the_process_lives(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTIFACT_LEASE_S", "2")
    with hold_lock(store.path("shard.lock"), "shard 1"):
        time.sleep(1)
        assert json.loads(store.get("shard.lock"))["renewals"] >= 2


def test_missing_rights_are_an_input_error_before_any_work(store: Store, proxy: FaultyProxy) -> None:
    proxy.forbidden = {"PUT"}
    message = rf"s3://{store.bucket}/shard.lock: access denied .* need the right s3:PutObject"
    with pytest.raises(InvalidInputError, match=message), hold_lock(store.path("shard.lock"), "shard 1"):
        pass


def test_a_server_without_conditional_writes_is_refused(store: Store, proxy: FaultyProxy) -> None:
    proxy.ignores_conditions = True
    with (
        pytest.raises(InvalidInputError, match=r"s3://.*/shard.lock: the server ignores conditional writes"),
        hold_lock(store.path("shard.lock"), "shard 1"),
    ):
        pass
