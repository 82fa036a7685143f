"""The functions of the tasks that make a run's input: chunks from documents, and evaluation questions.

A run that starts from a chunk file and has a question file needs neither. Its tasks then have no result.
"""

from __future__ import annotations

import logging
from pathlib import Path

from insurance_rag.config import GenerationConfig, RunConfig
from insurance_rag.core.artifact_store.locations import local_path
from insurance_rag.core.artifacts import describe
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import write_jsonl
from insurance_rag.core.record_files import read_record
from insurance_rag.core.records import Question
from insurance_rag.core.records.ingest import IngestArtifact
from insurance_rag.core.records.questions import FrozenManifest, QuestionsArtifact, QuestionsCheck
from insurance_rag.core.records.run import PublishedQuestions, QuestionSetArtifact, RunArtifact
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.orchestration.announcements import announce_chunks
from insurance_rag.orchestration.assets import QUESTION_SET, publish, published_dataset, published_questions
from insurance_rag.orchestration.commands import log_command
from insurance_rag.orchestration.run_inputs import OutletEvents, open_run, stored_run
from insurance_rag.orchestration.runs import reviews_folder

log = logging.getLogger(__name__)

UNUSABLE = ("broken", "gone")
"""States of a question whose chunk no longer gives the answer."""


def ingest_documents(run: RunArtifact, outlet_events: OutletEvents | None = None) -> IngestArtifact | None:
    """Turn the documents of the run into chunks, and compare them with the edition that was published last.

    A report next to the chunk file shows which text is in which chunk, and what was left out. Reads no documents if the
    run starts from a chunk file. In both cases, an asset event announces the chunk file.
    """
    from insurance_rag import ingest
    from insurance_rag.orchestration.documents import local_documents

    folder, config = stored_run(run)
    if not config.documents:
        log.info("the run starts from the chunk file %s", config.chunks)
        announce_chunks(run, config, None, outlet_events)
        return None
    documents = local_documents(config.documents, folder.ingested.parent / "copies")
    previous = _previous_edition(config)
    options = ["--previous", str(previous)] if previous else []
    names = [str(document) for document in documents]
    log_command("ingest", *names, "--out", str(folder.ingested), *options, *config.ingest.as_settings())
    folder.ingested.parent.mkdir(parents=True, exist_ok=True)
    artifact = ingest.ingest_documents(documents, folder.ingested, config.ingest, previous)
    for warning in artifact.warnings:
        log.warning("%s", warning)
    log.info("%s chunks, %.1f%% of the text; report: %s", artifact.chunks, 100 * artifact.coverage, artifact.report)
    announce_chunks(run, config, artifact, outlet_events)
    return artifact


def prepare_questions(run: RunArtifact) -> QuestionSetArtifact | None:
    """Make the evaluation questions of the run, or check that those it has still fit the chunks.

    If documents have changed, questions whose chunk no longer gives the answer are left out, and the approval page
    lists them. Does nothing if the run has a chunk file and a question file.
    """
    folder, config = stored_run(run)
    if config.dataset or not (config.documents or config.make_questions):
        return None
    if config.make_questions:
        made = make_questions(run)
        frozen = _freeze(folder.questions, local_path(made.uri))
        facts = frozen.model_dump(include={"uri", "sha256", "questions"})
        return QuestionSetArtifact(**facts, flagged=0, left_out=0, check=None)
    return _check_questions(folder, config)


