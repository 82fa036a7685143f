"""Builds the Markdown text of the page on which a person approves evaluation questions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import JsonValue

from insurance_rag.core.artifact_store.locations import public_uri
from insurance_rag.core.record_files import read_record
from insurance_rag.core.records import Question
from insurance_rag.core.records.questions import QuestionsArtifact, QuestionsReport
from insurance_rag.core.records.usage import RunUsage
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.orchestration.artifact_parts import localized, run_artifacts
from insurance_rag.orchestration.edition_text import edition_lines
from insurance_rag.orchestration.markdown import escape, quote_block, table
from insurance_rag.orchestration.review_links import questions_page

SAMPLES = 5


def questions_text(made: Mapping[str, JsonValue]) -> str:
    """Return the text for `made`, a QuestionsArtifact as plain JSON."""
    artifact = localized(QuestionsArtifact.model_validate(made))
    path = Path(artifact.uri)
    with run_artifacts(RunFolder(path.parents[1])):
        return _questions_text(artifact, path)


def _questions_text(artifact: QuestionsArtifact, path: Path) -> str:
    from insurance_rag.chunks import read_questions
    from insurance_rag.questions.set_files import read_report

    report = read_report(path)
    assert report is not None, "`questions make` writes the report before the artifact"
    kept = f" {artifact.kept_from_previous:,} are from the published set." if artifact.kept_from_previous else ""
    return "\n".join([
        f"**{artifact.questions:,}** questions in `{public_uri(path)}`.{kept} "
        f"[Review them one by one]({questions_page(path)}); what you decide there is applied if you approve.",
        "",
        *(f"- {escape(warning)}" for warning in artifact.warnings),
        "",
        *edition_lines(RunFolder(path.parents[1])),
        "#### Questions by kind",
        "",
        *_kinds(report),
        "",
        "#### Why candidates were not used",
        "",
        *_drops(report),
        "",
        "#### What it cost",
        "",
        _cost(Path(artifact.run)),
        "",
        *_samples(read_questions(path)),
    ])  # fmt: skip


def _kinds(report: QuestionsReport) -> Iterator[str]:
    kinds = report.kinds.items()
    rows = [(kind.replace("_", " "), f"{n.planned:,}", f"{n.made:,}", f"{n.kept:,}") for kind, n in kinds]
    return table(("kind", "planned", "candidates", "chosen"), rows)


def _drops(report: QuestionsReport) -> Iterator[str]:
    """Yield a table of the checks that rejected candidates, with what each check looks for."""
    dropped: Counter[str] = Counter()
    for counts in report.kinds.values():
        dropped.update(counts.dropped)
    if not dropped:
        yield "Every candidate passed the checks."
        return
    rows = []
    for name, n in dropped.most_common():
        info = report.checks.get(name)
        rows.append(
            (escape(info.title if info else name), f"{n:,}", escape(info.description.replace("`", "") if info else ""))
        )
    yield from table(("dropped", "candidates", "what it means"), rows)


def _cost(run: Path) -> str:
    from insurance_rag.generation.estimate import show_usd

    files = run.glob("round_*/parts/usage.json")
    usages = [read_record(path, RunUsage, "the usage of a run", "start a new run").total for path in files]
    calls, cost = sum(usage.calls for usage in usages), sum(usage.cost_usd for usage in usages)
    tokens_in, tokens_out = sum(usage.tokens_in for usage in usages), sum(usage.tokens_out for usage in usages)
    return f"{show_usd(cost)}, for {calls:,} calls with {tokens_in:,} tokens in and {tokens_out:,} out."


def _samples(questions: tuple[Question, ...] | list[Question]) -> Iterator[str]:
    """Yield a few questions, evenly spaced."""
    yield f"#### Samples ({min(SAMPLES, len(questions))} of {len(questions):,} questions)"
    for question in questions[:: max(1, len(questions) // SAMPLES)][:SAMPLES]:
        yield from ("", f"**{escape(question.question)}**", "")
        yield from quote_block(question.reference_answer or "-")
        yield from ("", f"*{escape(question.type)}*")
