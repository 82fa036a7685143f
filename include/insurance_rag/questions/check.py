"""Checks an existing set of questions: against the checks, and against a new edition of its chunks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from insurance_rag.chunks import SAMPLE_QUESTIONS, question_file, read_chunks, read_questions
from insurance_rag.chunks.frozen import questions_sha256
from insurance_rag.config.questions import QuestionsConfig
from insurance_rag.core.artifacts import describe
from insurance_rag.core.files import write_json
from insurance_rag.core.records import Question
from insurance_rag.core.records.questions import (
    CheckedQuestion,
    QuestionFinding,
    QuestionsCheck,
    QuestionsCheckArtifact,
)
from insurance_rag.questions.assess import assess, check_infos
from insurance_rag.questions.candidate import Candidate, kind_of
from insurance_rag.questions.corpus import Corpus, make_corpus
from insurance_rag.questions.duplicates import NEAR_DUPLICATE, SimilarQuestions, training_questions
from insurance_rag.questions.edition import Edition, check_same_corpus, read_gold_hashes

FAULTS_OF_TEXT = frozenset(["unsupported_reference", "missed_answer"])
"""Checks that a change of the gold chunk can break. A question whose chunk changed is broken if one of them fails."""


def check_questions(
    questions: Path | str,
    chunks: Path | str,
    out: Path | None = None,
    config: QuestionsConfig | None = None,
    *,
    dataset: Path | None = None,
    old_chunks: Path | str | None = None,
) -> QuestionsCheckArtifact:
    """Check a set of questions with the chunks of the same or a newer edition, and write Q.check.json (or `out`).

    What changed since the set was made is known from the hashes that `make` and `freeze` write next to the set, or from
    `old_chunks`, the edition that the set was made from. With `dataset`, repeated training questions are found, too.
    Raises InvalidInputError if a file cannot be read or the set is about another corpus.
    """
    config = config or QuestionsConfig()
    path = question_file(questions)
    found, corpus = read_questions(path), make_corpus(read_chunks(chunks))
    old = make_corpus(read_chunks(old_chunks)) if old_chunks else None
    hashes = read_gold_hashes(path)
    check_same_corpus(found, hashes, corpus, str(path))
    training = SimilarQuestions(config.near_duplicate, _all_questions(dataset))
    checked = check_edition(found, Edition(corpus, hashes, old), corpus, training, config)
    target = out or (Path("questions.check.json") if path == SAMPLE_QUESTIONS else path.with_suffix(".check.json"))
    result = QuestionsCheck(
        questions_sha256=questions_sha256(found),
        chunks_sha256=corpus.sha256,
        checks=check_infos(config.checks),
        questions=checked,
    )
    write_json(target, result.model_dump(mode="json"))
    return describe(
        target,
        QuestionsCheckArtifact,
        questions=len(checked),
        passed=sum(question.passes for question in checked),
        flagged=sum(question.flagged for question in checked),
        statuses=dict(Counter(question.status for question in checked)),
        dropped=_counts(checked, drops=True),
        reported=_counts(checked, drops=False),
        kinds=dict(Counter(question.kind for question in checked)),
    )


def check_edition(
    questions: Sequence[Question],
    edition: Edition,
    corpus: Corpus,
    training: SimilarQuestions,
    config: QuestionsConfig,
) -> list[CheckedQuestion]:
    """Return what the checks and the comparison with the new edition found, for each question."""
    similar = SimilarQuestions(config.near_duplicate)
    checked = []
    for question in questions:
        status, affected, proposed = edition.status(question)
        current = question if proposed is None else question.model_copy(update={"gold_chunk_ids": proposed})
        candidate = Candidate(current, kind_of(current, corpus), origin="previous")
        candidate = assess([candidate], corpus, training, config.checks)[0]
        if repeated := similar.find(question.question):
            finding = QuestionFinding(check=NEAR_DUPLICATE, detail=repeated, drops=True)
            candidate = replace(candidate, findings=(*candidate.findings, finding))
        similar.add(question.question)
        if status in ("changed", "moved") and any(f.check in FAULTS_OF_TEXT for f in candidate.findings):
            status, proposed = "broken", None
        checked.append(
            CheckedQuestion(
                question_id=question.question_id,
                question=question.question,
                kind=candidate.kind,
                status=status,
                changed_chunks=affected,
                proposed_gold=proposed,
                rank=candidate.rank,
                findings=list(candidate.findings),
            )
        )
    return checked


def _all_questions(dataset: Path | None) -> list[str]:
    return sorted(question for questions in training_questions(dataset).values() for question in questions)


def _counts(checked: Sequence[CheckedQuestion], *, drops: bool) -> dict[str, int]:
    return dict(Counter(name for q in checked for name in {f.check for f in q.findings if f.drops == drops}))
