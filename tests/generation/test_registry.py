"""The registry of teachers is the only list of teachers."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.generation.runs import keys

from insurance_rag.cli.main import main
from insurance_rag.config import GenerationConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.generation.teachers.registry import TEACHERS, make_teacher
from insurance_rag.planning.prompt_spec import PROMPTS, PromptSpec


def test_built_in_teachers() -> None:
    assert set(TEACHERS) == {"gemini", "openai", "local"}
    for name, entry in TEACHERS.entries.items():
        assert entry.name == name
        assert entry.title
        assert entry.description
        assert (PROMPTS / f"{entry.default_prompt}.txt").is_file()
        config = GenerationConfig(teacher=name, base_url="http://127.0.0.1:9")
        assert PromptSpec.from_config(config).prompt == entry.default_prompt
        assert make_teacher(config, keys(1)[0]).max_retries >= 0


def test_unknown_teacher_is_rejected_with_a_suggestion() -> None:
    with pytest.raises(InvalidInputError, match=r"unknown teacher 'gemni'; did you mean 'gemini'\?"):
        GenerationConfig.parse({"teacher": "gemni"}, "settings")


def test_command_line_offers_the_registered_teachers(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["plan", "--help"])
    assert "{gemini,local,openai}" in capsys.readouterr().out


def test_help_imports_neither_the_http_client_nor_the_worker() -> None:
    code = (
        "import sys; from insurance_rag.cli.main import build_parser; build_parser(['generate']).format_help();"
        "print([m for m in ('httpx', 'torch', 'tenacity', 'insurance_rag.generation.worker') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
