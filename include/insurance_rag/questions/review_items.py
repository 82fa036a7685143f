"""Reads the candidates of a question set as review items: the questions of the set first, then the rejected ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from insurance_rag.chunks import read_chunks
from insurance_rag.chunks.headings import chunk_header
from insurance_rag.core.records import Chunk
from insurance_rag.core.records.questions import QuestionCandidate, QuestionsReport
from insurance_rag.korean.text import clean
from insurance_rag.questions.set_files import read_candidates, read_report
from insurance_rag.review.records import ReviewChunk, ReviewFinding, ReviewItem, question_key


def read_question_items(questions: Path, chunk_file: Path | None = None) -> list[ReviewItem]:
    """Return the candidates of the question file `questions` as review items.

    `chunk_file` defaults to the file that Q.report.json names. Raises an InvalidInputError that lists every line of
    the candidates that cannot be read.
    """
    report = read_report(questions)
    chunk_file = chunk_file or (Path(report.chunk_file) if report else None)
    chunks = {chunk.chunk_id: chunk for chunk in read_chunks(chunk_file)} if chunk_file else {}
    items: dict[str, ReviewItem] = {}
    for candidate in sorted(read_candidates(questions), key=lambda candidate: not candidate.kept):
        item = _item(candidate, chunks, report)
        items.setdefault(item.key, item)
    return list(items.values())


def _item(candidate: QuestionCandidate, chunks: Mapping[str, Chunk], report: QuestionsReport | None) -> ReviewItem:
    question = candidate.question
    findings = [_finding(finding.check, finding.detail, report) for finding in candidate.findings]
    if candidate.reason and candidate.reason not in [finding.rule for finding in findings]:
        findings.append(_finding(candidate.reason, "", report))
    facts: dict[str, str] = {"origin": candidate.origin, **dict(question.filters.items())}
    if candidate.rank is not None:
        facts["retriever_rank"] = str(candidate.rank)
    return ReviewItem(
        kind="question",
        key=question_key(question.question, question.gold_chunk_ids),
        fields={
            "question": question.question,
            "reference_answer": question.reference_answer or "",
            "required_numbers": ", ".join(question.required_numbers),
        },
        type=candidate.kind,
        answerable=question.answerable,
        dropped=not candidate.kept,
        findings=findings,
        chunks=[_chunk(chunk_id, chunks) for chunk_id in question.gold_chunk_ids],
        evidence=candidate.evidence,
        facts=facts,
    )


def _finding(check: str, detail: str, report: QuestionsReport | None) -> ReviewFinding:
    info = report.checks.get(check) if report else None
    title, title_ko = (info.title, info.title_ko) if info else ("", "")
    return ReviewFinding(rule=check, title=title, title_ko=title_ko, span=detail)


def _chunk(chunk_id: str, chunks: Mapping[str, Chunk]) -> ReviewChunk:
    chunk = chunks.get(chunk_id)
    if chunk is None:
        return ReviewChunk(chunk_id=chunk_id)
    return ReviewChunk(chunk_id=chunk_id, header=chunk_header(chunk), text=clean(chunk.text))
