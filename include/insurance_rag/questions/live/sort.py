"""Sorts distinct live questions: what a person should look at, new evaluation questions, and generation targets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from insurance_rag.chunks.headings import product_name, section_path
from insurance_rag.config.live_questions import LiveQuestionsConfig
from insurance_rag.core.records import Chunk, Question, QuestionType
from insurance_rag.core.records.live_questions import (
    GenerationTarget,
    LiveCounts,
    LiveMatch,
    LiveQuestion,
    ReviewReason,
)
from insurance_rag.core.records.questions import CheckedKind, QuestionFinding
from insurance_rag.korean import refusal
from insurance_rag.korean.personal_data import without_placeholders
from insurance_rag.questions.asked import asked_units
from insurance_rag.questions.candidate import Candidate, kind_of
from insurance_rag.questions.corpus import Corpus
from insurance_rag.questions.ids import question_id
from insurance_rag.questions.live.distinct import Distinct, Group
from insurance_rag.questions.live.match import found_chunk
from insurance_rag.questions.required_numbers import required_numbers
from insurance_rag.retrieval.base import Filters
from insurance_rag.validation.shingles import normalize

SCENARIO_CHARACTERS = 60
"""A longer question describes a situation."""
MAX_DETAIL = 500
"""Number of characters of an answer that a finding shows."""
MIN_LETTERS = 4
"""A question with fewer letters and digits, apart from placeholders, is no evaluation question: `네?`."""

REASONS: Mapping[ReviewReason, CheckedKind] = {
    "refused": CheckedKind(
        title="Refused although a chunk was found",
        title_ko="조항이 있는데 답변을 거절함",
        description="The assistant refused, and the retriever finds a chunk for the question.",
        drops=False,
    ),
    "corrected": CheckedKind(
        title="Corrected by an agent",
        title_ko="상담원이 수정함",
        description="An agent answered something else. The agent's answer is the reference answer.",
        drops=False,
    ),
    "uncertain": CheckedKind(
        title="Uncertain answer",
        title_ko="불확실한 답변",
        description="The confidence is low, the status says so, or the answer refuses in part.",
        drops=False,
    ),
    "disliked": CheckedKind(
        title="Negative feedback",
        title_ko="부정 평가",
        description="A customer rated the answer as bad.",
        drops=False,
    ),
}
"""Why a person should look at a question, described like the checks of a question set."""


def live_question(
    group: Group, match: LiveMatch, filters: Filters, known: bool, config: LiveQuestionsConfig
) -> LiveQuestion:
    """Return a distinct question with its reasons. Of the texts of the group, the last ones with a fault are kept."""
    found = found_chunk(match, config)
    corrected = [r for r in group.records if r.correction]
    refused = [r for r in group.records if r.outcome == "refused"]
    uncertain = [
        r
        for r in group.records
        if r.outcome == "uncertain" or (r.confidence is not None and r.confidence < config.min_confidence)
    ]
    disliked = [r for r in group.records if r.disliked]
    reasons: dict[ReviewReason, bool] = {
        "refused": bool(refused) and found is not None,
        "corrected": bool(corrected),
        "uncertain": bool(uncertain),
        "disliked": bool(disliked),
    }
    shown = (corrected or refused or uncertain or disliked or list(group.records))[-1]
    return LiveQuestion(
        question_id=question_id(group.first.question, [found] if found else []),
        question=group.first.question,
        asked=len(group.records),
        reasons=[reason for reason, holds in reasons.items() if holds],
        chunk_id=found,
        score=match.score,
        answer=shown.answer,
        correction=shown.correction,
        filters=dict(filters),
        known=known,
    )


def count(distinct: Distinct, questions: Sequence[LiveQuestion]) -> LiveCounts:
    """Return the numbers of the report."""
    reasons = Counter(reason for question in questions for reason in question.reasons)
    pairs = list(zip(distinct.groups, questions, strict=True))
    refused = [q for group, q in pairs if any(record.outcome == "refused" for record in group.records)]
    return LiveCounts(
        records=sum(len(group.records) for group in distinct.groups),
        distinct=len(questions),
        exact_duplicates=distinct.exact,
        near_duplicates=distinct.near,
        refused=len(refused),
        refused_without_chunk=sum(question.chunk_id is None for question in refused),
        corrected=reasons["corrected"],
        uncertain=reasons["uncertain"],
        disliked=reasons["disliked"],
        known=sum(question.known for question in questions),
    )


def review_candidates(questions: Iterable[LiveQuestion], corpus: Corpus) -> list[Candidate]:
    """Return the questions that a person should look at, most often asked first."""
    wanted = sorted((q for q in questions if q.reasons), key=lambda q: -q.asked)
    return [_candidate(question, corpus) for question in wanted]


def new_candidates(questions: Iterable[LiveQuestion], corpus: Corpus, n: int) -> list[Candidate]:
    """Return up to `n` new evaluation questions: neither known nor to be reviewed, most often asked first.

    Products take turns, so that the product with most customers does not fill the set.
    """
    by_product: dict[str, list[LiveQuestion]] = {}
    for question in sorted(questions, key=lambda q: -q.asked):
        letters = len(normalize(without_placeholders(question.question)))
        if not question.known and not question.reasons and letters >= MIN_LETTERS:
            chunk = corpus.by_id.get(question.chunk_id or "")
            by_product.setdefault(product_name(chunk) if chunk else "", []).append(question)
    turns = ((turn, product) for product, own in by_product.items() for turn in range(len(own)))
    chosen = [by_product[product][turn] for turn, product in sorted(turns, key=lambda place: place[0])[:n]]
    return [_candidate(question, corpus) for question in chosen]


def _candidate(live: LiveQuestion, corpus: Corpus) -> Candidate:
    """Return the question as a candidate. The agent's answer is the reference; there is no other one."""
    refused = bool(live.correction) and refusal(live.correction) == "full"
    chunk = corpus.by_id.get(live.chunk_id or "") if not refused else None
    reference = live.correction if chunk or refused else None
    question = Question(
        question_id=question_id(live.question, [chunk.chunk_id] if chunk else []),
        question=live.question,
        type=_type(live.question) if chunk else "unanswerable",
        answerable=chunk is not None,
        gold_chunk_ids=[chunk.chunk_id] if chunk else [],
        reference_answer=reference or None,
        required_numbers=required_numbers(reference, chunk.text, live.question) if chunk and reference else [],
        filters=live.filters,
    )
    asked = QuestionFinding(check="live", detail=f"asked {live.asked} times, score {live.score:.1f}", drops=False)
    reasons = [
        QuestionFinding(check=reason, detail=_detail(reason, live, reference)[:MAX_DETAIL], drops=False)
        for reason in live.reasons
    ]
    return Candidate(
        question, kind_of(question, corpus), rank=1 if chunk else None, findings=(*reasons, asked), origin="live"
    )