def make_questions(run: RunArtifact) -> QuestionsArtifact:
    """Ask the teacher for evaluation questions about the chunks, check them, and choose the best ones.

    Questions of the published set about the same documents are kept if they still fit. Only the others are replaced.
    """
    from insurance_rag import questions
    from insurance_rag.orchestration.gemini_hook import connection_keys

    folder, config = open_run(run)
    previous = published_questions()
    kept = Path(previous.uri) if previous and previous.sources == _sources(config) else None
    out = folder.questions.with_name("made.jsonl")
    log_command(
        "questions", "make", "--chunks", config.chunks, "--out", str(out), "--keys", "keys.json",
        *(["--previous", str(kept)] if kept else []),
        *config.question_set.as_settings(),
    )  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    artifact = questions.make_questions(
        Path(config.chunks) if config.chunks != "sample" else "sample",
        out,
        folder.question_run,
        connection_keys(config.keys),
        config.question_set,
        kept,
        generation=_with_server(config),
    )
    for warning in artifact.warnings:
        log.warning("%s", warning)
    return artifact


def publish_question_set(
    run: RunArtifact, made: QuestionsArtifact, outlet_events: OutletEvents | None = None
) -> PublishedQuestions:
    """Freeze the questions with what people decided on the review pages, and publish the set for later runs."""
    folder, config = open_run(run)
    facts = _freeze(folder.questions, local_path(made.uri)).model_dump(include={"uri", "sha256", "questions"})
    record = PublishedQuestions(**facts, sources=_sources(config), chunks=config.chunks)
    return publish(QUESTION_SET, record, outlet_events, calls=made.calls)


def _freeze(out: Path, made: Path) -> FrozenManifest:
    """Write the questions with people's decisions to `out`, as a set that nobody changes any more."""
    from insurance_rag.questions.freeze import freeze_questions

    log_command("questions", "freeze", "--questions", str(made), "--out", str(out))
    return freeze_questions(made, out, reviews=reviews_folder())


def _check_questions(folder: RunFolder, config: RunConfig) -> QuestionSetArtifact:
    """Check the configured questions with the chunks of the run, and write those that can be used."""
    from insurance_rag.chunks import read_questions
    from insurance_rag.questions.check import check_questions

    check = folder.questions.with_suffix(".check.json")
    chunks = str(folder.ingested) if config.documents else config.chunks
    log_command("questions", "check", "--questions", config.questions, "--chunks", chunks)
    folder.questions.parent.mkdir(parents=True, exist_ok=True)
    found = check_questions(config.questions, chunks, check, config.question_set)
    results = {
        q.question_id: q
        for q in read_record(check, QuestionsCheck, "a check of questions", "clear this task").questions
    }
    usable: list[Question] = []
    for question in read_questions(config.questions):
        result = results[question.question_id]
        if result.status not in UNUSABLE:
            gold = result.proposed_gold or question.gold_chunk_ids
            usable.append(question.model_copy(update={"gold_chunk_ids": gold}))
    if not usable:
        raise InvalidInputError(
            f"questions: none of the {len(results)} questions in {config.questions} can be answered from the documents "
            "any more; start the DAG make_questions, which replaces them"
        )
    write_jsonl(folder.questions, (question.model_dump(mode="json") for question in usable))
    left_out = len(results) - len(usable)
    if found.flagged:
        log.warning(
            "the documents changed what %d questions are about; %d of them are left out: start the DAG make_questions "
            "to replace them",
            found.flagged,
            left_out,
        )
    facts = {"questions": len(usable), "flagged": found.flagged, "left_out": left_out, "check": str(check)}
    return describe(folder.questions, QuestionSetArtifact, **facts)


def _previous_edition(config: RunConfig) -> Path | None:
    """Return the chunk file of the published dataset, if it was made from the same documents."""
    published = published_dataset()
    path = Path(published.chunks) if published and published.documents == [*config.documents] else None
    return path if path and path.is_file() else None


def _sources(config: RunConfig) -> list[str]:
    return [*config.documents] or [config.chunks]


def _with_server(config: RunConfig) -> GenerationConfig:
    """Return the teacher's settings with the server of the first connection, if they name no server."""
    from insurance_rag.orchestration.gemini_hook import GeminiHook

    generation = config.generation
    url = GeminiHook(config.keys[0]).get_conn()[1] if config.keys else None
    return generation.model_copy(update={"base_url": generation.base_url or url})
