"""Read the comparison of the models: rates, paired tests, breakdowns, findings and the sweep of decoding settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from insurance_rag.core.records import CheckInfo, EvaluationSummary, MetricInfo, ModelSummary, Rate, SweepSummary
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.report.formatting import percent, plain_facts
from insurance_rag.report.reader import Reader
from insurance_rag.report.recipes_section import recipe_spreads
from insurance_rag.report.texts import page_text
from insurance_rag.report.view import Evaluation, GroupRates, Label, MetricLabel, ModelRates, Sweep

MAIN_METRIC = "hallucination"

#: Metrics that are shown first, in this order; any other metrics with a paired test follow. `empty` is included because
#: empty answers contain no hallucinations, but a model must not win with them.
HEADLINES = (
    "hallucination", "gold_hallucination", "raw_hallucination", "false_refusal", "missed_refusal", "number_accuracy",
    "empty",
)  # fmt: skip

DEFAULT_RECOMMENDED_QUESTIONS = 200


def read_evaluation(reader: Reader, run: RunFolder) -> Evaluation | None:
    """Return the comparison of answers from the retrieved chunks, and the hallucination rates for the gold chunks.

    If the models were asked in their own prompt formats and in `rag`, the rates for `rag` are returned, too.
    """
    summary, gold, rag, gold_rag = (
        reader.record(run.evaluation / f"summary{suffix}.json", EvaluationSummary)
        for suffix in ("", "_gold", "_rag", "_gold_rag")
    )
    if summary is None:
        return None
    asked_in_rag = _model_rates(_rates(rag, gold_rag)) if rag else []
    return _evaluation(summary, gold).model_copy(update={"asked_in_rag": asked_in_rag})


def _rates(summary: EvaluationSummary, gold: EvaluationSummary | None) -> dict[str, dict[str, Rate]]:
    """Return all rates by model and metric, including the hallucination rates for the gold chunks."""
    rates = {name: dict(model.rates) for name, model in summary.models.items()}
    for name, model in gold.models.items() if gold else ():
        if name in rates and MAIN_METRIC in model.rates:
            rates[name][f"gold_{MAIN_METRIC}"] = model.rates[MAIN_METRIC]
    return rates


def _model_rates(rates: Mapping[str, dict[str, Rate]]) -> list[ModelRates]:
    return [ModelRates(name=name, rates=of) for name, of in rates.items()]


def _evaluation(summary: EvaluationSummary, gold: EvaluationSummary | None) -> Evaluation:
    rates = _rates(summary, gold)
    labels = {name: _metric_label(metric) for name, metric in summary.metrics.items()}
    if gold and MAIN_METRIC in labels:
        labels[f"gold_{MAIN_METRIC}"] = _given_gold(labels[MAIN_METRIC])
    known = dict.fromkeys(metric for of in rates.values() for metric in of)
    compared = [name for name, metric in summary.metrics.items() if metric.compared]
    headlines = [metric for metric in dict.fromkeys((*HEADLINES, *compared)) if metric in known]
    return Evaluation(
        questions=summary.questions,
        few_questions=_recommended_if_few(summary),
        contaminated={name: n for name, n in summary.contaminated.items() if n},
        setup=_setup(summary),
        metrics=headlines,
        further=[metric for metric in known if metric not in headlines],
        labels=labels,
        checks={name: _check_label(check) for name, check in summary.checks.items()},
        models=_model_rates(rates),
        formats=summary.prompt_formats,
        assumed_formats=summary.assumed_formats,
        tests=summary.tests,
        recipes=recipe_spreads(summary),
        groups={
            "type": _groups({name: model.by_type for name, model in summary.models.items()}),
            "product": _groups({name: model.by_product for name, model in summary.models.items()}),
        },
        findings=_findings(summary.models),
    )


def _metric_label(metric: MetricInfo) -> MetricLabel:
    return MetricLabel(
        title=metric.title, title_ko=metric.title_ko, description=metric.description, better=metric.better
    )


def _check_label(check: CheckInfo) -> Label:
    return Label(title=check.title, title_ko=check.title_ko, description=check.description)


def _given_gold(label: MetricLabel) -> MetricLabel:
    titles = {
        "title": f"{label.title} ({page_text('given_gold', 'en')})",
        "title_ko": f"{label.title_ko} ({page_text('given_gold', 'ko')})",
    }
    return label.model_copy(update=titles)


def _recommended_if_few(summary: EvaluationSummary) -> int | None:
    recommended = summary.config.get("warn_below")
    wanted = recommended if isinstance(recommended, int) else DEFAULT_RECOMMENDED_QUESTIONS
    return wanted if summary.questions < wanted else None


def _groups(by_model: Mapping[str, Mapping[str, Mapping[str, object]]]) -> list[GroupRates]:
    """Return the main metric by group and model. `by_model` maps model -> group -> metric -> rate."""
    values = dict.fromkeys(value for groups in by_model.values() for value in groups)
    return [
        GroupRates.model_validate(
            {
                "value": value,
                "rates": {
                    name: groups[value][MAIN_METRIC]
                    for name, groups in by_model.items()
                    if MAIN_METRIC in groups.get(value, {})
                },
            }
        )
        for value in values
    ]


def _findings(models: Mapping[str, ModelSummary]) -> dict[str, dict[str, int]]:
    checks = dict.fromkeys(check for model in models.values() for check in model.findings)
    return {check: {name: model.findings.get(check, 0) for name, model in models.items()} for check in checks}


def _setup(summary: EvaluationSummary) -> dict[str, str]:
    """Return the evaluation settings, duration and retrieval scores that are shown below the comparison."""
    formats = ", ".join(f"{model} {prompt_format}" for model, prompt_format in summary.prompt_formats.items())
    model = {"base_model": Path(summary.base_model).name, "prompt_formats": formats}
    facts = {**model, "seconds": summary.wall_seconds, **summary.decoding}
    recall = {name: percent(score.value) for name, score in summary.retrieval.scores.items()}
    return plain_facts({**facts, **recall})


def read_sweep(reader: Reader, run: RunFolder) -> Sweep | None:
    """Return the comparison of decoding settings that `sweep --out RUN/evaluation` wrote."""
    path = run.evaluation / "sweep.json"
    sweep = reader.record(path, SweepSummary)
    return None if sweep is None else reader.section(path, _sweep, sweep)


def _sweep(sweep: SweepSummary) -> Sweep:
    return Sweep(
        questions=sweep.questions.report,
        arms={
            model: {arm: rates[model][MAIN_METRIC] for arm, rates in sweep.report.items() if model in rates}
            for model in sweep.best
        },
        best=sweep.best,
        p={model: row.after_against_before.p for model, row in sweep.before_after.items()},
    )