def _detail(reason: ReviewReason, live: LiveQuestion, reference: str | None) -> str:
    """Return the text that a person needs for a reason: the answer, or a correction that became no reference."""
    return live.correction if reason == "corrected" and not reference else live.answer


def _type(question: str) -> QuestionType:
    if len(question) > SCENARIO_CHARACTERS:
        return "scenario"
    return "fact" if asked_units(question) else "easy"


def generation_targets(
    questions: Iterable[LiveQuestion],
    pairs: Mapping[str, int],
    chunks: Mapping[str, Chunk],
    config: LiveQuestionsConfig,
) -> list[GenerationTarget]:
    """Return the chunks with many live questions and few pairs, those that lack most pairs first.

    `pairs` maps the id of a chunk to the number of generated pairs about it.
    """
    asked: Counter[str] = Counter()
    for question in questions:
        if question.chunk_id:
            asked[question.chunk_id] += question.asked
    targets = [
        GenerationTarget(
            chunk_id=chunk_id,
            heading=f"{product_name(chunks[chunk_id])} > {section_path(chunks[chunk_id])}",
            live_questions=n,
            pairs=pairs.get(chunk_id, 0),
        )
        for chunk_id, n in asked.items()
        if n >= config.target_questions and pairs.get(chunk_id, 0) < config.pairs_per_question * n
    ]
    targets.sort(key=lambda t: (t.pairs - config.pairs_per_question * t.live_questions, t.chunk_id))
    return targets[: config.max_targets]
