"""Collect the contents of a report from the files in a run folder."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from insurance_rag.core.records import Decision, GenerationEstimate, ProgressState
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.report.evaluation_section import read_evaluation, read_sweep
from insurance_rag.report.funnel_section import read_funnel
from insurance_rag.report.questions_section import read_chunks, read_questions
from insurance_rag.report.reader import Reader
from insurance_rag.report.training_section import read_training
from insurance_rag.report.usage_section import read_run_usage, read_usage
from insurance_rag.report.view import Report, StageProgress

SILENT_AFTER_S = 120
"""After this many seconds without an update, the page shows that a running stage may have been killed."""

#: Stages in the order in which a run executes them.
STAGES = ("plan", "generate", "validate", "pretrain", "train", "evaluate", "promote", "report")


def collect(run: RunFolder, name: str | None = None) -> Report:
    """Read the whole run folder. A section without files is None; unreadable files are listed in `problems`."""
    reader = Reader(run.root)
    stages = read_stages(reader, run)
    questions = read_questions(reader, run)
    run_usage = read_run_usage(reader, run)
    usage = read_usage(reader, run, stages, run_usage)
    funnel = read_funnel(reader, run)
    return Report(
        name=name or run.root.resolve().name,
        generated=datetime.now(UTC).astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        stages=stages,
        decision=read_decision(reader, run),
        evaluation=read_evaluation(reader, run),
        sweep=read_sweep(reader, run),
        funnel=funnel,
        usage=usage,
        run_usage=run_usage,
        estimate=reader.record(run.estimate, GenerationEstimate),
        incomplete=bool(funnel and any(s.state != "done" for s in usage or ())),
        training=read_training(reader, run),
        questions=questions,
        chunks=read_chunks(reader, run, questions or ()),
        # These two come last, because reading the sections above adds to them.
        problems=reader.problems,
        unreadable=sorted(reader.unreadable),
    )


def collect_live(run: RunFolder) -> Report:
    """Read only what changes while a run is in progress: the progress files and the usage per shard."""
    reader = Reader(run.root)
    stages = read_stages(reader, run)
    run_usage = read_run_usage(reader, run)
    return Report(
        name="",
        generated="",
        stages=stages,
        usage=read_usage(reader, run, stages, run_usage),
        run_usage=run_usage,
        estimate=reader.record(run.estimate, GenerationEstimate),
        unreadable=sorted(reader.unreadable),
    )


def read_decision(reader: Reader, run: RunFolder) -> Decision | None:
    """Return the promotion gate's decision, or None if there is none yet."""
    return reader.record(run.evaluation / "decision.json", Decision)


def read_stages(reader: Reader, run: RunFolder) -> list[StageProgress]:
    """Return the progress of each stage, in the order in which a run executes them."""
    states = [reader.record(path, ProgressState) for path in sorted(run.progress.glob("*.json"))]
    ordered = sorted((state for state in states if state), key=lambda s: (_position(s.stage), s.label))
    return [StageProgress(state=state, silent_s=_silent_s(state)) for state in ordered]


def _position(stage: str) -> int:
    return STAGES.index(stage) if stage in STAGES else len(STAGES)


def _silent_s(state: ProgressState) -> int | None:
    silent = time.time() - state.updated
    return round(silent) if state.state == "running" and silent > SILENT_AFTER_S else None
