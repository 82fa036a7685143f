"""No file, log, output or exception of a run contains the API key."""

from __future__ import annotations

import gc
import io
import logging
import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.generation.runs import planned

from gemini_simulator import running_simulator
from insurance_rag.core.errors import IncompleteError, InvalidInputError
from insurance_rag.core.records import ApiKey
from insurance_rag.generation import generate_run, generate_shard
from insurance_rag.llm.client import Client, Response

PLANTED = "AIzaSyPLANTED0123456789abcdefghijklmno"
FAULTS = {"503": 0.1, "502": 0.1, "drop": 0.2, "malformed": 0.1}


def key(name: str = "k1") -> ApiKey:
    return ApiKey.model_validate({"id": name, "key": PLANTED})


def files_with_the_key(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and PLANTED.encode() in path.read_bytes()]


@pytest.fixture
def every_log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.mark.parametrize("options", [{"faults": FAULTS}, {"key_states": {PLANTED: "invalid"}}, {"quota": {"rpd": 3}}])
def test_no_file_log_or_exception_holds_the_key(
    tmp_path: Path, every_log: io.StringIO, options: dict[str, object]
) -> None:
    with running_simulator(speed=600, **options) as sim:
        run, config = planned(tmp_path, sim, 20, [key()])
        try:
            generate_run(run, [key()], config)
        except IncompleteError as e:
            assert PLANTED not in "".join(traceback.format_exception(e, chain=True))
            assert PLANTED.encode() not in pickle.dumps(e)
    assert files_with_the_key(tmp_path) == []
    assert every_log.getvalue()
    assert PLANTED not in every_log.getvalue()


def test_no_chained_exception_holds_the_key(tmp_path: Path) -> None:
    """An httpx exception holds the request and thus the header, so none may be chained to ours."""
    with running_simulator(speed=600) as sim:
        run, config = planned(tmp_path, sim, 2, [key()], max_retries=0)
    with pytest.raises(IncompleteError) as e:
        generate_shard(run, 1, key(), config)
    error: BaseException | None = e.value
    while error is not None:
        assert not any(PLANTED in str(getattr(held, "headers", "")) for held in gc.get_referents(error))
        assert PLANTED not in str(error.args)
        error = error.__cause__ or error.__context__


def test_message_of_a_server_that_echoes_the_key() -> None:
    client = Client("http://127.0.0.1:1", key().key, {}, 1.0)
    for status in (302, 400, 401, 403, 404, 429, 500):
        response = Response(status, {"error": {"message": f"API key {PLANTED} is not valid"}})
        assert "is not valid" in str(client.error(response)) or status == 302
        assert PLANTED not in str(client.error(response))


def test_command_line_does_not_print_the_key(tmp_path: Path) -> None:
    with running_simulator(speed=600, key_states={PLANTED: "leaked"}) as sim:
        run, _ = planned(tmp_path, sim, 3, [key("gemini_k1")])
        environment = {
            **os.environ,
            "GEMINI_API_KEYS": PLANTED,
            "GEMINI_QUOTA_WINDOW_S": "0.1",
            "PYTHONASYNCIODEBUG": "1",
        }
        argv = [sys.executable, "-m", "insurance_rag", "generate", "--run", str(run.root), "--json"]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "KeyRejectedError" in done.stderr or "IncompleteError" in done.stderr
    assert PLANTED not in done.stderr + done.stdout
    assert files_with_the_key(tmp_path) == []


def test_key_that_cannot_be_a_header_is_rejected_before_it_is_sent(tmp_path: Path) -> None:
    from insurance_rag.planning import load_keys

    path = tmp_path / "keys.json"
    path.write_text(f'[{{"id": "a", "key": "{PLANTED}\\nx"}}]')
    with pytest.raises(InvalidInputError) as e:
        load_keys(path)
    assert PLANTED not in str(e.value)
