"""Imports files of live questions into a folder: check all rows, anonymize, keep, match, sort, report."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from insurance_rag.chunks import read_chunks, read_questions
from insurance_rag.config.live_questions import LiveQuestionsConfig
from insurance_rag.core.artifact_store.locations import public_uri
from insurance_rag.core.artifacts import describe
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import remove_file, write_json, write_jsonl
from insurance_rag.core.locks import hold_lock
from insurance_rag.core.records import Question
from insurance_rag.core.records.live_questions import (
    LiveImportArtifact,
    LiveQuestion,
    LiveRecord,
    LiveReport,
    QuestionStats,
)
from insurance_rag.korean.personal_data import without_placeholders
from insurance_rag.questions.candidate import Candidate
from insurance_rag.questions.corpus import Corpus, make_corpus
from insurance_rag.questions.duplicates import training_questions
from insurance_rag.questions.live.compare import Asked, Policy, describe_questions
from insurance_rag.questions.live.distinct import Distinct, KnownQuestions, group_records
from insurance_rag.questions.live.match import Matcher, found_chunk, min_score
from insurance_rag.questions.live.sets import write_set
from insurance_rag.questions.live.sort import (
    count,
    generation_targets,
    live_question,
    new_candidates,
    review_candidates,
)
from insurance_rag.questions.live.source import Sources
from insurance_rag.questions.live.store import LiveFolder, add_records
from insurance_rag.report.live_questions_page import write_live_page

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LiveInputs:
    """What live questions are compared with."""

    chunk_file: str
    corpus: Corpus
    frozen: Sequence[Question]
    training: Mapping[str, set[str]]
    """Chunk id -> training questions about it."""


@dataclass(frozen=True)
class LiveResults:
    """What an import writes."""

    report: LiveReport
    questions: Sequence[LiveQuestion]
    review: Sequence[Candidate]
    new: Sequence[Candidate]


def import_questions(
    files: Sequence[Path],
    out: Path,
    chunks: str,
    config: LiveQuestionsConfig,
    *,
    names: Mapping[str, str] | None = None,
    questions: str | None = None,
    dataset: Path | None = None,
    skip_invalid: bool = False,
) -> LiveImportArtifact:
    """Import the files into the folder `out`, together with what it already has, and write its results again.

    `names` maps columns to their names in the files. `questions` is the frozen set, `dataset` the dataset folder that
    live questions are compared with. Raises an InvalidInputError that lists all problems of all files and settings.
    Nothing is written in this case, unless `skip_invalid` leaves out the lines in question.
    """
    sources = Sources(files, names or {}, config, skip_invalid)
    inputs = _check_inputs(sources, chunks, questions, dataset)
    folder = LiveFolder(out)
    with hold_lock(folder.lock, f"the import folder {out}"):
        records, new = add_records(folder, sources.records())
        log.info("%d records, %d of them new; finding their chunks", len(records), new)
        results = _results(folder, list(records.values()), inputs, config, sources.left_out)
        _write(folder, results, inputs)
    report = results.report
    return describe(
        folder.report,
        LiveImportArtifact,
        new_records=new,
        records=report.counts.records,
        distinct=report.counts.distinct,
        without_chunk=report.live.without_chunk,
        personal_data=report.personal_data,
        review_items=report.review_items,
        new_questions=report.new_questions,
        generation_targets=len(report.targets),
        report=public_uri(folder.page),
        warnings=report.warnings,
    )


def _check_inputs(sources: Sources, chunks: str, questions: str | None, dataset: Path | None) -> LiveInputs:
    """Read and check everything. Raises an InvalidInputError that lists the problems of all inputs."""
    problems: list[str] = []
    corpus, frozen, training = make_corpus([]), list[Question](), dict[str, set[str]]()
    try:
        min_score(sources.config)
    except InvalidInputError as e:
        problems += e.problems
    try:
        corpus = make_corpus(read_chunks(chunks))
    except InvalidInputError as e:
        problems += e.problems
    try:
        frozen = read_questions(questions) if questions else []
        training = training_questions(dataset)
    except InvalidInputError as e:
        problems += e.problems
    try:
        sources.check()
    except InvalidInputError as e:
        problems += e.problems
    if problems:
        raise InvalidInputError(problems)
    return LiveInputs(chunks if chunks == "sample" else str(Path(chunks).resolve()), corpus, frozen, training)


def _results(
    folder: LiveFolder,
    records: Sequence[LiveRecord],
    inputs: LiveInputs,
    config: LiveQuestionsConfig,
    left_out: Mapping[str, int],
) -> LiveResults:
    """Group the records, find their chunks, and sort them."""
    distinct = group_records(records, config.near_duplicate)
    matcher = Matcher(folder, inputs.corpus.chunks, inputs.corpus.sha256, config)
    live = _live_questions(distinct, matcher, inputs, config)
    found: Counter[str] = Counter()
    for record in records:
        found.update(record.personal_data)
    policy = Policy(inputs.corpus.by_id)
    asked = [Asked(q.question, q.asked, q.chunk_id) for q in live]
    pairs = {chunk_id: len(own) for chunk_id, own in inputs.training.items()}
    review, new = review_candidates(live, inputs.corpus), new_candidates(live, inputs.corpus, config.n)
    report = LiveReport(
        counts=count(distinct, live),
        personal_data=dict(sorted(found.items())),
        left_out=dict(sorted(left_out.items())),
        min_score=min_score(config),
        retriever=config.retrieval.kind,
        chunks_sha256=inputs.corpus.sha256,
        live=describe_questions(asked, policy),
        frozen=_frozen_stats(inputs, matcher, policy, config),
        review_items=len(review),
        new_questions=len(new),
        targets=generation_targets(live, pairs, inputs.corpus.by_id, config),
        warnings=list(_warnings(inputs)),
    )
    return LiveResults(report, live, review, new)


def _live_questions(
    distinct: Distinct, matcher: Matcher, inputs: LiveInputs, config: LiveQuestionsConfig
) -> list[LiveQuestion]:
    texts = [question.question for question in inputs.frozen]
    known = KnownQuestions([*texts, *(q for own in inputs.training.values() for q in own)], config.near_duplicate)
    matches = matcher.match_groups(distinct.groups)
    found = []
    for group, match in zip(distinct.groups, matches, strict=True):
        is_known = without_placeholders(group.first.question) in known
        found.append(live_question(group, match, matcher.filters(group.first), is_known, config))
    return found


def _frozen_stats(
    inputs: LiveInputs, matcher: Matcher, policy: Policy, config: LiveQuestionsConfig
) -> QuestionStats | None:
    if not inputs.frozen:
        return None
    found = [found_chunk(match, config) for match in matcher.match_frozen(inputs.frozen)]
    asked = [Asked(q.question, 1, chunk) for q, chunk in zip(inputs.frozen, found, strict=True)]
    return describe_questions(asked, policy)


def _warnings(inputs: LiveInputs) -> Iterable[str]:
    if not inputs.frozen:
        yield "no frozen set: give one with --questions, so that the report compares and known questions are left out"
    if not inputs.training:
        yield "no dataset: every chunk counts as one without pairs; give the dataset folder with --dataset"


def _write(folder: LiveFolder, results: LiveResults, inputs: LiveInputs) -> None:
    """Write the results, the report last."""
    write_jsonl(folder.live_questions, (question.model_dump(mode="json") for question in results.questions))
    write_set(folder.review, results.review, inputs.corpus, inputs.chunk_file)
    write_set(folder.questions, results.new, inputs.corpus, inputs.chunk_file)
    if results.report.targets:
        chunks = (inputs.corpus.by_id[target.chunk_id] for target in results.report.targets)
        write_jsonl(folder.targets, (chunk.model_dump(mode="json") for chunk in chunks))
    else:
        remove_file(folder.targets)
    write_live_page(folder.page, results.report)
    write_json(folder.report, results.report.model_dump(mode="json"))
