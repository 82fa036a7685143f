"""Follow a DAG run in the terminal: every task's state, every stage's progress; then the comparison table."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from insurance_rag.core.files import read_json
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.orchestration.airflow_api import AirflowApi
from insurance_rag.orchestration.runs import folder_under

POLL_S = 1.5
FINISHED = {"success", "failed"}
DEMO_CONF: dict[str, Any] = {}
STYLE = {"success": "green", "failed": "red", "upstream_failed": "red", "running": "cyan", "skipped": "dim"}


def follow(api: AirflowApi, dag_id: str, run_id: str, artifacts: Path) -> list[dict[str, Any]]:
    """Show progress until the run ends; returns the failed task instances."""
    run = folder_under(artifacts, dag_id, run_id)
    console = Console()
    seen: set[str] = set()
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            state = api.run_state(dag_id, run_id)
            instances = api.task_instances(dag_id, run_id)
            stages = _progress_of(run)
            if console.is_terminal:
                live.update(Group(_task_line(instances), _progress_table(stages)), refresh=True)
            else:
                _print_news(console, instances, stages, seen)
            if state in FINISHED:
                return [i for i in instances if i["state"] in ("failed", "upstream_failed")]
            time.sleep(POLL_S)


def print_result(api: AirflowApi, dag_id: str, run_id: str, artifacts: Path, failed: list[dict[str, Any]]) -> int:
    """The comparison table and where the report lies, or what failed and why; the exit code."""
    console = Console()
    run = folder_under(artifacts, dag_id, run_id)
    for instance in failed:
        name = f"{instance['task_id']} [{instance['rendered_map_index'] or instance['map_index']}]"
        console.print(f"[red]{instance['state']}[/] {name}", highlight=False)
        if instance["state"] == "failed":
            log = api.log(dag_id, run_id, instance["task_id"], instance["map_index"], instance["try_number"])
            console.print("\n".join(log.splitlines()[-15:]), markup=False, highlight=False)
    if (run.evaluation / "summary.json").is_file():
        console.print(_comparison_table(read_json(run.evaluation / "summary.json")))
    if run.report.is_file():
        console.print(f"report:   {run.report}", soft_wrap=True, highlight=False)
    console.print(f"artifacts: {run.root}", soft_wrap=True, highlight=False)
    return 1 if failed else 0


def _progress_of(run: RunFolder) -> list[dict[str, Any]]:
    return [read_json(path) for path in sorted(run.progress.glob("*.json"), key=lambda p: p.stat().st_ctime)]


def _task_line(instances: list[dict[str, Any]]) -> Text:
    line = Text()
    tasks: dict[str, Counter[str]] = {}
    for i in sorted(instances, key=lambda i: i["start_date"] or "~"):
        tasks.setdefault(i["task_id"], Counter())[i["state"] or "waiting"] += 1
    for name, states in tasks.items():
        worst = next((s for s in ("failed", "upstream_failed", "running") if states[s]), max(states, key=states.get))  # type: ignore[arg-type]
        line.append(f"{name} ", style=STYLE.get(worst, "dim"))
    return line


def _progress_table(stages: list[dict[str, Any]]) -> Table:
    table = Table.grid(padding=(0, 2))
    for s in stages:
        bar = ProgressBar(total=max(1, s["total"]), completed=s["done"], width=30)
        table.add_row(f"{s['stage']} {s['label']}", bar, f"{s['done']}/{s['total']} {s['unit']}", _figures(s))
    return table


def _figures(stage: dict[str, Any]) -> str:
    eta = f"ETA {stage['eta_s']} s" if stage["state"] == "running" and stage["eta_s"] is not None else ""
    return "  ".join([eta, *(f"{k} {v}" for k, v in stage["figures"].items())]).strip()


def _print_news(console: Console, tasks: list[dict[str, Any]], stages: list[dict[str, Any]], seen: set[str]) -> None:
    """Without a terminal: one line for each task that started or ended, and each tenth of a stage."""
    news = {}
    for i in tasks:
        if i["state"] not in (None, "scheduled", "queued"):
            name = i["rendered_map_index"] if i["map_index"] >= 0 else ""
            text = f"{i['state']:>9}  {i['task_id']} {name or ''}"
            news[text] = text
    for s in stages:
        text = f"{s['done']:>5}/{s['total']} {s['unit']:<9} {s['stage']} {s['label']}  {_figures(s)}"
        news[f"{s['stage']} {s['label']} {10 * s['done'] // max(1, s['total'])}"] = text
    for key, text in news.items():
        if key not in seen:
            seen.add(key)
            console.print(text, highlight=False, markup=False, soft_wrap=True)


def _comparison_table(summary: dict[str, Any]) -> Table:
    """One column a model, one row a rate with its 95 % interval."""
    models = summary["models"]
    table = Table(title=f"{summary['questions']} questions", title_justify="left")
    table.add_column("")
    for name in models:
        table.add_column(name, justify="right")
    for metric in next(iter(models.values()))["rates"]:
        table.add_row(metric.replace("_", " "), *(_rate(model["rates"].get(metric)) for model in models.values()))
    return table


def _rate(rate: dict[str, Any] | None) -> str:
    if not rate or not rate["n"]:
        return "-"
    return f"{rate['rate']:.0%} [{rate['low']:.0%}, {rate['high']:.0%}] n={rate['n']}"
