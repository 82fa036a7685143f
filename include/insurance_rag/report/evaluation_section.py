"""Read the comparison of the models: rates, paired tests, breakdowns, findings and the sweep of decoding settings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from pathlib import Path

from insurance_rag.core.records import CheckInfo, EvaluationSummary, MetricInfo, Rate, SweepSummary
from insurance_rag.core.records.general_text import GeneralText
from insurance_rag.core.records.retrieval import RetrievalSummary
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.report.formatting import percent, plain_facts
from insurance_rag.report.reader import Reader
from insurance_rag.report.recipes_section import recipe_spreads
from insurance_rag.report.texts import page_text
from insurance_rag.report.verifier_section import verifier_table
from insurance_rag.report.view import (
    GOLD,
    Evaluation,
    GeneralTextTable,
    GroupRates,
    Label,
    MetricLabel,
    ModelRates,
    PerplexityRow,
    Sweep,
)

SWEEP_METRIC = "hallucination"
"""Metric that a sweep compares before and after."""

DEFAULT_RECOMMENDED_QUESTIONS = 200


def read_evaluation(reader: Reader, run: RunFolder) -> Evaluation | None:
    """Return the comparison of answers from the retrieved chunks, and the rates for the gold chunks.

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


def _compared(summary: EvaluationSummary) -> list[str]:
    """Return the metrics in which the models are compared, most important first. The first one is the headline."""
    return [name for name, metric in summary.metrics.items() if metric.compared]


def _rates(summary: EvaluationSummary, gold: EvaluationSummary | None) -> dict[str, dict[str, Rate]]:
    """Return all rates by model and metric, including those of the compared metrics for the gold chunks."""
    rates = {name: dict(model.rates) for name, model in summary.models.items()}
    for name, model in gold.models.items() if gold else ():
        if name in rates:
            given = {f"{GOLD}{metric}": model.rates[metric] for metric in _compared(summary) if metric in model.rates}
            rates[name].update(given)
    return rates


def _model_rates(rates: Mapping[str, dict[str, Rate]]) -> list[ModelRates]:
    return [ModelRates(name=name, rates=of) for name, of in rates.items()]


def _headlines(summary: EvaluationSummary, known: Container[str]) -> list[str]:
    """Return the metrics to show first: the compared ones, and the main one for the gold chunks after the main one."""
    first, *others = _compared(summary) or [""]
    return [metric for metric in (first, f"{GOLD}{first}", *others) if metric in known]


def _evaluation(summary: EvaluationSummary, gold: EvaluationSummary | None) -> Evaluation:
    rates = _rates(summary, gold)
    labels = {name: _metric_label(metric) for name, metric in summary.metrics.items()}
    labels |= {f"{GOLD}{name}": _given_gold(label) for name, label in labels.items()}
    known = dict.fromkeys(metric for of in rates.values() for metric in of)
    headlines = _headlines(summary, known)
    return Evaluation(
        questions=summary.questions,
        few_questions=_recommended_if_few(summary),
        contaminated={name: n for name, n in summary.contaminated.items() if n},
        clusters=_clusters(rates, headlines),
        design_effect=summary.design_effect,
        setup=_setup(summary),
        metrics=headlines,
        further=[metric for metric in known if metric not in headlines and _was_measured(rates, metric)],
        labels=labels,
        checks={name: _check_label(check) for name, check in summary.checks.items()},
        models=_model_rates(rates),
        formats=summary.prompt_formats,
        assumed_formats=summary.assumed_formats,
        tests=summary.tests,
        recipes=recipe_spreads(summary),
        general_text=_general_text(summary.general_text) if summary.general_text else None,
        groups={
            "type": _groups({name: model.by_type for name, model in summary.models.items()}),
            "product": _groups({name: model.by_product for name, model in summary.models.items()}),
        },
        retrievers=_retrievers(summary.retrieval),
        retriever_warnings=summary.retrieval.warnings,
        verifier=verifier_table(summary.verifier) if summary.verifier else None,
        findings=_counts({name: model.findings for name, model in summary.models.items()}),
        problems=_counts({name: model.problems for name, model in summary.models.items()}),
        problem_kinds={
            kind: Label(title=info.title, title_ko=info.title_ko) for kind, info in summary.problems.items()
        },
    )


def _general_text(measured: GeneralText) -> GeneralTextTable:
    rows = [
        PerplexityRow(model=name, perplexity=found.perplexity, ratio=found.against_base)
        for name, found in measured.models.items()
    ]
    return GeneralTextTable(windows=len(measured.window_tokens), tokens=measured.tokens, rows=rows)


def _was_measured(rates: Mapping[str, Mapping[str, Rate]], metric: str) -> bool:
    """Return whether the metric applies to an answer of any model."""
    return any(of[metric].n for of in rates.values() if metric in of)


def _clusters(rates: Mapping[str, Mapping[str, Rate]], metrics: Sequence[str]) -> int | None:
    """Return the largest number of clusters in which the questions of a headline metric are grouped."""
    found = [rate.clusters for of in rates.values() for name, rate in of.items() if name in metrics and rate.clusters]
    return max(found, default=None)


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


def _groups(by_model: Mapping[str, Mapping[str, Mapping[str, Rate]]]) -> list[GroupRates]:
    """Return the rates by group, model and metric. `by_model` maps model -> group -> metric -> rate."""
    values = dict.fromkeys(value for groups in by_model.values() for value in groups)
    return [
        GroupRates(
            value=value, rates={name: dict(groups[value]) for name, groups in by_model.items() if value in groups}
        )
        for value in values
    ]


def _counts(by_model: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """Return the number of answers by check or kind of problem, and model. The most frequent one comes first."""
    total: Counter[str] = Counter()
    for counts in by_model.values():
        total.update(counts)
    return {name: {model: counts.get(name, 0) for model, counts in by_model.items()} for name, _ in total.most_common()}


def _setup(summary: EvaluationSummary) -> dict[str, str]:
    """Return the evaluation settings, duration and retrieval scores that are shown below the comparison."""
    formats = ", ".join(f"{model} {prompt_format}" for model, prompt_format in summary.prompt_formats.items())
    model = {"base_model": Path(summary.base_model).name, "prompt_formats": formats}
    facts = {**model, "seconds": summary.wall_seconds, **summary.decoding}
    recall = {name: percent(score.value) for name, score in summary.retrieval.scores.items()}
    return plain_facts({**facts, **recall})


def _retrievers(measured: RetrievalSummary) -> dict[str, dict[str, float]]:
    """Return the scores of the retriever and of its parts; empty if it has no parts."""
    if not measured.parts:
        return {}
    scores = {"all": measured.scores, **measured.parts}
    return {
        name: {score: each.value for score, each in of.items() if each.value is not None} for name, of in scores.items()
    }


def read_sweep(reader: Reader, run: RunFolder) -> Sweep | None:
    """Return the comparison of decoding settings that `sweep --out RUN/evaluation` wrote."""
    path = run.evaluation / "sweep.json"
    sweep = reader.record(path, SweepSummary)
    return None if sweep is None else reader.section(path, _sweep, sweep)


def _sweep(sweep: SweepSummary) -> Sweep:
    def arms(metric: str) -> dict[str, dict[str, Rate]]:
        return {
            model: {
                arm: rates[model][metric]
                for arm, rates in sweep.report.items()
                if model in rates and metric in rates[model]
            }
            for model in sweep.best
        }

    return Sweep(
        questions=sweep.questions.report,
        arms=arms(SWEEP_METRIC),
        correct=arms("correct"),
        best=sweep.best,
        p={model: row.after_against_before.p for model, row in sweep.before_after.items()},
    )
