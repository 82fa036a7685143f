"""Shows a DAG run in the terminal: task states and progress during the run, then the comparison of the models."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from insurance_rag.core.files import read_json
from insurance_rag.core.records import EvaluationSummary, PairedTest, ProgressState, Rate
from insurance_rag.core.records.progress import ProgressFigure
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.evaluation.requests import BASE
from insurance_rag.orchestration.airflow_api import AirflowApi
from insurance_rag.orchestration.runs import folder_under

POLL_INTERVAL_S = 1.5
FINAL_RUN_STATES = {"success", "failed"}
FAILED_TASK_STATES = ("failed", "upstream_failed")
#: States of a task that has not started. `waiting` is used here for tasks that have no state in Airflow yet.
PENDING_TASK_STATES = ("waiting", "scheduled", "queued")
#: Colors of task states. All other states are dimmed.
STATE_STYLES = {"success": "green", "failed": "red", "upstream_failed": "red", "running": "cyan"}
#: Value of a metric's `better` -> arrow next to the metric in the comparison.
BETTER_ARROWS = {"higher": "↑", "lower": "↓"}
#: Metric that decides whether an adapter is an improvement.
MAIN_METRIC = "correct"
#: A difference between two models is called a difference if its p value is below this level.
SIGNIFICANCE_LEVEL = 0.05
#: Number of log lines that are printed for a failed task.
LOG_LINES = 15
#: Name of a progress figure -> its label. For other figures, the label is the name with spaces instead of underscores.
FIGURE_LABELS = {
    "cost_usd": "USD",
    "requests_429": "responses 429",
    "helped": "helped with",
    "gib": "GiB",
    "tokens_per_s": "tokens/s",
}
#: Number of progress lines per stage if the output is not a terminal. With 4, a line is printed after each quarter of
#: the stage's work.
PROGRESS_PARTS = 4


class TaskInstance(NamedTuple):
    """A task in a run, or one instance of a mapped task, as reported by Airflow."""

    task_id: str
    label: str
    """Name of an instance of a mapped task. Until Airflow knows the name, the label is the instance's index. For tasks
    that are not mapped, it is empty."""
    is_named: bool
    """Whether `label` is final and not a temporary index."""
    map_index: int
    try_number: int
    state: str
    """The task's state in Airflow, or `waiting` if Airflow has not set one yet."""
    started: str
    """Start time in ISO format. Empty if the task has not started."""

    @property
    def name(self) -> str:
        """Task ID, followed by the label if there is one."""
        return f"{self.task_id} [{self.label}]" if self.label else self.task_id


def follow(api: AirflowApi, dag_id: str, run_id: str, artifacts: Path) -> list[TaskInstance]:
    """Show the run's progress until the run ends, and return the task instances that failed."""
    run = folder_under(artifacts, dag_id, run_id)
    console = Console()
    printer = _LinePrinter(console)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            state = api.run_state(dag_id, run_id)
            tasks = _task_instances(api, dag_id, run_id)
            stages = _read_progress(run)
            if console.is_terminal:
                live.update(Group(_task_line(tasks), _progress_table(stages)), refresh=True)
            else:
                printer.print_changes(tasks, stages)
            if state in FINAL_RUN_STATES:
                return [task for task in tasks if task.state in FAILED_TASK_STATES]
            time.sleep(POLL_INTERVAL_S)


def print_result(
    api: AirflowApi,
    dag_id: str,
    run_id: str,
    artifacts: Path,
    failed: Sequence[TaskInstance],
) -> int:
    """Print the failed tasks with the end of their logs, the comparison of the models, and the paths of the results.

    Returns the exit code: 1 if a task failed, else 0.
    """
    console = Console()
    run = folder_under(artifacts, dag_id, run_id)
    for task in failed:
        console.print(Text.assemble((task.state, "red"), f" {task.name}"))
        if task.state == "failed":
            log = api.log(dag_id, run_id, task.task_id, task.map_index, task.try_number)
            console.print("\n".join(log.splitlines()[-LOG_LINES:]), markup=False, highlight=False)
    summary_file = run.evaluation / "summary.json"
    if summary_file.is_file():
        summary = EvaluationSummary.model_validate(read_json(summary_file))
        console.print(comparison_table(summary))
        for line in improvement_lines(summary):
            console.print(line, highlight=False, soft_wrap=True)
        for note in summary.notes:
            console.print(f"Note: {note}", markup=False, highlight=False, soft_wrap=True)
    if run.report.is_file():
        console.print(f"Report:    {run.report}", soft_wrap=True, highlight=False)
    console.print(f"Artifacts: {run.root}", soft_wrap=True, highlight=False)
    return 1 if failed else 0


def comparison_table(summary: EvaluationSummary) -> Table:
    """Return a table of rates with 95% confidence intervals: one row per metric, one column per model.

    With three models, the table fits a terminal with 80 columns.
    """
    title = f"{summary.questions} questions: rate and 95% interval (↑ higher is better, ↓ lower is better)"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    table.add_column("metric")
    table.add_column("n", justify="right", no_wrap=True)
    for name in summary.models:
        table.add_column(name, justify="right", no_wrap=True)
    for metric, info in summary.metrics.items():
        rates = [model.rates.get(metric) for model in summary.models.values()]
        counts = sorted({rate.n for rate in rates if rate and rate.n})
        if counts:
            n = str(counts[0]) if len(counts) == 1 else f"{counts[0]}-{counts[-1]}"
            table.add_row(f"{BETTER_ARROWS[info.better]} {info.title}", n, *(_format_rate(rate) for rate in rates))
    return table


