"""Write an evaluation's results: answers, summaries, judgements, comparison files, annotation sheet and manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import get_args

from insurance_rag.core.artifacts import describe, manifest_path
from insurance_rag.core.files import write_json, write_jsonl
from insurance_rag.core.records import (
    ContextSource,
    EvaluationArtifact,
    EvaluationSummary,
    PromptChoice,
    ScoredAnswer,
)
from insurance_rag.evaluation.annotations import Annotations, write_annotation_sheet
from insurance_rag.evaluation.comparison import write_comparisons
from insurance_rag.evaluation.generated import EvaluationRun
from insurance_rag.evaluation.judge import Judgement
from insurance_rag.evaluation.raters import agreements, run_judge
from insurance_rag.evaluation.recipes import compare_all_recipes, summarize_recipes
from insurance_rag.evaluation.summary import summarize


@dataclass(frozen=True)
class View:
    """The answers to compare with each other: one context source, and one choice of prompt formats."""

    source: ContextSource
    prompt: PromptChoice
    formats: Mapping[str, str]
    """Model -> prompt format."""
    suffix: str
    """Suffix of the names of the result files. It is empty for the main results."""

    def rows(self, scored: Sequence[ScoredAnswer]) -> list[ScoredAnswer]:
        """Return the answers that belong to this view."""
        return [
            row for row in scored if row.context_source == self.source and row.prompt_format == self.formats[row.model]
        ]


def make_views(run: EvaluationRun) -> list[View]:
    """Return one view per context source and choice of prompt formats. The first one has the main results."""
    first_source, first_prompt = run.config.contexts[0], next(iter(run.prompt_formats))
    return [
        View(
            source,
            prompt,
            formats,
            "".join(f"_{name}" for name in (source, prompt) if name not in (first_source, first_prompt)),
        )
        for source in run.config.contexts
        for prompt, formats in run.prompt_formats.items()
    ]


def write_results(
    out: Path,
    scored: Sequence[ScoredAnswer],
    run: EvaluationRun,
    labels: Annotations | None,
    progress: Path | None,
) -> EvaluationArtifact:
    """Write all result files into `out`. The manifest is written last.

    `labels` are human labels; None without annotations.
    """
    views = make_views(run)
    _remove_outdated(out, views)
    for view in reversed(views):  # end with the main results: their rows and summary are used below
        rows = view.rows(scored)
        summary = _summary(view, rows, run, labels, out, progress)
        write_jsonl(out / f"answers{view.suffix}.jsonl", (row.model_dump(mode="json") for row in rows))
        write_json(out / f"summary{view.suffix}.json", summary.model_dump(mode="json", exclude_none=False))
    write_comparisons(out, rows, summary)
    write_annotation_sheet(out / "labelling.csv", rows)
    return _write_manifest(out, summary, len(rows))


def _remove_outdated(out: Path, views: Sequence[View]) -> None:
    """Remove the results of other views, which an evaluation with other settings wrote into the same folder.

    Otherwise, the report would show them next to the new results.
    """
    sources, prompts = (["", *(f"_{name}" for name in get_args(kind))] for kind in (ContextSource, PromptChoice))
    current = {view.suffix for view in views}
    for suffix in {f"{source}{prompt}" for source, prompt in product(sources, prompts)} - current:
        for name in (f"answers{suffix}.jsonl", f"summary{suffix}.json", f"judgements{suffix}.jsonl"):
            (out / name).unlink(missing_ok=True)


def _summary(
    view: View,
    rows: Sequence[ScoredAnswer],
    run: EvaluationRun,
    labels: Annotations | None,
    out: Path,
    progress: Path | None,
) -> EvaluationSummary:
    figures = summarize(rows, run.models, run.config.warn_below)
    notes = figures.notes + [
        f"{name} was trained on the documents that {n} of the questions are about; run validate with --questions and "
        "train again"
        for name, n in run.contaminated.items()
        if n
    ]
    notes += [
        f"{name} has no training.json, so its prompt format is unknown; it was asked in {view.formats[name]}"
        for name in run.assumed_formats
    ]
    judge, judgements = None, list[Judgement]()
    if run.config.judge:
        judge, judgements = run_judge(rows, run.config.judge, run.models, out, view.suffix, progress)
    return EvaluationSummary(
        **{**dict(figures), "notes": notes},
        context=view.source,
        prompt=view.prompt,
        prompt_formats=dict(view.formats),
        assumed_formats=run.assumed_formats,
        base_model=run.base_model,
        decoding=run.decoding.model_dump(mode="json"),
        config=run.config.model_dump(mode="json"),
        retrieval=run.retrieval,
        contaminated=run.contaminated,
        adapters=run.adapters,
        recipes=summarize_recipes(rows, run.recipes),
        recipe_tests=compare_all_recipes(rows, run.recipes),
        general_text=run.general_text,
        general_tasks=run.general_tasks,
        wall_seconds=run.wall_seconds,
        judge=judge,
        labels=(agreements(rows, run.models, labels, judgements) or None) if labels else None,
        verifier=run.verifier.calibration if run.verifier else None,
    )


def _write_manifest(out: Path, summary: EvaluationSummary, rows: int) -> EvaluationArtifact:
    """Write the manifest for answers.jsonl and return its content."""
    answers = describe(
        out / "answers.jsonl",
        EvaluationArtifact,
        rows=rows,
        questions=summary.questions,
        correct={name: model.rates["correct"] for name, model in summary.models.items()},
        hallucination={name: model.rates["hallucination"] for name, model in summary.models.items()},
        notes=summary.notes,
        parents=list(summary.adapters.values()),
    )
    write_json(manifest_path(out / "answers.jsonl"), answers.model_dump(mode="json"))
    return answers
