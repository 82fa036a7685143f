"""Writes a set of questions with its candidates and its report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from insurance_rag.chunks.frozen import questions_sha256
from insurance_rag.config.questions import QuestionsConfig
from insurance_rag.core.artifact_store.locations import public_uri
from insurance_rag.core.artifacts import describe
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import write_json, write_jsonl
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records.questions import (
    QUESTION_KINDS,
    KindCounts,
    QuestionCandidate,
    QuestionKind,
    QuestionsArtifact,
    QuestionsReport,
)
from insurance_rag.questions.asked_chunks import AskedChunks
from insurance_rag.questions.assess import check_infos
from insurance_rag.questions.candidate import Candidate
from insurance_rag.questions.corpus import Corpus
from insurance_rag.questions.edition import gold_hashes
from insurance_rag.questions.select import Selection
from insurance_rag.questions.set_files import candidates_path, report_path


@dataclass(frozen=True)
class Made:
    """Everything that is written about a set."""

    chunk_file: str
    run: Path
    corpus: Corpus
    config: QuestionsConfig
    asked: AskedChunks
    planned: Mapping[QuestionKind, int]
    kept: Sequence[Candidate]
    """Questions of the previous set that are kept."""
    replaced: Mapping[str, str]
    candidates: Sequence[Candidate]
    selection: Selection
    calls: int

    @property
    def questions(self) -> list[Candidate]:
        """The questions of the set. Kinds and documents alternate, so that the first n questions are a fair sample."""
        return _alternating([*self.kept, *self.selection.chosen], self.config.seed)


def write_set(out: Path, made: Made) -> QuestionsArtifact:
    """Write OUT.candidates.jsonl, OUT.report.json and, last, the set itself. Return a summary.

    Raises InvalidInputError if no candidate passed the checks. Then only the candidates are written.
    """
    candidates, report_file = candidates_path(out), report_path(out)
    write_jsonl(candidates, (record.model_dump(mode="json") for record in _records(made)))
    questions = made.questions
    if not questions:
        raise InvalidInputError(
            f"none of the {len(made.candidates)} candidates passed the checks; {candidates} has the reasons: choose "
            "another teacher, or other checks"
        )
    report = make_report(made, questions)
    write_json(report_file, report.model_dump(mode="json"))
    write_jsonl(out, (candidate.question.model_dump(mode="json") for candidate in questions))
    return describe(
        out,
        QuestionsArtifact,
        questions=report.questions,
        questions_sha256=report.questions_sha256,
        kinds=report.kinds,
        run=public_uri(made.run),
        calls=made.calls,
        kept_from_previous=report.kept_from_previous,
        report=public_uri(report_file),
        candidates=public_uri(candidates),
        warnings=report.warnings,
    )


def make_report(made: Made, candidates: Sequence[Candidate]) -> QuestionsReport:
    """Return the report about the set that consists of `candidates`."""
    questions = [candidate.question for candidate in candidates]
    sources = [made.corpus.by_id[q.gold_chunk_ids[0]].metadata.source for q in questions if q.gold_chunk_ids]
    answerable = [candidate for candidate in candidates if candidate.question.answerable]
    reported = Counter(f.check for c in candidates for f in c.findings if not f.drops)
    kinds = _kind_counts(made, candidates)
    return QuestionsReport(
        questions=len(questions),
        questions_sha256=questions_sha256(questions),
        chunks_sha256=made.corpus.sha256,
        chunk_file=made.chunk_file,
        run=public_uri(made.run),
        kinds=kinds,
        documents=dict(sorted(Counter(sources).items())),
        asked_unit=made.asked.unit,
        asked_units=list(made.asked.units),
        units_for_training=list(made.asked.others),
        not_first=sum(c.rank != 1 for c in answerable),
        not_found=sum(c.rank is None for c in answerable),
        reported=dict(sorted(reported.items())),
        kept_from_previous=len(made.kept),
        replaced=dict(made.replaced),
        checks=check_infos(made.config.checks),
        gold_chunks=gold_hashes(questions, made.corpus),
        settings=made.config.model_dump(mode="json"),
        warnings=[*_warnings(made, kinds, answerable)],
    )


def _kind_counts(made: Made, chosen: Sequence[Candidate]) -> dict[QuestionKind, KindCounts]:
    counts = {}
    for kind in QUESTION_KINDS:
        own = [c for c in made.candidates if c.kind == kind]
        reasons = Counter(
            reason
            for c in own
            if (reason := made.selection.reasons.get(c.question.question_id)) and reason != "not_needed"
        )
        counts[kind] = KindCounts(
            planned=made.planned[kind],
            made=len(own),
            dropped=dict(sorted(reasons.items())),
            kept=sum(c.kind == kind for c in chosen),
        )
    return counts


def _warnings(made: Made, kinds: Mapping[QuestionKind, KindCounts], answerable: Sequence[Candidate]) -> Iterable[str]:
    for kind, counts in kinds.items():
        if counts.kept < counts.planned:
            yield (
                f"{kind}: {counts.kept} of {counts.planned} planned questions; {counts.made} candidates were made and "
                f"{sum(counts.dropped.values())} dropped (other kinds fill the gap as far as they can); raise "
                "`oversample`, `max_rounds` or `asked_share`, or lower n"
            )
    if not made.asked.others:
        yield (
            f"questions are about every {made.asked.unit}, so that none is left for training; lower n or asked_share, "
            "or add documents"
        )
    hard = sum(c.rank != 1 for c in answerable)
    if hard < made.config.not_first_share * len(answerable):
        yield f"only {hard} of {len(answerable)} answerable questions do not find their chunk first, fewer than planned"


def _records(made: Made) -> Iterable[QuestionCandidate]:
    chosen = made.selection.chosen_ids
    for candidate in [*made.kept, *made.candidates]:
        kept = candidate.origin == "previous" or candidate.question.question_id in chosen
        yield QuestionCandidate(
            question=candidate.question,
            kind=candidate.kind,
            evidence=candidate.evidence,
            rank=candidate.rank,
            findings=list(candidate.findings),
            kept=kept,
            reason=None if kept else made.selection.reasons.get(candidate.question.question_id),
            origin=candidate.origin,
        )


def _alternating(candidates: Sequence[Candidate], seed: int) -> list[Candidate]:
    """Return the candidates such that every part of the list has about the same share of each kind and product."""
    order = sorted(candidates, key=lambda c: sha256_text(str(seed), "order", c.question.question_id))
    sizes = Counter(_group(c) for c in order)
    seen: Counter[tuple[str, ...]] = Counter()
    places: list[tuple[float, int, Candidate]] = []
    for n, candidate in enumerate(order):
        group = _group(candidate)
        places.append(((seen[group] + 0.5) / sizes[group], n, candidate))
        seen[group] += 1
    return [candidate for _, _, candidate in sorted(places, key=lambda place: place[:2])]


def _group(candidate: Candidate) -> tuple[str, ...]:
    return (candidate.kind, *sorted(candidate.question.filters.values()))
