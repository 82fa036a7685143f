"""Check for sentences that deny what the context affirms, or affirm what it denies."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from insurance_rag import korean
from insurance_rag.evaluation.checks.passages import Match, Passage, claim_weights, statement_meaning
from insurance_rag.evaluation.checks.registry import CheckedAnswer, check
from insurance_rag.korean.bounds import LOWER, BoundedQuantity
from insurance_rag.korean.statements import Statement, analyze
from insurance_rag.korean.wording import Meaning, meaning

MIN_SCORE = 0.33
"""A passage with a smaller cosine similarity to the sentence may be about something else."""
MAX_AGREEING = 0.7
"""Maximum similarity of a passage that agrees with the sentence, relative to the one that contradicts it."""

_YES = re.compile(r"^\s*(?:(?:네|예)(?=[,.!]|\s*$|\s(?:맞|그렇|가능))|맞습니다|그렇습니다|맞아요|그래요|그럼요|물론)")
_NO = re.compile(r"^\s*(?:아니요|아니오|아뇨|아닙니다|그렇지 않|아니에요|안 됩니다|안 돼요)")
# Words that limit what a question asks. "No" to `전액 나오나요?` does not deny that something is paid.
_DEGREE = re.compile(
    r"전부|전액|모두|다\s|똑같|그대로|저절로|자동|바로|더\s|만\s|만\?|먼저|계속|무조건|항상|따로|무제한|한꺼번에|처음부터"
)
# Words that limit a statement to some cases. Its opposite holds in the other cases.
_ONLY = re.compile(r"(?:에만|때만|만을|만이|만은|만\s|뿐|한하여|한정|한해|오직|오로지)")
_CLAIM_ENDINGS = frozenset(
    ["고", "며", "으며", "지만", "으나", "나", "므로", "으므로", "니", "으니", "니까", "으니까", "는데"]
)


@dataclass(frozen=True)
class Claim:
    """What a clause of the answer asserts."""

    text: str
    meaning: Meaning
    statement: Statement


@check(
    "polarity",
    title="Opposite of the context",
    title_ko="약관과 반대",
    description="A sentence says the opposite of the statement in the context that is most similar to it.",
    order=72,
)
def find_contradictions(answer: CheckedAnswer) -> Iterator[str]:
    """Yield every clause that denies what the most similar passage affirms, or the other way round."""
    for claim in _claims(answer):
        matches = answer.passages.matches(claim_weights(claim.statement.text, answer.question))
        contradicting = _best(matches, claim.meaning._replace(affirmed=not claim.meaning.affirmed))
        if contradicting is None or contradicting.score < MIN_SCORE:
            continue
        agreeing = _best(matches, claim.meaning)
        if agreeing is not None and agreeing.score > MAX_AGREEING * contradicting.score:
            continue
        sentence = [s for s in answer.statements if s.sentence == claim.statement.sentence]
        parts = sentence if claim.statement in sentence else [claim.statement]
        if not _differs_in_conditions(parts, contradicting.passage, answer.question):
            yield claim.text


def _claims(answer: CheckedAnswer) -> Iterator[Claim]:
    asked = analyze(answer.question)
    said = re.match(r"[^.,!\n]*", answer.text.strip())
    if asked and said and (_YES.match(answer.text) or _NO.match(answer.text)) and not _DEGREE.search(asked[-1].text):
        found = statement_meaning(asked[-1])
        if found is not None:
            affirmed = found.affirmed == bool(_YES.match(answer.text))
            yield Claim(said.group(), found._replace(affirmed=affirmed), asked[-1])
    for statement in answer.statements:
        if not _asserts(statement):
            continue
        found = statement_meaning(statement)
        if found is not None:
            yield Claim(statement.text, found, statement)


def _asserts(statement: Statement) -> bool:
    """Return whether the clause asserts something, and without limiting it to some cases."""
    predicate = statement.predicate
    if predicate is None or (predicate.negated and _DEGREE.search(statement.text)):
        return False
    if _ONLY.search(statement.text) or korean.is_refusal_sentence(statement.text):
        return False
    return predicate.ending == "final" or predicate.connective in _CLAIM_ENDINGS


def _best(matches: Sequence[Match], wanted: Meaning) -> Match | None:
    return next((match for match in matches if match.passage.meaning == wanted), None)


def _differs_in_conditions(claim: Sequence[Statement], passage: Passage, question: str) -> bool:
    """Return whether the claim is about another case than the passage, so that both may be true.

    `claim` are all clauses of the claim's sentence.
    """
    if _ONLY.search(passage.statement.text):
        return True
    without = any("없이" in text for text in (question, *(clause.text for clause in claim)))
    if without != ("없이" in passage.statement.text):
        return True
    conditions = {meaning(p) for p in passage.statement.predicates[:-1]}
    own = {meaning(p) for clause in claim for p in clause.predicates[:-1]} | {
        meaning(p) for s in analyze(question) for p in s.predicates[:-1]
    }
    if any(other._replace(affirmed=not other.affirmed) in own for other in conditions if other not in own):
        return True
    return any(_conflicts(a, b) for clause in claim for a in clause.quantities for b in passage.statement.quantities)


def _conflicts(a: BoundedQuantity, b: BoundedQuantity) -> bool:
    if a.quantity.unit != b.quantity.unit or not b.bound:
        return False
    if a.key != b.key:
        return bool(a.bound)
    return a.bound not in LOWER if b.bound in LOWER else a.bound in LOWER
