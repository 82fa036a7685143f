"""Applies all checks to candidates, and the comparison with training questions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from insurance_rag.core.records.questions import CheckedKind, QuestionFinding
from insurance_rag.questions.candidate import Candidate
from insurance_rag.questions.checks import QUESTION_CHECKS, find_problems
from insurance_rag.questions.corpus import Corpus
from insurance_rag.questions.duplicates import COMPARISONS, TRAINING_QUESTION, SimilarQuestions


def assess(
    candidates: Iterable[Candidate],
    corpus: Corpus,
    training: SimilarQuestions,
    names: Sequence[str] | None = None,
    on_candidate: Callable[[], None] = lambda: None,
) -> list[Candidate]:
    """Return the candidates with their findings and the ranks of their chunks. `names` are the checks to apply."""
    return [_assessed(candidate, corpus, training, names, on_candidate) for candidate in candidates]


def _assessed(
    candidate: Candidate,
    corpus: Corpus,
    training: SimilarQuestions,
    names: Sequence[str] | None,
    on_candidate: Callable[[], None],
) -> Candidate:
    findings = find_problems(candidate, corpus, names)
    if repeated := training.find(candidate.question.question):
        findings.append(QuestionFinding(check=TRAINING_QUESTION, detail=repeated, drops=True))
    is_known = all(i in corpus.by_id for i in candidate.question.gold_chunk_ids)
    rank = corpus.rank(candidate.question) if candidate.question.gold_chunk_ids and is_known else None
    on_candidate()
    return replace(candidate, findings=tuple(findings), rank=rank)


def check_infos(names: Sequence[str] | None = None) -> dict[str, CheckedKind]:
    """Return the definitions of the checks, by name."""
    return {name: QUESTION_CHECKS[name].info() for name in names or QUESTION_CHECKS.names} | COMPARISONS
