"""What the demo prints: task states, progress, failed tasks, and the comparison of the models."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from demo.config import DEMO_RUN
from demo.walkthrough import follow, improvement_lines, print_result
from insurance_rag.config import RunConfig
from insurance_rag.core.files import write_json
from insurance_rag.core.records import EvaluationSummary, ProgressState
from insurance_rag.orchestration.airflow_api import AirflowApi, ApiObject
from insurance_rag.orchestration.runs import folder_under
from insurance_rag.training.recipe import load_recipe

DAG, RUN = "finetune_pipeline", "manual__1"


class FakeAirflow(AirflowApi):
    """Reports the given states, one dictionary per call, and a log for every task.

    A name with a slash is a mapped instance; its label follows the slash.
    """

    def __init__(self, *polls: dict[str, str | None]) -> None:
        self.polls = list(polls)

    def run_state(self, dag_id: str, run_id: str) -> str:
        if len(self.polls) > 1:
            return "running"
        return "failed" if "failed" in self.polls[0].values() else "success"

    def task_instances(self, dag_id: str, run_id: str) -> list[ApiObject]:
        states = self.polls.pop(0) if len(self.polls) > 1 else self.polls[0]
        return [self._instance(name, state) for name, state in states.items()]

    def _instance(self, name: str, state: str | None) -> ApiObject:
        task_id, slash, label = name.partition("/")
        return {
            "task_id": task_id,
            "map_index": 0 if slash else -1,
            "rendered_map_index": label or ("0" if slash else None),  # Airflow shows the index if there is no name yet
            "try_number": 1,
            "state": state,
            "start_date": None,
        }

    def log(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1, try_number: int = 1) -> str:
        return f"log of {task_id}\nKeyError: [x]"


@pytest.fixture(autouse=True)
def fast_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demo.walkthrough.POLL_INTERVAL_S", 0.0)


def test_every_change_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = folder_under(tmp_path, DAG, RUN)
    progress = ProgressState(
        stage="generate",
        label="shard 1/2",
        state="running",
        done=20,
        total=40,
        unit="chunks",
        rate_per_min=60,
        eta_s=20,
        updated=0,
        figures={"requests_429": 2, "cost_usd": 0.047271, "retries": 0},
    )
    run.progress.mkdir(parents=True)
    write_json(run.progress / "generate.json", progress.model_dump())
    polls: list[dict[str, str | None]] = [
        {"plan": "running", "generate/shard 1/2": None},
        {"plan": "success", "generate/": "running"},
        {"plan": "success", "generate/shard 1/2": "running"},
        {"plan": "success", "generate/shard 1/2 · helped with 3": "running"},
        {"plan": "success", "generate/shard 1/2 · helped with 3": "success"},
    ]
    assert follow(FakeAirflow(*polls), DAG, RUN, tmp_path) == []
    lines = [line.split(" s  ", 1)[1] for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "plan: running",
        "  generate shard 1/2: 20/40 chunks (ETA 20 s, responses 429 2, USD 0.0473)",
        "plan: success",
        "generate [shard 1/2]: running",
        "generate [shard 1/2 · helped with 3]: success",
    ]


def test_failed_tasks_are_printed_with_the_end_of_their_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api = FakeAirflow({"plan": "failed", "train/v1": "upstream_failed"})
    failed = follow(api, DAG, RUN, tmp_path)
    assert [task.name for task in failed] == ["plan", "train [v1]"]
    assert print_result(api, DAG, RUN, tmp_path, failed) == 1
    printed = capsys.readouterr().out
    assert "failed plan\nlog of plan\nKeyError: [x]\nupstream_failed train [v1]" in printed
    assert f"Artifacts: {folder_under(tmp_path, DAG, RUN).root}" in printed


def rate(value: float, n: int) -> dict[str, float | int]:
    return {"count": round(value * n), "n": n, "rate": value, "low": value - 0.1, "high": value + 0.1}


def model(value: float) -> dict[str, object]:
    rates = {"correct": rate(value, 20), "refused": rate(value, 5)}
    return {
        "rates": rates,
        "findings": {},
        "problems": {},
        "by_type": {},
        "by_product": {},
        "new_tokens": 10,
        "seconds": 1.0,
    }


def metric(title: str, better: str) -> dict[str, object]:
    return {"title": title, "title_ko": "", "description": "", "better": better, "compared": True}


SUMMARY = {
    "questions": 25,
    "answerable": 20,
    "unanswerable": 5,
    "notes": ["Only 25 questions [few]."],
    "metrics": {"correct": metric("Correct", "higher"), "refused": metric("Wrongly refused", "lower")},
    "checks": {},
    "problems": {},
    "models": {"base": model(0.25), "v1": model(0.5)},
    "tests": [],
    "power": {},
    "design_effect": None,
    "prompt": "own",
    "prompt_formats": {},
    "assumed_formats": [],
    "context": "retrieved",
    "base_model": "demo",
    "decoding": {},
    "config": {},
    "retrieval": {"n": 20, "scores": {}, "query_ms": {}},
    "contaminated": {},
    "adapters": {},
    "wall_seconds": 1.0,
}


def test_the_comparison_has_a_row_per_metric_and_a_column_per_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    run = folder_under(tmp_path, DAG, RUN)
    run.evaluation.mkdir(parents=True)
    write_json(run.evaluation / "summary.json", SUMMARY)
    assert print_result(FakeAirflow({"plan": "success"}), DAG, RUN, tmp_path, []) == 0
    printed = capsys.readouterr().out
    rows = [" ".join(line.split()) for line in printed.splitlines()]
    assert "metric n base v1" in rows
    assert "↑ Correct 20 25% (15-35) 50% (40-60)" in rows
    assert "↓ Wrongly refused 5 25% (15-35) 50% (40-60)" in rows
    assert "Note: Only 25 questions [few]." in printed


def paired_test(a: str, b: str, difference: float | None, p: float, metric: str = "correct") -> dict[str, object]:
    interval = (
        {"low": None, "high": None} if difference is None else {"low": difference - 0.03, "high": difference + 0.03}
    )
    return {
        "metric": metric,
        "a": a,
        "b": b,
        "n": 280,
        "only_a": 0,
        "only_b": 0,
        "difference": difference,
        "p": p / 2,
        "p_holm": p,
        "questions_needed": None,
        **interval,
    }


@pytest.mark.parametrize(
    ("difference", "p", "line"),
    [
        (0.04, 0.018, "v2 is better than Base: correct answers +4.0 points (95% interval +1.0 to +7.0, p = 0.018, "),
        (-0.05, 0.0001, "v2 is worse than Base: correct answers -5.0 points (95% interval -8.0 to -2.0, p < 0.001, "),
        (0.02, 0.2, "v2 is neither better nor worse than Base beyond chance: correct answers +2.0 points (95% "),
        (None, 1.0, "v2 and Base have no question in common"),
    ],
)
def test_the_result_names_the_difference_in_correct_answers(difference: float | None, p: float, line: str) -> None:
    """Only comparisons with the base model in correct answers are named."""
    others = [paired_test("v1", "v2", 0.3, 0.001), paired_test("Base", "v2", 0.3, 0.001, "hallucination")]
    summary = EvaluationSummary.model_validate(
        {**SUMMARY, "tests": [*others, paired_test("Base", "v2", difference, p)]}
    )
    (found,) = improvement_lines(summary)
    assert found.startswith(line)


def test_the_demo_compares_the_models_on_all_questions() -> None:
    """The gate decides on at least 200 questions. A misspelled setting would fail here and not in the run."""
    config = RunConfig.parse(DEMO_RUN)
    assert config.base_model == "demo" and config.question_limit is None
    recipe = load_recipe("v2", {"profile": config.profile, **config.training})
    assert (recipe.prompt_format, recipe.quantization) == ("rag", "none")


def test_the_help_lists_the_actions() -> None:
    printed = subprocess.run([sys.executable, "-m", "demo", "--help"], capture_output=True, text=True, check=True)
    assert "{run,up,down}" in printed.stdout
