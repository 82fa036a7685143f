"""Tables for the arms of bench/real_weights.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bench.markdown import markdown_table, percent, percent_interval
from insurance_rag.core.files import read_json
from insurance_rag.core.records import Decision, EvaluationSummary
from insurance_rag.core.records.recipes import RecipeRate

METRICS = ("correct", "hallucination", "false_refusal", "missed_refusal", "number_accuracy", "faulty")
VIEWS = {"_gold": "with the gold chunks", "": "with retrieved chunks"}


def arm_tables(results: Path) -> str:
    """Return Markdown tables of everything in the results folder."""
    lines: list[str] = []
    for suffix, title in VIEWS.items():
        summary = EvaluationSummary.model_validate(read_json(results / f"summary{suffix}.json"))
        lines += [f"## Answers {title}", "", *_recipes(summary), *_adapters(summary), *_types(summary)]
    lines += ["## Decisions of the gate, with retrieved chunks", "", *_decisions(results)]
    return "\n".join(lines) + "\n"


def _recipes(summary: EvaluationSummary) -> Iterator[str]:
    yield "Mean over the seeds, % [95 % interval over seeds and clusters of questions]:"
    yield ""
    rows = (
        (name, *(_recipe_rate(recipe.rates.get(metric)) for metric in METRICS))
        for name, recipe in summary.recipes.items()
    )
    yield from markdown_table(("arm", *METRICS), rows)


def _adapters(summary: EvaluationSummary) -> Iterator[str]:
    yield "Each model, % [95 % interval]:"
    yield ""
    rows = (
        (
            name,
            *(percent_interval(model.rates[metric]) for metric in METRICS),
            f"{model.new_tokens / summary.questions:.0f}",
        )
        for name, model in summary.models.items()
    )
    yield from markdown_table(("model", *METRICS, "tokens per answer"), rows)


def _types(summary: EvaluationSummary) -> Iterator[str]:
    yield "Correct answers and false refusals by type of question, %:"
    yield ""
    types = next(iter(summary.models.values())).by_type
    head = [f"{kind}, {metric}" for kind in types for metric in ("correct", "false_refusal")]
    rows = (
        (name, *(percent(model.by_type[k][m].rate) for k in types for m in ("correct", "false_refusal")))
        for name, model in summary.models.items()
    )
    yield from markdown_table(("model", *head), rows)


def _decisions(results: Path) -> Iterator[str]:
    rows = []
    for name, value in read_json(results / "decisions.json").items():
        challenger = Decision.model_validate(value).challengers[name]
        failed = "; ".join(rule.text for rule in challenger.rules if rule.outcome != "pass")
        rows.append((name, challenger.decision, failed or "-"))
    yield from markdown_table(("adapter", "decision", "rules that are not passed"), rows)


def _recipe_rate(rate: RecipeRate | None) -> str:
    return "-" if rate is None else f"{percent(rate.mean)} [{percent(rate.low)}, {percent(rate.high)}]"
