"""The recipes of CONTRIBUTING.md work as written: a distribution made of its code blocks adds one entry of each kind.

Nothing of the product is touched. Each command runs in a process of its own that finds the distribution on its path.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from insurance_rag.core.files import write_json, write_jsonl

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
CHUNK_TEXT = "제3조(보험금의 지급)\n회사는 입원한 때에는 3만원을 지급합니다."
METADATA = {
    "source": "s.pdf",
    "company": "한빛생명",
    "breadcrumbs": "한빛 암보험 > 제1관",
    "token_count": 30,
    "policy_type": "암보험",
}


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of CONTRIBUTING.md as an installed distribution; also a folder for the data of the tests."""
    site = tmp_path_factory.mktemp("site")
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for language, name, body in re.findall(r"```(\w+)\n# (\S+).*?\n(.*?)```", text, re.S):
        path = site / name
        path.parent.mkdir(exist_ok=True)
        if name == "pyproject.toml":
            groups = tomllib.loads(body)["project"]["entry-points"]
            entry_points = "".join(f"[{group}]\nacme = {values['acme']}\n" for group, values in groups.items())
            (site / "acme-1.0.dist-info").mkdir()
            (site / "acme-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
            (site / "acme-1.0.dist-info/entry_points.txt").write_text(entry_points)
        else:
            path.write_text(f"from __future__ import annotations\n\n{body}" if language == "python" else body)
    chunks = [{"chunk_id": f"c{i}", "text": CHUNK_TEXT.replace("3", str(i)), "metadata": METADATA} for i in range(1, 5)]
    write_jsonl(site / "chunks.jsonl", chunks)
    return site


def test_the_distribution_can_be_installed(acme: Path, tmp_path: Path) -> None:
    """From the files as they are shown, by pip, which finds the package and its entry points."""
    source, target = tmp_path / "source", tmp_path / "target"
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    shutil.copytree(acme / "acme", source / "acme")
    (source / "pyproject.toml").write_text(re.findall(r"```toml\n(.*?)```", text, re.S)[0])
    offline: list[str | Path] = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--target", target]
    done = run(acme, "-m", "pip", "install", *offline, source)
    assert done.returncode == 0, done.stderr
    (installed,) = importlib.metadata.distributions(name="acme", path=[str(target)])
    names = {
        entry.group for entry in installed.entry_points if (target / f"{entry.value.replace('.', '/')}.py").is_file()
    }
    assert {"insurance_rag.rule", "insurance_rag.teacher", "insurance_rag.metric"} <= names and len(names) == 6


def run(acme: Path, *argv: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{acme}{os.pathsep}{ROOT}"}
    return subprocess.run([sys.executable, *map(str, argv)], env=environment, capture_output=True, text=True, cwd=acme)


def insurance_rag(acme: Path, *argv: str | Path) -> str:
    done = run(acme, "-m", "insurance_rag", *argv)
    assert done.returncode == 0, done.stderr
    return done.stdout


def python(acme: Path, code: str) -> str:
    done = run(acme, "-c", code)
    assert done.returncode == 0, done.stderr
    return done.stdout


def qa_row(i: int, output: str) -> dict[str, object]:
    question = f"한빛 암보험에서 {i}번째 입원에는 보험금을 얼마나 받을 수 있나요?"
    return {"chunk_id": f"c{i}", "type": "fact", "instruction": question, "input": "", "output": output}


def test_a_rule_is_configured_counted_and_named(acme: Path) -> None:
    answers = [
        "제1조에 따르면 1만원을 지급합니다!.",
        "제2조에 따르면 2만원을 지급합니다.",
        "제3조에 따르면 3만원입니다!.",
    ]
    write_json(acme / "dataset_part_1.json", [qa_row(i, answer) for i, answer in enumerate(answers, 1)])
    rules = "rules=[required_fields, shouting]"
    insurance_rag(
        acme,
        "validate",
        "--parts",
        acme,
        "--chunks",
        acme / "chunks.jsonl",
        "--out",
        acme / "run/dataset",
        "--set",
        rules,
    )
    report = json.loads((acme / "run/dataset/report.json").read_text())
    assert (report["kept"], report["drops"]["shouting"]) == (1, 2)
    insurance_rag(acme, "report", "--run", acme / "run", "--out", acme / "report.html")
    page = (acme / "report.html").read_text(encoding="utf-8")
    assert "Exclamation mark" in page and "느낌표" in page
    unknown = run(
        acme, "-m", "insurance_rag", "validate", "--parts", acme, "--out", acme / "x", "--set", "rules=[shoutin]"
    )
    assert unknown.returncode == 2 and "did you mean 'shouting'?" in unknown.stderr


def test_a_teacher_is_offered_everywhere_and_generates(acme: Path) -> None:
    assert "quoting" in insurance_rag(acme, "plan", "--help") and "quoting" in insurance_rag(acme, "generate", "--help")
    form = python(
        acme,
        "from insurance_rag.orchestration.params import trigger_params;"
        "print(trigger_params([], ['generation'])['generation.teacher'].schema)",
    )
    assert "quoting" in form
    insurance_rag(acme, "plan", "--chunks", acme / "chunks.jsonl", "--teacher", "quoting", "--out", acme / "generated")
    insurance_rag(acme, "generate", "--run", acme / "generated")
    rows = json.loads((acme / "generated/parts/dataset_part_1.json").read_text())
    assert [row["output"] for row in rows] == [f"회사는 입원한 때에는 {i}만원을 지급합니다." for i in range(1, 5)]


def test_a_check_finds_its_fault(acme: Path) -> None:
    answer = "제3조에 따르면 3만원을 지급합니다. 지금 가입하세요."
    write_jsonl(acme / "answers.jsonl", [{"context": CHUNK_TEXT, "question": "얼마를 받나요?", "answer": answer}])
    insurance_rag(acme, "check", "--answers", acme / "answers.jsonl", "--out", acme / "verdicts.jsonl")
    verdict = json.loads((acme / "verdicts.jsonl").read_text())
    assert {"check": "pushy", "span": "가입하세요", "evidence": None} in verdict["findings"]


def test_a_metric_is_summarized_tested_gated_and_reported(acme: Path) -> None:
    code = """
from pathlib import Path
from insurance_rag.config import PromotionConfig
from insurance_rag.promotion import decide
from tests.report.sample_run import write_run
write_run(Path("evaluated"))
policy = PromotionConfig(metric="long_answer", margins={"long_answer": 0.1}, limits={"long_answer": 0.0})
decision = decide(Path("evaluated/evaluation"), policy)
print(decision.model_dump_json())
"""
    decision = json.loads(python(acme, code))
    assert any("long_answer" in rule["name"] + rule["text"] for rule in decision["rules"])
    summary = json.loads((acme / "evaluated/evaluation/summary.json").read_text())
    assert all("long_answer" in model["rates"] for model in summary["models"].values())
    assert any(test["metric"] == "long_answer" for test in summary["tests"])
    insurance_rag(acme, "report", "--run", acme / "evaluated", "--out", acme / "evaluated.html")
    page = (acme / "evaluated.html").read_text(encoding="utf-8")
    assert "Long answer" in page and "긴 답변" in page


def test_a_retriever_is_offered_and_searches(acme: Path) -> None:
    assert "shared_words" in insurance_rag(acme, "retrieve", "--help")
    question = {
        "question_id": "q1",
        "question": "입원한 때에는 4만원을",
        "type": "fact",
        "answerable": True,
        "gold_chunk_ids": ["c4"],
    }
    write_jsonl(acme / "questions.jsonl", [question])
    argv: list[str | Path] = [
        "--chunks",
        acme / "chunks.jsonl",
        "--questions",
        acme / "questions.jsonl",
        "--retriever",
        "shared_words",
    ]
    result = json.loads(insurance_rag(acme, "retrieve", *argv, "--json").splitlines()[-1])
    assert result["scores"]["hit@1"]["value"] == 1.0


def test_a_prompt_format_gets_its_file_and_a_recipe_can_name_it(acme: Path) -> None:
    write_json(acme / "formats/dataset_part_1.json", [qa_row(2, "제2조에 따르면 2만원을 지급합니다.")])
    argv: list[str | Path] = [
        "--parts",
        acme / "formats",
        "--chunks",
        acme / "chunks.jsonl",
        "--out",
        acme / "formats/dataset",
    ]
    insurance_rag(acme, "validate", *argv, "--set", "rules=[required_fields]")
    row = json.loads((acme / "formats/dataset/train_dataset_brief.json").read_text())[0]
    assert row["text"].endswith("### 출력\n제2조에 따르면 2만원을 지급합니다.") and "\n\nQ: 한빛 암보험" in row["text"]
    code = "from insurance_rag.training import load_recipe; print(load_recipe('acme.yaml').model_dump_json())"
    assert json.loads(python(acme, code))["prompt_format"] == "brief"


def test_the_reference_documentation_lists_them(acme: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tools.doc_pages.reference import reference_page; "
        "print(reference_page())"
    )
    page = python(acme, code)
    for name in ("shouting", "quoting", "long_answer", "pushy", "shared_words", "brief"):
        assert f"| `{name}` |" in page
