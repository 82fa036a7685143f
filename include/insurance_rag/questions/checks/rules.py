"""The validation rules, applied to questions with their reference answers."""

from __future__ import annotations

from insurance_rag.config import ValidationConfig
from insurance_rag.core.records import REFUSAL
from insurance_rag.core.records.generation import OTHER_CHUNK_ID
from insurance_rag.questions.candidate import Candidate
from insurance_rag.questions.checks.registry import question_check
from insurance_rag.questions.corpus import Corpus
from insurance_rag.validation.row import Row, parse_row
from insurance_rag.validation.rules.registry import RULES, RowRule, RuleContext

CONFIG = ValidationConfig()


@question_check("broken_rule", title="Breaks a validation rule", title_ko="검증 규칙 위반")
def broken_rule(candidate: Candidate, corpus: Corpus) -> str | None:
    """The question and its reference answer break a rule that training rows must keep. The finding names the rule."""
    context = RuleContext(CONFIG, corpus.texts, several_products=corpus.several_products and _has_chunk(candidate))
    row = _row(candidate, corpus)
    if row.problem:
        return f"malformed: {row.problem}"
    for name in CONFIG.rules:
        rule = RULES[name]
        if isinstance(rule, RowRule) and (span := rule.check(row, context)) is not None:
            return f"{name}: {span}"
    return None


def _has_chunk(candidate: Candidate) -> bool:
    return bool(candidate.question.gold_chunk_ids)


def _row(candidate: Candidate, corpus: Corpus) -> Row:
    """Return the question as a row. A question without a gold chunk is compared with an empty chunk."""
    question = candidate.question
    texts = {corpus.by_id[i].text: i for i in reversed(question.gold_chunk_ids)}
    first, *others = [*reversed(texts.values())] or [""]
    meta = {"teacher": "given"} if candidate.evidence else {}
    fields = {
        "chunk_id": first or corpus.chunks[0].chunk_id,
        "type": question.type,
        "instruction": question.question,
        "input": "",
        "output": question.reference_answer or f"{REFUSAL}.",
        "evidence": candidate.evidence,
        "answerable": question.answerable,
        "meta": meta | ({OTHER_CHUNK_ID: others[0]} if others else {}),
    }
    return parse_row(fields, CONFIG.max_characters)
