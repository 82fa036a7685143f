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
MIN_LOOSE_SCORE = 0.5
"""The same for a passage that does not use the same predicate, but one of similar meaning."""
MAX_MATCHES = 3
"""Only this many passages are compared with a sentence."""
MAX_AGREEING = 0.7
"""Maximum similarity of a passage that agrees with the sentence, relative to the one that contradicts it."""

_YES = re.compile(r"^\s*(?:(?:네|예)(?=[,.!]|\s*$|\s(?:맞|그렇|가능))|맞습니다|그렇습니다|맞아요|그래요|그럼요|물론)")
_NO = re.compile(r"^\s*(?:아니요|아니오|아뇨|아닙니다|그렇지 않|아니에요|안 됩니다|안 돼요)")
# Words that limit what a question asks. "No" to `전액 나오나요?` does not deny that something is paid.
_DEGREE = re.compile(
    r"전부|전액|모두|다\s|똑같|그대로|저절로|자동|바로|더\s|만\s|만\?|먼저|계속|무조건|항상|따로|무제한|한꺼번에|처음부터"
)
_ALL = re.compile(r"전부|전액|모두|다\s|똑같|그대로|더\s")
# Words that limit a statement to some cases. Its opposite holds in the other cases.
_ONLY = re.compile(r"(?:에만|때만|만을|만이|만은|만\s|뿐|한하여|한정|한해|오직|오로지)")
_WITHOUT = re.compile(r"(?<![가-힣])없이")
_CLAIM_ENDINGS = frozenset(
    ["고", "며", "으며", "지만", "으나", "나", "므로", "으므로", "니", "으니", "니까", "으니까", "는데"]
)


# Predicates that grant something: their denials exclude each other's affirmations.
_GRANTS = frozenset(["pay", "include", "count_as", "apply", "제공", "이월", "갱신", "possible", "지원"])
# Predicates that only refer to another sentence, or that state a bound: 그렇지 않다, 30일을 넘기지 않다, 1년이 안 되다.
_NO_CLAIM = frozenset(
    [
        "그렇",
        "그러",
        "이렇",
        "마찬가지",
        "막",
        "넘",
        "넘기",
        "지나",
        "초과",
        "걱정",
        "죄송",
        "아쉽",
        "년",
        "일",
        "개월",
        "달",
        "살",
        "세",
        "되",
        "물론",
        "때",
        "거",
        "건",
        "것",
    ]
)
_REFERRING = re.compile(r"^\s*(?:이들|이것|그것|이는|이 경우|그 경우|여기|그때)")
# Predicates of definitions and tables, which affirm what they list.
_DEFINITIONS = frozenset(["말", "같", "뜻", "의미", "이르"])
# Nouns whose absence denies a duty, a payment or a possibility: 필요가 없다, 받을 돈이 없다, 방법이 없다.
_NOTHING = frozenset(["need", "필요", "의무", "방법", "돈", "금액", "제도", "서류", "기간", "이자", "한도"])


@dataclass(frozen=True)
class Claim:
    """What a clause of the answer asserts."""

    text: str
    meaning: Meaning
    statement: Statement
    is_sentence: bool = True
    """Whether the claim is a clause of the answer; otherwise, it is what 네 or 아니요 says about the question."""


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
        contradicting = _contradicting(matches, claim)
        if contradicting is None:
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
            yield Claim(said.group(), found._replace(affirmed=affirmed), asked[-1], is_sentence=False)
    for statement in answer.statements:
        if not _asserts(statement):
            continue
        found = statement_meaning(statement)
        if found is not None and found.concept not in _NO_CLAIM:
            yield Claim(statement.text, found, statement)


def _asserts(statement: Statement) -> bool:
    """Return whether the clause asserts something, and without limiting it to some cases."""
    predicate = statement.predicate
    if predicate is None or (predicate.negated and _ALL.search(statement.text)):
        return False
    if _ONLY.search(statement.text) or korean.is_refusal_sentence(statement.text):
        return False
    return predicate.ending == "final" or predicate.connective in _CLAIM_ENDINGS


def _contradicting(matches: Sequence[Match], claim: Claim) -> Match | None:
    """Return the most similar passage that contradicts the claim, unless one that agrees is about as similar."""
    agreeing = max((m.score for m in matches if _stance(m.passage, claim.meaning) > 0), default=0.0)
    for match in matches[:MAX_MATCHES]:
        if agreeing > MAX_AGREEING * match.score or match.score < MIN_SCORE:
            return None
        stance = _stance(match.passage, claim.meaning)
        if stance == -2 or (stance == -1 and match.score >= MIN_LOOSE_SCORE and claim.is_sentence):
            return match
    return None


def _stance(passage: Passage, said: Meaning) -> int:
    """Return 1 if the passage agrees with what is said, -2 if it denies just that, -1 if it denies something like it.

    0 means that it says nothing about it. `포함하지 않는다` denies something like `보상한다`.
    """
    meanings = passage.meanings
    if said in meanings:
        return 1
    if said._replace(affirmed=not said.affirmed) in meanings:
        return -2
    main = passage.meaning
    if main is None or not _comparable(said, main):
        return 0
    return 1 if main.affirmed == said.affirmed else -1


def _comparable(said: Meaning, shown: Meaning) -> bool:
    if said.concept in _GRANTS and shown.concept in _GRANTS:
        return True
    return not said.affirmed and (shown.concept in _DEFINITIONS or said.concept in _NOTHING)


def _differs_in_conditions(claim: Sequence[Statement], passage: Passage, question: str) -> bool:
    """Return whether the claim is about another case than the passage, so that both may be true.

    `claim` are all clauses of the claim's sentence.
    """
    if _ONLY.search(passage.statement.text) or any(_ONLY.search(clause.text) for clause in claim):
        return True
    if "제외" in passage.statement.text and Meaning("include", affirmed=False) not in passage.meanings:
        return True
    without = any(_WITHOUT.search(text) for text in (question, *(clause.text for clause in claim)))
    if without != (_WITHOUT.search(passage.statement.text) is not None):
        return True
    conditions = {meaning(p) for p in passage.statement.predicates[:-1]}
    own = {meaning(p) for clause in claim for p in clause.predicates[:-1]} | {
        meaning(p) for s in analyze(question) for p in s.predicates[:-1]
    }
    if any(other._replace(affirmed=not other.affirmed) in own for other in conditions if other not in own):
        return True
    said = [quantity for clause in claim for quantity in clause.quantities]
    return any(_is_other_case(quantity, passage.statement.quantities) for quantity in said)


def _is_other_case(said: BoundedQuantity, shown: Sequence[BoundedQuantity]) -> bool:
    """Return whether a bounded number differs from all numbers of the same unit in a passage that has some."""
    same = [quantity for quantity in shown if quantity.quantity.unit == said.quantity.unit and quantity.bound]
    if not same or not said.bound:
        return any(quantity.key == said.key and quantity.bound in LOWER for quantity in same)
    return not any(q.key == said.key and (q.bound in LOWER) == (said.bound in LOWER) for q in same)
