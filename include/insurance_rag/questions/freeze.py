"""Freezes a set of questions: applies what people decided, and writes the set with a manifest that has its hash."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from insurance_rag.chunks import read_questions
from insurance_rag.chunks.contradictions import find_contradictions
from insurance_rag.chunks.frozen import frozen_manifest_path, questions_sha256
from insurance_rag.core.artifacts import describe
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import write_json, write_jsonl
from insurance_rag.core.records import Question
from insurance_rag.core.records.questions import (
    FrozenManifest,
    QuestionCandidate,
    QuestionKind,
)
from insurance_rag.questions.edition import read_gold_hashes
from insurance_rag.questions.ids import question_id
from insurance_rag.questions.set_files import candidates_path, read_candidates, read_report
from insurance_rag.review.records import Decision, ReviewAction, question_key
from insurance_rag.review.store import ReviewStore

MAX_LISTED = 10
_NUMBER_SEPARATOR = re.compile(r"\s*(?:,\s+|\n|;)\s*")
"""Separator of required numbers in an edited text. The comma of `1,500만원` is none."""


@dataclass
class _Decided:
    """The questions that remain, and how many decisions of each kind there are."""

    questions: list[Question] = field(default_factory=list)
    counts: Counter[ReviewAction] = field(default_factory=Counter)
    undecided: list[Question] = field(default_factory=list)


def freeze_questions(
    questions: Path, out: Path, *, reviews: Path | None = None, require_review: bool = False
) -> FrozenManifest:
    """Write the set to `out` with the decisions in the folder `reviews`, and OUT.manifest.json. Return the manifest.

    Rejected questions are left out, and edited ones replaced. Candidates that did not get into the set are added if a
    person approved or edited them. With `require_review`, every question of the set needs a decision.

    Raises InvalidInputError if decisions are missing, if edited questions contradict themselves, if no question is
    left, or if `out` is a frozen set with another content. Nothing is written in these cases.
    """
    decided = _apply(questions, ReviewStore(reviews, "question").decisions() if reviews else {})
    problems = [f"{decided.questions[n].question_id}: {text}" for n, text in _contradictions(decided)]
    if require_review and decided.undecided:
        names = ", ".join(q.question_id for q in decided.undecided[:MAX_LISTED])
        problems.append(
            f"{questions}: {len(decided.undecided)} questions have no decision, e.g. {names}; decide about them with "
            "`questions review` or on the review page, or leave out --require-review"
        )
    if not decided.questions:
        problems.append(f"{questions}: no question is left after the review; make more questions")
    if problems:
        raise InvalidInputError(problems)
    _check_not_other(out, decided.questions)
    write_jsonl(out, (question.model_dump(mode="json") for question in decided.questions))
    manifest = _manifest(questions, out, decided)
    write_json(frozen_manifest_path(out), manifest.model_dump(mode="json"))
    return manifest


def _apply(path: Path, decisions: Mapping[str, Decision]) -> _Decided:
    decided = _Decided()
    in_set = read_questions(path)
    for question in in_set:
        decision = decisions.get(question_key(question.question, question.gold_chunk_ids))
        if decision is None:
            decided.undecided.append(question)
        else:
            decided.counts[decision.action] += 1
        if decision is None or decision.action != "reject":
            decided.questions.append(_edited(question, decision))
    known = {question.question_id for question in in_set}
    for question in (c.question for c in _candidates(path) if c.question.question_id not in known):
        decision = decisions.get(question_key(question.question, question.gold_chunk_ids))
        if decision is not None and decision.action != "reject":
            decided.counts[decision.action] += 1
            decided.questions.append(_edited(question, decision))
    return decided


def _candidates(questions: Path) -> list[QuestionCandidate]:
    """Return the candidates next to a set; empty if there are none."""
    return read_candidates(questions) if candidates_path(questions).is_file() else []


def _edited(question: Question, decision: Decision | None) -> Question:
    """Return the question with the edited texts. A question with another text gets another id."""
    if decision is None or decision.action != "edit":
        return question
    changes: dict[str, object] = {name: text.strip() for name, text in decision.fields.items()}
    if "required_numbers" in decision.fields:
        pieces = _NUMBER_SEPARATOR.split(decision.fields["required_numbers"].strip())
        changes["required_numbers"] = [piece for piece in pieces if piece]
    if "question" in changes:
        changes["question_id"] = question_id(str(changes["question"]), question.gold_chunk_ids)
    return Question.model_validate(question.model_dump() | changes)


def _contradictions(decided: _Decided) -> Iterator[tuple[int, str]]:
    yield from find_contradictions(list(enumerate(decided.questions)))
    first: dict[str, int] = {}
    for n, question in enumerate(decided.questions):
        if first.setdefault(question.question_id, n) != n:
            yield n, "is in the set twice after the edits; reject one of the two"


def _check_not_other(out: Path, questions: list[Question]) -> None:
    if out.is_file() and questions_sha256(read_questions(out)) != questions_sha256(questions):
        raise InvalidInputError(
            f"{out}: exists already with other questions; frozen sets are never changed, so choose another name"
        )


def _manifest(source: Path, out: Path, decided: _Decided) -> FrozenManifest:
    report = read_report(source)
    gold = {i for question in decided.questions for i in question.gold_chunk_ids}
    return describe(
        out,
        FrozenManifest,
        questions=len(decided.questions),
        questions_sha256=questions_sha256(decided.questions),
        kinds=_kinds(source, decided),
        chunks_sha256=report.chunks_sha256 if report else None,
        gold_chunks={i: sha256 for i, sha256 in read_gold_hashes(source).items() if i in gold},
        run=report.run if report else None,
        approved=decided.counts["approve"],
        edited=decided.counts["edit"],
        rejected=decided.counts["reject"],
        undecided=len(decided.undecided),
    )


def _kinds(source: Path, decided: _Decided) -> dict[QuestionKind, int]:
    """Return the number of questions per kind. A question that is no candidate any more counts by its own fields."""
    known = {c.question.question: c.kind for c in _candidates(source)}
    return dict(Counter(known.get(question.question) or _kind(question) for question in decided.questions))


def _kind(question: Question) -> QuestionKind:
    if question.answerable:
        return "fact" if question.type == "unanswerable" else question.type
    return "near_miss" if question.gold_chunk_ids else "far"
