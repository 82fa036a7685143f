"""The tutorial and further how-to pages work as written: their commands run in order, on a small policy.

The commands of the tutorial print what the page shows. The commands of the other pages run in the folder that a reader
of the tutorial has at the end.
"""

from __future__ import annotations

import csv
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.evaluation.openai_server import HttpResponse, serving
from tests.fakes.hub import fake_hub
from tests.reader import (
    POLICY,
    Shell,
    missing_lines,
    read_steps,
    review_like_a_person,
    run_step,
    write_policy,
)
from tests.test_site import shell_commands

from demo.airflow_stack import free_port
from insurance_rag.core.files import read_json, read_jsonl, write_json
from insurance_rag.core.records import EvaluationSummary

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

DOCS = Path(__file__).parents[1] / "docs"
NEEDS = re.compile(r"bge-m3|\.\.\.|--format gguf")
"""Commands that need a large model or llama.cpp; other tests run what is behind them."""
BASE = "beomi/Llama-3-Open-Ko-8B"
"""Base model on the pages. The tests replace it by the tutorial's tiny one."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reader's folder after all commands of the page."""
    folder = tmp_path_factory.mktemp("tutorial")
    (folder / "policies").mkdir()
    write_policy(folder / "policies/policy.pdf")
    port = str(free_port())
    shell = Shell(folder)
    try:
        for step in read_steps():
            for _ in run_step(shell, step, folder, port):
                pass
    finally:
        shell.close()
    return folder


def test_every_stage_has_a_command(folder: Path) -> None:
    commands = "".join(step.commands for step in read_steps())
    stages = ["ingest", "plan", "generate", "validate", "train", "evaluate", "promote", "report"]
    stages += [f"questions {action}" for action in ("make", "check", "review", "freeze")]
    assert [stage for stage in stages if f"insurance-rag {stage} " not in commands] == []


def test_the_chunks_are_the_articles_of_the_policy(folder: Path) -> None:
    chunks = read_jsonl(folder / "chunks.jsonl")
    articles = [line.replace("|", "\n") for line in POLICY if "|" in line]
    assert [chunk["text"] for chunk in chunks] == articles
    assert "특별약관" in (folder / "chunks.report.html").read_text(encoding="utf-8")


def test_the_frozen_questions_lack_the_rejected_one(folder: Path) -> None:
    candidates = [row["question"] for row in read_jsonl(folder / "candidates.jsonl")]
    frozen = [row["question"] for row in read_jsonl(folder / "questions.jsonl")]
    assert len(frozen) == 11 and set(frozen) < set(candidates)


def test_no_training_row_is_about_a_section_with_questions(folder: Path) -> None:
    dataset = folder / "runs/first/dataset"
    split = read_json(dataset / "report.json")["split"]
    assert split["unit"] == "section" and split["sections"]
    asked = {chunk for row in read_jsonl(folder / "questions.jsonl") for chunk in row["gold_chunk_ids"]}
    trained = {row["chunk_id"] for row in read_json(dataset / "train_dataset_rag.json")}
    assert len(trained) >= 5 and not trained & asked


def test_the_report_has_the_verdict_and_the_questions(folder: Path) -> None:
    summary = EvaluationSummary.model_validate(read_json(folder / "runs/first/evaluation/summary.json"))
    assert set(summary.models) == {"Base", "v2"}
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert read_jsonl(folder / "questions.jsonl")[0]["question"] in report


@pytest.fixture
def shell(folder: Path) -> Iterator[Shell]:
    """A terminal in the reader's folder, with the names that the pages use."""
    runs = folder / "runs"
    for name in ("1", "today"):
        shutil.rmtree(runs / name, ignore_errors=True)
        shutil.copytree(runs / "first", runs / name)
    if not (runs / "2").exists():
        shutil.copytree(runs / "first/adapters/v2", runs / "2/adapters/v2/seed-42")
        shutil.copy(folder / "questions.jsonl", folder / "frozen.jsonl")
        write_json(folder / "keys.json", [{"id": "k1", "key": "demo-key-1"}])
    terminal = Shell(folder)
    yield terminal
    terminal.close()


def run_page(shell: Shell, page: str, folder: Path, first: str = "", server: str = "") -> tuple[list[str], list[str]]:
    """Run the `insurance-rag` commands of a page in their order. Return the commands, and all lines that they print.

    `first` runs before them, e.g. to set an environment variable. `server` replaces the address of a model server.
    """
    if first:
        shell.run(first)
    commands, printed = [], []
    for command in shell_commands(DOCS / page):
        line = shlex.join(command.words).replace("/srv/adapters", "served").replace(BASE, "base_model")
        line = line.replace("http://127.0.0.1:8000/v1", server)
        if command.words[0] != "insurance-rag" or NEEDS.search(line):
            continue
        if "--import" in line:
            review_like_a_person(folder / "review.csv")
        lines, exit_code = shell.run(line)
        assert exit_code == (4 if command.words[1] == "promote" else 0), "\n".join([line, *lines])
        commands.append(line)
        printed += lines
    return commands, printed


