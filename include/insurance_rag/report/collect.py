"""Everything the report shows, from the files of a run folder alone."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from insurance_rag.core.artifacts import manifest_path
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.report.evaluation_section import (
    read_clauses,
    read_evaluation,
    read_questions,
    read_sweep,
    read_verdict,
)
from insurance_rag.report.reader import Reader, plain_facts
from insurance_rag.report.view import Band, Book, Drift, Drop, Funnel, Job, Portion, Report, Training

#: Samples shown of each reason.
SAMPLES = 3

#: A running stage that says nothing for so long may have been killed: the page says since when.
SILENT_S = 120

#: Plain values of the dataset's report that are shown elsewhere or twice.
NO_FACTS = ("rows", "kept", "unanswerable_share", "distractor_share")

#: The order in which a run works.
STAGES = ("plan", "generate", "validate", "pretrain", "train", "evaluate", "promote", "report")


def collect(run: RunFolder, name: str | None = None) -> Report:
    """Read the folder. What is missing is None, what is unreadable is named in `problems`."""
    reader = Reader(run.root)
    jobs = read_jobs(reader, run)
    questions = read_questions(reader, run)
    wanted = {chunk_id for q in questions or () for chunk_id in (*q.gold, *q.retrieved)}
    books = read_books(reader, run, jobs)
    funnel = read_funnel(reader, run)
    return Report(
        name=name or run.root.resolve().name,
        made=datetime.now(UTC).astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        jobs=jobs,
        verdict=read_verdict(reader, run),
        evaluation=read_evaluation(reader, run),
        sweep=read_sweep(reader, run),
        funnel=funnel,
        books=books,
        incomplete=bool(funnel and any(book.state != "done" and not book.moved for book in books or ())),
        training=read_training(reader, run),
        questions=questions,
        clauses=read_clauses(reader, run, wanted),
        problems=reader.problems,  # last: the sections above add to it
    )


def collect_live(run: RunFolder) -> Report:
    """Only what changes from second to second."""
    reader = Reader(run.root)
    jobs = read_jobs(reader, run)
    return Report(name="", made="", jobs=jobs, books=read_books(reader, run, jobs), problems=reader.problems)


def read_jobs(reader: Reader, run: RunFolder) -> list[Job]:
    """What the progress files say, in the order of the stages."""
    jobs = []
    for path in sorted(run.progress.glob("*.json")):
        row = reader.json(path)
        if row is None:
            continue
        if job := reader.section(path, _job, row):
            jobs.append(job)
    return sorted(jobs, key=lambda j: (STAGES.index(j.stage) if j.stage in STAGES else len(STAGES), j.label))


def _job(row: Mapping[str, Any]) -> Job:
    figures = dict(row["figures"])
    silent = time.time() - row["updated"]
    if row["state"] == "running" and silent > SILENT_S:
        figures["silent_s"] = round(silent)
    return Job(**{**row, "figures": figures})


def read_funnel(reader: Reader, run: RunFolder) -> Funnel | None:
    path = run.dataset / "report.json"
    report = reader.json(path)
    return None if report is None else reader.section(path, _funnel, report)


def _funnel(report: Mapping[str, Any]) -> Funnel:
    samples, drift = report.get("samples", {}), report.get("drift", {})
    return Funnel(
        rows=report["rows"],
        kept=report["kept"],
        drops=[Drop(reason=k, count=n, samples=samples.get(k, [])[:SAMPLES]) for k, n in report["drops"].items() if n],
        shards=[Band(label=label, **band) for label, band in report["by_shard"].items()],
        types=[Band(label=label, **band) for label, band in report["by_type"].items()],
        balance={
            by: [Portion(label=label, **portion) for label, portion in groups.items()]
            for by, groups in report.get("balance", {}).items()
        },
        drift=[
            Drift(name=name, notable=name in drift["notable"], **shares)
            for name, shares in drift.get("shares", {}).items()
        ],
        facts=plain_facts({**report, **report.get("rag", {})}, without=NO_FACTS),
    )


def read_books(reader: Reader, run: RunFolder, jobs: list[Job]) -> list[Book] | None:
    """One book a shard of the plan, from its part's manifest, else from its progress."""
    plan = reader.json(run.plan)
    if plan is None:
        return None
    generating = {job.label: job for job in jobs if job.stage == "generate"}

    return reader.section(run.plan, _books, reader, run, plan, generating)


def _books(reader: Reader, run: RunFolder, plan: Mapping[str, Any], generating: Mapping[str, Job]) -> list[Book]:
    shards_of_key = Counter(shard["key_id"] for shard in plan["shards"])
    by_key = (reader.json(run.usage) or {}).get("keys", {})
    books = []
    for shard in plan["shards"]:
        key, number = shard["key_id"], shard["shard"]
        label = f"shard {number}/{shard['of']} · {key}"
        book: dict[str, Any] = {"label": label, "chunks": len(shard["chunk_ids"])}
        book |= by_key.get(key, {}) if shards_of_key[key] == 1 else {}
        path = manifest_path(run.part(number))
        manifest = reader.json(path)
        done = reader.section(path, _done, manifest, book) if manifest else None
        heirs = (plan.get("moved") or {}).get(str(number), [])
        books.append(done or _unfinished(generating.get(label), heirs, book))
    return books


def _done(manifest: Mapping[str, Any], book: Mapping[str, Any]) -> Book:
    figures = {"quarantined": len(manifest["quarantined"]), "chunks": book["chunks"], "chunks_done": book["chunks"]}
    return Book.model_validate({**book, **manifest, **figures, "label": book["label"], "state": "done"})


def _unfinished(job: Job | None, heirs: Sequence[int], book: Mapping[str, Any]) -> Book:
    """A shard that waits, works or ended early; `heirs` are the shards that took over what it left."""
    if not job:
        return Book(state="waiting", chunks_done=0, **book)
    arrow = f" → shard {', '.join(map(str, heirs))}" if heirs else ""
    figures = {"state": job.state, "chunks_done": min(job.done, book["chunks"]), "moved": bool(heirs)}
    why = f"{job.figures.get('error', '')}{arrow}"
    return Book.model_validate({**book, **job.figures, **figures, "why": why})


#: Figures of training.json that stand under the curve.
TRAINED = ("steps", "rows", "heldout_rows", "tokens_per_s", "peak_gib", "seconds", "device", "base_model")


def read_training(reader: Reader, run: RunFolder) -> list[Training] | None:
    """One entry an adapter; while it is trained there is a history and no training.json yet."""
    folders = sorted(path for path in run.adapters.glob("*") if path.is_dir())
    found = [reader.section(folder / "training.json", _training, reader, folder) for folder in folders]
    return [training for training in found if training] or None


def _training(reader: Reader, folder: Path) -> Training:
    figures = reader.json(folder / "training.json") or {}
    figures |= {"rows": figures.get("dataset", {}).get("rows")}
    history = list(reader.jsonl(folder / "loss_history.jsonl"))
    return Training(
        name=figures.get("version", folder.name),
        facts=plain_facts({name: figures.get(name) for name in TRAINED}),
        loss=[(row["step"], row["loss"]) for row in history if row.get("loss") is not None],
        eval_loss=[(row["step"], row["eval_loss"]) for row in history if row.get("eval_loss") is not None],
    )
