"""Write an evaluation's results: answers, summaries, judgements, comparison files, annotation sheet and manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from insurance_rag.config import DecodingConfig, EvaluationConfig
from insurance_rag.core.artifacts import describe, manifest_path
from insurance_rag.core.files import write_json, write_jsonl
from insurance_rag.core.records import (
    Artifact,
    ContextSource,
    EvaluationArtifact,
    EvaluationSummary,
    JudgeSummary,
    RaterAgreement,
    RetrievalResult,
    ScoredAnswer,
)
from insurance_rag.evaluation.annotations import agreement, write_annotation_sheet
from insurance_rag.evaluation.comparison import write_comparisons
from insurance_rag.evaluation.summary import summarize


@dataclass(frozen=True)
class EvaluationRun:
    """The models, settings and measurements of an evaluation, without the answers."""

    base_model: str
    models: Sequence[str]
    """The base model and the adapters, in display order."""
    adapters: Mapping[str, Artifact]
    decoding: DecodingConfig
    config: EvaluationConfig
    retrieval: RetrievalResult
    contaminated: Mapping[str, int]
    """For each adapter, the number of questions about documents that the adapter was trained on."""
    labels: Mapping[str, bool] | None
    """Human labels by answer key; None without annotations. True means that the answer is hallucinated."""
    wall_seconds: float

    def suffix(self, source: ContextSource) -> str:
        """Return the file name suffix for a context source. It is empty for the first source."""
        return "" if source == self.config.contexts[0] else f"_{source}"


def write_results(
    out: Path, scored: Sequence[ScoredAnswer], run: EvaluationRun, progress: Path | None
) -> EvaluationArtifact:
    """Write all result files into `out`. The manifest is written last."""
    write_json(out / "retrieval.json", run.retrieval.model_dump(mode="json"))
    for source in reversed(run.config.contexts):  # end with the first: its rows and summary are used below
        rows = [row for row in scored if row.context_source == source]
        summary = _summary(source, rows, run, out, progress)
        suffix = run.suffix(source)
        write_jsonl(out / f"answers{suffix}.jsonl", (row.model_dump(mode="json") for row in rows))
        write_json(out / f"summary{suffix}.json", summary.model_dump(mode="json", exclude_none=False))
    write_comparisons(out, rows, summary)
    write_annotation_sheet(out / "labelling.csv", rows)
    return _write_manifest(out, summary, len(rows))


def _summary(
    source: ContextSource, rows: Sequence[ScoredAnswer], run: EvaluationRun, out: Path, progress: Path | None
) -> EvaluationSummary:
    figures = summarize(rows, run.models, run.config.warn_below, run.config.bootstrap_samples)
    notes = figures.notes + [
        f"{name} was trained on the documents that {n} of the questions are about; run validate with --questions and "
        "train again"
        for name, n in run.contaminated.items()
        if n
    ]
    judge, labels = judge_and_annotations(rows, run, out, progress)
    return EvaluationSummary(
        **{**dict(figures), "notes": notes},
        context=source,
        base_model=run.base_model,
        decoding=run.decoding.model_dump(mode="json"),
        config=run.config.model_dump(mode="json"),
        retrieval=run.retrieval.summary,
        contaminated=dict(run.contaminated),
        adapters=dict(run.adapters),
        wall_seconds=run.wall_seconds,
        judge=judge,
        labels=labels,
    )


def judge_and_annotations(
    rows: Sequence[ScoredAnswer], run: EvaluationRun, out: Path, progress: Path | None
) -> tuple[JudgeSummary | None, dict[str, RaterAgreement] | None]:
    """Return the judge's summary, and the agreement of each rater (checks, judge) with the human annotations.

    The summary is None if no judge is configured. The agreement is None if there are no annotations. Judgements are
    written into `out`.
    """
    judge = None
    flags = {"checks": [(row.key, row.model, row.hallucinated) for row in rows]}
    if run.config.judge:
        from insurance_rag.evaluation.judge import judge_answers, judged_rates

        judgements = judge_answers(rows, run.config.judge, out, progress)
        suffix = run.suffix(rows[0].context_source)
        write_jsonl(out / f"judgements{suffix}.jsonl", (j.model_dump(mode="json") for j in judgements))
        judge = JudgeSummary(name=run.config.judge, models=judged_rates(judgements, run.models))
        flags["judge"] = [(j.key, j.model, j.hallucinated) for j in judgements if j.hallucinated is not None]
    if not run.labels:
        return judge, None
    agreements = {
        rater: agreement(
            run.labels,
            {key: flag for key, _, flag in own},
            {model: [flag for _, of, flag in own if of == model] for model in run.models},
        )
        for rater, own in flags.items()
    }
    return judge, agreements


def _write_manifest(out: Path, summary: EvaluationSummary, rows: int) -> EvaluationArtifact:
    """Write the manifest for answers.jsonl and return the artifact that describes the folder `out`."""
    answers = describe(
        out / "answers.jsonl",
        EvaluationArtifact,
        rows=rows,
        questions=summary.questions,
        hallucination={name: model.rates["hallucination"] for name, model in summary.models.items()},
        notes=summary.notes,
        parents=list(summary.adapters.values()),
    )
    write_json(manifest_path(out / "answers.jsonl"), answers.model_dump(mode="json"))
    return answers.model_copy(update={"uri": str(out.resolve())})