def shown_lines(page: str) -> list[str]:
    """Return what a page shows as output, without figures, which differ between machines."""
    return [without_figures(line) for step in read_steps(DOCS / page) for line in step.shown]


def without_figures(line: str) -> str:
    return re.sub(r"\d+(\.\d+)?", "N", line)


def test_the_page_about_verdicts(shell: Shell, folder: Path) -> None:
    commands, printed = run_page(shell, "how-to/read-a-verdict.md", folder)
    assert [line.split()[1] for line in commands] == ["evaluate", "promote", "promote"]
    shown = [line for line in shown_lines("how-to/read-a-verdict.md") if not line.startswith("  - ")]
    assert missing_lines(shown, [without_figures(line) for line in printed]) == []


def test_the_page_about_reviews(shell: Shell, folder: Path) -> None:
    commands, printed = run_page(shell, "review.md", folder)
    assert len(commands) == 4
    assert (folder / "rows.csv").is_file() and any(line.startswith("kept: ") for line in printed)


def test_the_page_about_live_questions(shell: Shell, folder: Path) -> None:
    asked = ["계약을 청약하고 철회하려면 보험증권을 받은 날부터 며칠 이내인가요"] * 4
    asked += ["보험료가 연체되면 납입최고기간은 며칠인가요", "골절진단보험금은 골절로 진단이 확정되면 얼마인가요"]
    with (folder / "feedback.csv").open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["문의내용", "답변", "상담원답변"])
        writer.writerows([question, "약관에 해당 내용이 없습니다", "제8조를 보세요."] for question in asked)
    commands, printed = run_page(shell, "live-questions.md", folder)
    assert commands[0].startswith("insurance-rag questions import") and len(commands) == 5
    assert read_jsonl(folder / "frozen_live.jsonl") and (folder / "runs/targets/plan.json").is_file(), printed


def test_the_page_about_serving(shell: Shell, folder: Path) -> None:
    decide = "rm -rf registry; insurance-rag promote --evaluation runs/first/evaluation --registry registry"
    by_hand = "insurance-rag registry promote v2 --registry registry --by kim --reason 'approved by claims'"
    with serving(served_models) as server:
        commands, printed = run_page(shell, "serving.md", folder, f"{decide}; {by_hand}", server)
    assert [line.split()[1] for line in commands] == ["export", "smoke"]
    (name,) = [line.removeprefix("name: ") for line in printed if line.startswith("name: ")]
    assert (folder / "served" / name / "adapter_config.json").is_file()


def served_models(path: str, body: dict[str, Any]) -> HttpResponse:
    """Answer as a server that has the models of the pages."""
    if path == "/v1/models":
        return 200, {"data": [{"id": name, "max_model_len": 4096} for name in ("Base", "v2", "v2-1a2b3c4d")]}
    return 200, {"choices": [{"text": "약관에 해당 내용이 없습니다."}], "usage": {"completion_tokens": 9}}


def test_the_page_about_vllm(shell: Shell, folder: Path) -> None:
    with serving(served_models) as server:
        commands, printed = run_page(shell, "how-to/vllm.md", folder, "rm -rf runs/1/evaluation", server)
    assert [line.split()[1] for line in commands] == ["evaluate", "export", "plan"]
    assert "questions: 11" in printed and (folder / "merged/model.safetensors").is_file()


def test_the_page_about_hugging_face(shell: Shell, folder: Path) -> None:
    page = DOCS / "how-to/hugging-face.md"
    with fake_hub() as hub:
        settings = f"export HF_ENDPOINT={hub.url} HF_TOKEN=hf_x HF_HUB_OFFLINE=0"
        commands, _ = run_page(shell, "how-to/hugging-face.md", folder, settings)
    assert [line.split()[1] for line in commands] == ["validate", "push", "push"]
    assert len(hub.tags["datasets/acme/policy-qa"]) == 2 and list(hub.tags["models/acme/policy-v2"])
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    (folder / "load.py").write_text(code)
    printed, exit_code = shell.run("HF_HUB_OFFLINE=1 python load.py 2>/dev/null")
    assert exit_code == 0 and re.fullmatch(r"\d+ \d+", printed[-1])
