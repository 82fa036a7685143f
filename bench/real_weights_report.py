"""The tables and curves of bench/real_weights.py, from the files that a run left."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from insurance_rag.core.files import read_json

RATES = (
    "faulty", "hallucination", "raw_hallucination", "false_refusal", "missed_refusal", "partial_refusal",
    "number_accuracy", "stop_cut", "empty",
)  # fmt: skip


def tables(results: Path) -> str:
    """Markdown of whatever is there yet."""
    lines: list[str] = []
    if (results / "results.json").exists():
        lines += _training(read_json(results / "results.json"))
    for name, title in (("summary.json", "with retrieved clauses"), ("summary_gold.json", "with the gold clauses")):
        if (results / name).exists():
            lines += _evaluation(read_json(results / name), title)
    if (results / "sweep.json").exists():
        lines += _sweep(read_json(results / "sweep.json"))
    return "\n".join(lines) + "\n"


def _table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> Iterator[str]:
    head = list(head)
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    yield from ("| " + " | ".join(map(str, row)) + " |" for row in rows)
    yield ""


def _rate(figures: dict[str, Any]) -> str:
    if not figures["n"]:
        return "-"
    return f"{_percent(figures['rate'])} [{_percent(figures['low'])}, {_percent(figures['high'])}] of {figures['n']}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _p(value: float | None) -> str:
    return "-" if value is None else "<.0001" if value < 0.0001 else f"{value:.4f}"


def _training(results: dict[str, Any]) -> Iterator[str]:
    yield f"## Training ({results['device']}, torch {results['torch']}; the three side by side on it)"
    yield ""
    columns = ("rows", "steps", "loss", "held-out loss at the end", "tokens/s", "peak GiB", "seconds", "layout")
    rows = []
    for version, t in results["training"].items():
        plan = t["plan"]
        layout = (
            f"{plan['per_device_train_batch_size']} rows x {plan['gradient_accumulation_steps']},"
            f" Liger {'on' if plan['use_liger_kernel'] else 'off'}"
        )
        figures = (
            t["dataset"]["rows"],
            t["steps"],
            t["loss"],
            t["eval_loss"],
            t["tokens_per_s"],
            t["peak_gib"],
            t["seconds"],
        )
        rows.append((version, *figures, layout))
    yield from _table(("", *columns), rows)
    if held := results.get("heldout"):
        yield f"Held-out loss of an answer token, before (Base) and after, on {held['rows']} rows of held-out clauses:"
        yield ""
        models = list(held["v1"])
        yield from _table(("prompt format", *models), ((f, *held[f].values()) for f in ("v1", "v2", "v3")))


def _evaluation(summary: dict[str, Any], title: str) -> Iterator[str]:
    yield f"## Answers, {title}"
    yield ""
    yield (
        f"{summary['questions']} questions, {summary['unanswerable']} of them unanswerable; % [95 % interval] of n. "
        + " ".join(summary["notes"])
    )
    yield ""
    models = summary["models"]
    yield from _table(("", *models), ((m, *(_rate(models[x]["rates"][m]) for x in models)) for m in RATES))
    yield "Paired tests on the same questions (McNemar exact; Holm over the pairs of a metric):"
    yield ""
    yield from _table(
        ("metric", "a", "b", "n", "only a", "only b", "b - a, points", "p", "p (Holm)"),
        (
            (
                t["metric"], t["a"], t["b"], t["n"], t["only_a"], t["only_b"],
                f"{_percent(t['difference'])} [{_percent(t['low'])}, {_percent(t['high'])}]",
                _p(t["p"]), _p(t["p_holm"]),
            )
            for t in summary["tests"]
        ),
    )  # fmt: skip
    yield "Findings: " + "; ".join(
        f"{name}: " + ", ".join(f"{k} {v}" for k, v in model["findings"].items()) for name, model in models.items()
    )
    yield ""


def _sweep(sweep: dict[str, Any]) -> Iterator[str]:
    halves = sweep["questions"]
    yield "## Decoding sweep"
    yield ""
    models, best = list(sweep["best"]), sweep["best"]
    for metric in ("faulty", "hallucination"):
        yield f"{metric} on the tuning half, {halves['tuning']} questions, % [95 % interval]; a model's choice in bold."
        yield ""
        rows = []
        for arm, by_model in sweep["tuning"].items():
            cells = [_rate(by_model[m][metric]).partition(" of")[0] for m in models]
            rows.append((arm, *(f"**{c}**" if best[m] == arm else c for m, c in zip(models, cells, strict=True))))
        yield from _table(("arm", *models), rows)
    yield (
        f"Hallucination before / after on the other half, {halves['report']} questions that no setting was chosen on. "
        + " ".join(sweep["notes"])
    )
    yield ""
    yield from _table(
        ("model", "before", "after", "default", "chosen", "chosen arm", "after - before, points", "p"),
        (
            (
                m,
                *(_rate(sweep["before_after"][m][arm]) for arm in ("before", "after", "default")),
                _rate(sweep["report"][best[m]][m]["hallucination"]),
                best[m],
                f"{_percent(t['difference'])} [{_percent(t['low'])}, {_percent(t['high'])}]",
                _p(t["p"]),
            )
            for m in models
            if (t := sweep["before_after"][m]["after_against_before"])
        ),
    )
    for metric in ("faulty", "false_refusal", "missed_refusal", "number_accuracy"):
        yield f"{metric} on the same half:"
        yield ""
        names = ("before", "after", "default")
        yield from _table(
            ("model", *names, "chosen"),
            ((m, *(_rate(sweep["report"][arm][m][metric]) for arm in (*names, best[m]))) for m in models),
        )


def write_report(results: Path, out: Path) -> None:
    """The tables, the JSON files and the loss curves (SVG) in OUT/real_weights/."""
    folder = out / "real_weights"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("results.json", "summary.json", "summary_gold.json", "sweep.json"):
        if (results / name).exists():
            shutil.copy(results / name, folder / name)
    (folder / "tables.md").write_text(tables(results), encoding="utf-8")
    _curves(read_json(results / "results.json")["training"], folder / "loss.svg")


def _curves(trainings: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(trainings), figsize=(4 * len(trainings), 3), sharey=True, layout="constrained")
    for axis, (version, training) in zip(axes, trainings.items(), strict=True):
        for key, label in (("loss", "training"), ("eval_loss", "held-out")):
            points = [(row["step"], row[key]) for row in training["loss_history"] if key in row]
            axis.plot(*zip(*points, strict=True), label=label, marker="o" if key == "eval_loss" else "", markersize=3)
        axis.set(title=version, xlabel="optimizer step", ylim=(0, None))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("loss of an answer token")
    axes[0].legend()
    figure.savefig(path, metadata={"Date": None})
