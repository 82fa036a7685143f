from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from insurance_rag.cli import main as cli

HEAVY = ("torch", "transformers", "trl", "datasets", "pandas", "pydantic", "airflow")


def run_cli(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "insurance_rag", *argv], capture_output=True, text=True)


def test_help_is_quick_and_light() -> None:
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert run_cli("--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 0.5, "seconds of CPU time, which other processes hardly affect"
    code = (
        f"import sys, insurance_rag.cli.main as c; c.build_parser([]); print([m for m in {HEAVY} if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([command, "--help"])
    text = capsys.readouterr().out
    assert caught.value.code == 0
    assert re.search(rf"example:\n.*insurance_rag {command}", text) or f"insurance-rag {command}" in text
    assert "--json" in text


def test_no_command_pulls_torch_for_its_help() -> None:
    code = "import sys, insurance_rag.cli.main as c; c.build_parser(); print({'torch', 'pandas'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"


def test_wrong_input_is_exit_2_and_the_result_goes_to_result_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = run_cli("plan", "--chunks", str(tmp_path / "none.jsonl"), "--out", str(tmp_path / "run"))
    assert missing.returncode == 2
    assert "none.jsonl" in missing.stderr

    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps([{"id": "k1", "key": "secret-value"}]))
    result = tmp_path / "result.json"
    monkeypatch.setenv("RESULT_JSON", str(result))
    done = run_cli("plan", "--chunks", "sample", "--keys", str(keys), "--out", str(tmp_path / "run"), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == json.loads(result.read_text())
    assert "secret-value" not in done.stdout + done.stderr