def improvement_lines(summary: EvaluationSummary) -> list[str]:
    """Return one sentence per adapter: whether it is better than the base model in `correct`, with the figures.

    The p value is corrected for the number of pairs of models that were compared.
    """
    return [_improvement(test) for test in summary.tests if (test.metric, test.a) == (MAIN_METRIC, BASE)]


def _improvement(test: PairedTest) -> str:
    if test.difference is None or test.low is None or test.high is None:
        return f"{test.b} and {test.a} have no question in common for the metric `{test.metric}`."
    if test.p_holm < SIGNIFICANCE_LEVEL:
        result = f"is {'better' if test.difference > 0 else 'worse'} than {test.a}"
    else:
        result = f"is neither better nor worse than {test.a} beyond chance"
    points, low, high = (f"{100 * value:+.1f}" for value in (test.difference, test.low, test.high))
    return (
        f"{test.b} {result}: correct answers {points} points (95% interval {low} to {high}, "
        f"p {_format_p(test.p_holm)}, {test.n} questions)"
    )


def _format_p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _format_rate(rate: Rate | None) -> str:
    if rate is None or rate.rate is None or rate.low is None or rate.high is None:
        return "-"
    return f"{rate.rate:.0%} ({100 * rate.low:.0f}-{100 * rate.high:.0f})"


def _task_instances(api: AirflowApi, dag_id: str, run_id: str) -> list[TaskInstance]:
    return [
        TaskInstance(
            entry["task_id"],
            # Airflow shows the index as the name of an instance that has no name yet.
            str(entry["rendered_map_index"] or entry["map_index"]) if entry["map_index"] >= 0 else "",
            entry["map_index"] < 0 or entry["rendered_map_index"] not in (None, str(entry["map_index"])),
            entry["map_index"],
            entry["try_number"],
            entry["state"] or "waiting",
            entry["start_date"] or "",
        )
        for entry in api.task_instances(dag_id, run_id)
    ]


def _read_progress(run: RunFolder) -> list[ProgressState]:
    """Return the progress of all stages, with the oldest stage first."""
    paths = sorted(run.progress.glob("*.json"), key=lambda path: path.stat().st_ctime)
    return [ProgressState.model_validate(read_json(path)) for path in paths]


def _task_line(tasks: Sequence[TaskInstance]) -> Text:
    """Return the task IDs in order of their start times, each in the color of its state.

    A mapped task has failed if at least one instance has failed. Otherwise, it is running if at least one instance is
    running. In all other cases, its state is the most common state of its instances.
    """
    states: dict[str, Counter[str]] = {}
    for task in sorted(tasks, key=lambda task: task.started or "~"):  # "~" sorts after every timestamp
        states.setdefault(task.task_id, Counter())[task.state] += 1
    line = Text()
    for task_id, counts in states.items():
        urgent = next((state for state in (*FAILED_TASK_STATES, "running") if counts[state]), None)
        line.append(f"{task_id} ", style=STATE_STYLES.get(urgent or counts.most_common(1)[0][0], "dim"))
    return line


def _progress_table(stages: Sequence[ProgressState]) -> Table:
    table = Table.grid(padding=(0, 2))
    for stage in stages:
        bar = ProgressBar(total=max(1, stage.total), completed=stage.done, width=30)
        table.add_row(_stage_name(stage), bar, f"{stage.done}/{stage.total} {stage.unit}", _figures(stage))
    return table


def _stage_name(stage: ProgressState) -> str:
    return f"{stage.stage} {stage.label}".strip()


def _figures(stage: ProgressState) -> str:
    """Return the remaining time and the stage's nonzero figures, separated by commas."""
    remaining = [f"ETA {stage.eta_s} s"] if stage.state == "running" and stage.eta_s else []
    figures = [_format_figure(name, value) for name, value in stage.figures.items() if value]
    return ", ".join([*remaining, *figures])


def _format_figure(name: str, value: ProgressFigure) -> str:
    label = FIGURE_LABELS.get(name, name.replace("_", " "))
    return f"{label} {value:.3g}" if isinstance(value, float) else f"{label} {value}"


@dataclass
class _LinePrinter:
    """Prints a line whenever a task's state or a stage's progress changes. Used if the output is not a terminal."""

    console: Console
    _printed: set[str] = field(default_factory=set)
    _started: float = field(default_factory=time.monotonic)

    def print_changes(self, tasks: Sequence[TaskInstance], stages: Sequence[ProgressState]) -> None:
        """Print what has changed since the last call."""
        for task in tasks:
            # An instance of a mapped task gets its name shortly after it starts. If a line were printed before that,
            # it would show the index, and a second line with the name would follow.
            if task.state in FAILED_TASK_STATES or (task.is_named and task.state not in PENDING_TASK_STATES):
                # The name is not part of the key, because the name of an instance may change when the instance ends.
                self._print_once(f"task {task.task_id} {task.map_index} {task.state}", f"{task.name}: {task.state}")
        for stage in stages:
            name, figures = _stage_name(stage), _figures(stage)
            if not stage.total:
                continue
            part = PROGRESS_PARTS * stage.done // stage.total
            text = f"  {name}: {stage.done}/{stage.total} {stage.unit}" + (f" ({figures})" if figures else "")
            self._print_once(f"stage {name} {part}", text)

    def _print_once(self, key: str, text: str) -> None:
        if key not in self._printed:
            self._printed.add(key)
            elapsed = f"{time.monotonic() - self._started:5.0f} s"
            self.console.print(f"{elapsed}  {text}", highlight=False, markup=False, soft_wrap=True)
