"""A question with what is known about it, as the checks receive it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from insurance_rag.core.records import Question
from insurance_rag.core.records.questions import QuestionFinding, QuestionKind
from insurance_rag.questions.corpus import Corpus


@dataclass(frozen=True)
class Candidate:
    """A question, and the quote that supports its reference answer if that is known."""

    question: Question
    kind: QuestionKind
    evidence: str = ""
    rank: int | None = None
    """Rank of the first gold chunk in a BM25 search; None if it is not found, or if there is no gold chunk."""
    findings: tuple[QuestionFinding, ...] = field(default=())
    origin: Literal["teacher", "template", "previous", "live"] = "teacher"

    @property
    def dropped_by(self) -> str | None:
        """Name of the first check that rejects the question; None if it passes."""
        return next((finding.check for finding in self.findings if finding.drops), None)

    @property
    def warnings(self) -> int:
        """Number of findings that do not reject the question."""
        return sum(not finding.drops for finding in self.findings)


def kind_of(question: Question, corpus: Corpus) -> QuestionKind:
    """Return the kind of a question. Gold chunks with the same text count as one."""
    if not question.answerable:
        return "near_miss" if question.gold_chunk_ids else "far"
    texts = {"".join(corpus.by_id[i].text.split()) for i in question.gold_chunk_ids if i in corpus.by_id}
    if len(texts) > 1:
        return "two_chunk"
    return "fact" if question.type == "unanswerable" else question.type
