"""Write the tables and loss curves for a run of bench/real_weights.py."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import JsonValue

from bench.markdown import markdown_table, percent, percent_interval
from insurance_rag.core.files import read_json
from insurance_rag.core.records import (
    EvaluationSummary,
    LossRow,
    PairedDifference,
    PairedTest,
    Rate,
    Record,
    SweepSummary,
    TrainingManifest,
)

VIEWS = {
    "": "with retrieved chunks, in the models' own prompt formats",
    "_gold": "with the gold chunks, in the models' own prompt formats",
    "_rag": "with retrieved chunks, all models in the prompt format `rag`",
    "_gold_rag": "with the gold chunks, all models in the prompt format `rag`",
}
"""Suffix of the result files -> title of their table."""
FILES = ("results.json", "generated.json.gz", "sweep.json", *(f"summary{suffix}.json" for suffix in VIEWS))
METRICS = (
    "correct", "raw_correct", "faulty", "hallucination", "raw_hallucination", "false_refusal", "missed_refusal",
    "partial_refusal", "number_accuracy", "stop_cut", "empty",
)  # fmt: skip
PRESETS = ("before", "after", "default")
VERSIONS = ("v1", "v2", "v3")


class TrainingResult(TrainingManifest):
    """The manifest of a training run with its loss history."""

    fallback: dict[str, JsonValue]
    """Settings that the successful attempt at training added to the recipe; empty if the first attempt succeeded."""
    loss_history: list[LossRow]

    @property
    def manifest(self) -> dict[str, JsonValue]:
        """The manifest without the loss history."""
        return self.model_dump(mode="json", exclude={"fallback", "loss_history"})


class RealWeightsResults(Record):
    """The content of results.json."""

    device: str
    torch: str
    training: dict[str, TrainingResult]
    dataset: dict[str, int]
    """Dataset file -> number of rows."""
    heldout: dict[str, JsonValue] | None = None
    """Version of the prompt format -> model -> loss on the held-out rows. The key `rows` holds the number of rows."""
    sweep_max_new_tokens: int | None = None
    parts: dict[str, dict[str, JsonValue]]
    """Section of the benchmark -> its duration in seconds and, if it failed, its error."""
    settings: dict[str, JsonValue]
    """Settings that override those of the recipes."""
    adapters: list[str]


def tables(results: Path) -> str:
    """Return Markdown tables of the results. Reads only the files in `results` that FILES names."""
    lines: list[str] = []
    if (results / "results.json").exists():
        lines += _training(RealWeightsResults.model_validate(read_json(results / "results.json")))
    for suffix, title in VIEWS.items():
        if (path := results / f"summary{suffix}.json").exists():
            lines += _evaluation(EvaluationSummary.model_validate(read_json(path)), title)
    if (results / "sweep.json").exists():
        sweep = SweepSummary.model_validate(read_json(results / "sweep.json"))
        lines += [*_tuning_half(sweep), *_report_half(sweep)]
    return "\n".join(lines) + "\n"


def _rate(rate: Rate) -> str:
    return f"{percent_interval(rate)} of {rate.n}" if rate.n else "-"


def _points(test: PairedDifference) -> str:
    return f"{percent(test.difference)} [{percent(test.low)}, {percent(test.high)}]"


def _p(value: float) -> str:
    return "<.0001" if value < 0.0001 else f"{value:.4f}"


def _training(results: RealWeightsResults) -> Iterator[str]:
    yield f"## Training ({results.device}, torch {results.torch}; all at the same time)"
    yield ""
    columns = ("rows", "steps", "loss", "held-out loss at the end", "tokens/s", "peak GiB", "seconds", "layout")
    rows = []
    for version, t in results.training.items():
        plan = t.plan
        liger = "on" if plan.use_liger_kernel else "off"
        layout = f"{plan.per_device_train_batch_size} rows x {plan.gradient_accumulation_steps}, Liger {liger}"
        figures = (t.dataset.rows, t.steps, t.loss, t.eval_loss, t.tokens_per_s, t.peak_gib, t.seconds)
        rows.append((version, *figures, layout))
    yield from markdown_table(("", *columns), rows)
    if held := results.heldout:
        losses = {version: by_model for version in VERSIONS if isinstance(by_model := held[version], dict)}
        yield f"Held-out loss per answer token before (Base) and after training, on {held['rows']} held-out rows:"
        yield ""
        yield from markdown_table(("prompt format of", *losses["v1"]), ((v, *losses[v].values()) for v in losses))


def _evaluation(summary: EvaluationSummary, title: str) -> Iterator[str]:
    yield f"## Answers, {title}"
    yield ""
    notes = " ".join(summary.notes)
    yield f"{summary.questions} questions, {summary.unanswerable} of them unanswerable; % [95 % interval] of n. {notes}"
    yield ""
    models = summary.models
    rows = ((metric, *(_rate(models[m].rates[metric]) for m in models)) for metric in METRICS)
    columns = tuple(f"{m} ({summary.prompt_formats[m]})" for m in models)
    yield from markdown_table(("", *columns), rows)
    yield "Correct answers by type of question:"
    yield ""
    types = next(iter(models.values())).by_type
    by_type = ((kind, *(_rate(models[m].by_type[kind]["correct"]) for m in models)) for kind in types)
    yield from markdown_table(("", *columns), by_type)
    yield "Paired tests on the same questions (sign-flip test over clusters; Holm over the pairs of a metric):"
    yield ""
    head = ("metric", "a", "b", "n", "only a", "only b", "b - a, points", "p", "p (Holm)")
    yield from markdown_table(head, map(_test_row, summary.tests))
    for title, counts in (
        ("Findings", {name: model.findings for name, model in models.items()}),
        ("Problems of the answers that are not correct", {name: model.problems for name, model in models.items()}),
    ):
        parts = (f"{name}: " + ", ".join(f"{kind} {n}" for kind, n in found.items()) for name, found in counts.items())
        yield f"{title}: " + "; ".join(parts)
        yield ""


def _test_row(test: PairedTest) -> tuple[object, ...]:
    return (
        test.metric, test.a, test.b, test.n, test.only_a, test.only_b, _points(test), _p(test.p), _p(test.p_holm),
    )  # fmt: skip


def _tuning_half(sweep: SweepSummary) -> Iterator[str]:
    yield "## Decoding sweep"
    yield ""
    models, best = list(sweep.best), sweep.best
    for metric in ("correct", "faulty", "hallucination"):
        yield (
            f"{metric} on the tuning half, {sweep.questions.tuning} questions, % [95 % interval]; the chosen arm of a "
            "model in bold."
        )
        yield ""
        rows = []
        for arm, by_model in sweep.tuning.items():
            cells = {m: percent_interval(by_model[m][metric]) for m in models}
            rows.append((arm, *(f"**{cells[m]}**" if best[m] == arm else cells[m] for m in models)))
        yield from markdown_table(("arm", *models), rows)


def _report_half(sweep: SweepSummary) -> Iterator[str]:
    models, best = list(sweep.best), sweep.best
    yield (
        f"Hallucination before / after on the report half, {sweep.questions.report} questions on which no setting was "
        f"chosen. {' '.join(sweep.notes)}"
    )
    yield ""
    rows = []
    for m in models:
        row, test = sweep.before_after[m], sweep.before_after[m].after_against_before
        chosen = sweep.report[best[m]][m]["hallucination"]
        rates = (_rate(rate) for rate in (row.before, row.after, row.default, chosen))
        rows.append((m, *rates, best[m], _points(test), _p(test.p)))
    yield from markdown_table(("model", *PRESETS, "chosen", "chosen arm", "after - before, points", "p"), rows)
    for metric in ("correct", "faulty", "false_refusal", "missed_refusal", "number_accuracy"):
        yield f"{metric} on the same half:"
        yield ""
        found = ((m, *(_rate(sweep.report[arm][m][metric]) for arm in (*PRESETS, best[m]))) for m in models)
        yield from markdown_table(("model", *PRESETS, "chosen"), found)


def write_report(results: Path, out: Path) -> None:
    """Write tables.md and loss.svg to `out`/real_weights, and copy the summaries and the answers there."""
    folder = out / "real_weights"
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        if (results / name).exists() and results.resolve() != folder.resolve():
            shutil.copy(results / name, folder / name)
    (folder / "tables.md").write_text(tables(results), encoding="utf-8")
    _curves(RealWeightsResults.model_validate(read_json(results / "results.json")).training, folder / "loss.svg")


def _curves(trainings: Mapping[str, TrainingResult], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(trainings), figsize=(4 * len(trainings), 3), sharey=True, layout="constrained")
    for axis, (version, training) in zip(axes, trainings.items(), strict=True):
        history = training.loss_history
        loss = [(row.step, row.loss) for row in history if row.loss is not None]
        heldout = [(row.step, row.eval_loss) for row in history if row.eval_loss is not None]
        axis.plot(*zip(*loss, strict=True), label="training", markersize=3)
        axis.plot(*zip(*heldout, strict=True), label="held-out", marker="o", markersize=3)
        axis.set(title=version, xlabel="optimizer step", ylim=(0, None))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("loss per answer token")
    axes[0].legend()
    figure.savefig(path, metadata={"Date": None})
