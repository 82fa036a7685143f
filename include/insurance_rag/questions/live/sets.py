"""Writes candidates as a question set, which the existing commands review and freeze."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from insurance_rag.chunks.frozen import questions_sha256
from insurance_rag.core.artifact_store.locations import public_uri
from insurance_rag.core.files import remove_file, write_json, write_jsonl
from insurance_rag.core.records.questions import (
    QUESTION_KINDS,
    CheckedKind,
    KindCounts,
    QuestionCandidate,
    QuestionsReport,
)
from insurance_rag.questions.candidate import Candidate
from insurance_rag.questions.corpus import Corpus
from insurance_rag.questions.edition import gold_hashes
from insurance_rag.questions.live.sort import REASONS
from insurance_rag.questions.set_files import candidates_path, report_path

_ASKED = CheckedKind(
    title="Asked by customers",
    title_ko="실제 고객 질문",
    description="How often the question was asked, and the retriever's score of its chunk.",
    drops=False,
)


def write_set(path: Path, candidates: Sequence[Candidate], corpus: Corpus, chunk_file: str) -> None:
    """Write the set with its candidates and its report. Without candidates, remove the files of an earlier import."""
    if not candidates:
        for stale in (path, report_path(path), candidates_path(path)):
            remove_file(stale)
        return
    records = (
        QuestionCandidate(
            question=candidate.question,
            kind=candidate.kind,
            rank=candidate.rank,
            findings=list(candidate.findings),
            kept=True,
            origin="live",
        ).model_dump(mode="json")
        for candidate in candidates
    )
    write_jsonl(candidates_path(path), records)
    write_json(report_path(path), _report(path, candidates, corpus, chunk_file).model_dump(mode="json"))
    write_jsonl(path, (candidate.question.model_dump(mode="json") for candidate in candidates))


def _report(path: Path, candidates: Sequence[Candidate], corpus: Corpus, chunk_file: str) -> QuestionsReport:
    questions = [candidate.question for candidate in candidates]
    sources = [corpus.by_id[i].metadata.source for question in questions for i in question.gold_chunk_ids]
    of_kind = Counter(candidate.kind for candidate in candidates)
    return QuestionsReport(
        questions=len(questions),
        questions_sha256=questions_sha256(questions),
        chunks_sha256=corpus.sha256,
        chunk_file=chunk_file,
        run=public_uri(path.parent),
        kinds={kind: KindCounts(made=of_kind[kind], kept=of_kind[kind]) for kind in QUESTION_KINDS},
        documents=dict(sorted(Counter(sources).items())),
        asked_unit="document",
        asked_units=sorted(set(sources)),
        units_for_training=[],
        not_first=0,
        not_found=0,
        reported=dict(sorted(Counter(f.check for c in candidates for f in c.findings).items())),
        kept_from_previous=0,
        replaced={},
        checks={**REASONS, "live": _ASKED},
        gold_chunks=gold_hashes(questions, corpus),
        settings={},
        warnings=[],
    )
