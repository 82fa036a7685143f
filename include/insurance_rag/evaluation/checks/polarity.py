"""Check for sentences that deny what the context affirms, or affirm what it denies."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from insurance_rag import korean
from insurance_rag.evaluation.checks.passages import Match, Passage, claim_weights, coverage, statement_meaning
from insurance_rag.evaluation.checks.registry import CheckedAnswer, check
from insurance_rag.korean.bounds import LOWER, BoundedQuantity
from insurance_rag.korean.similarity import Feature, Weights, features
from insurance_rag.korean.statements import Statement, analyze
from insurance_rag.korean.wording import Meaning, meaning

MIN_SCORE = 0.4
"""A passage with a smaller cosine similarity to the sentence may be about something else."""
MIN_SHORT_SCORE = 0.7
"""The same for 네 and 아니요, and for clauses with fewer than MIN_WORDS words, which the question completes."""
MIN_WORDS = 3
MIN_LOOSE_SCORE = 0.5
"""The same for a passage that does not use the same predicate, but one of similar meaning."""
MIN_INNER_SCORE = 0.7
"""The same for predicates of relative clauses and conditions."""
MAX_TAIL = 25
"""Words such as 전액 limit a denial if they are among this many last characters of the clause."""
MAX_COVERED_AGREEING = 0.9
"""MAX_AGREEING for a contradicting passage that the sentence and the question repeat almost completely."""
MIN_COVERED = 0.75
"""Minimum fraction of such a passage's words."""
MIN_REPEATED = 0.5
"""If the sentence repeats this fraction of a passage's words, the question adds no conditions to it."""
MAX_MATCHES = 3
"""Only this many passages are compared with a sentence."""
MAX_AGREEING = 0.6
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
_WITHOUT = re.compile(r"(?<![가-힣])없(?:이|더라도|어도|는|으면)|지\s?(?:않|아니한|못)[은는한았더]|안\s(?:한|하고|했)")
_CLAIM_ENDINGS = frozenset(["고", "며", "으며", "지만", "으나", "나", "므로", "으므로", "는데"])


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
_EXCLUDING = re.compile(r"(?<![가-힣])없이|제외한|[를을]\s뺀")
_DESCRIBING = frozenset(["해당", "속하", "보"])
_VAGUE = frozenset(["있", "하", "가능", "되", "이"])
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

    @property
    def is_long(self) -> bool:
        """Whether the claim itself says what it is about."""
        return self.is_sentence and len(self.statement.lemmas) >= MIN_WORDS


MAX_COMPARED = 100
"""Further statements of an answer are not compared. Only an answer that repeats itself without end has so many."""


@check(
    "polarity",
    title="Opposite of the context",
    title_ko="약관과 반대",
    description="A sentence says the opposite of the statement in the context that is most similar to it.",
    order=72,
)
def find_contradictions(answer: CheckedAnswer) -> Iterator[str]:
    """Yield every clause that denies what the most similar passage affirms, or the other way round."""
    for claim in islice(_claims(answer), MAX_COMPARED):
        weights = claim_weights(claim.statement.text, answer.question)
        contradicting = _contradicting(answer.passages.matches(weights), claim, weights, answer.passages.idf)
        if contradicting is None:
            continue
        sentence = [s for s in answer.statements if s.sentence == claim.statement.sentence]
        parts = sentence if claim.statement in sentence else [claim.statement]
        own = dict.fromkeys((feature for _, feature in features(claim.statement.text)), 1.0)
        repeats = coverage(contradicting.passage.weights, own, answer.passages.idf) >= MIN_REPEATED
        question = "" if repeats and claim.is_sentence else answer.question
        if not _differs_in_conditions(claim.statement, parts, contradicting.passage, question):
            yield claim.text
    for statement in answer.statements[:MAX_COMPARED]:
        if _reverses_inside(statement, answer.passages.matches(claim_weights(statement.text, ""))):
            yield statement.text


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
    if predicate is None or (predicate.negated and _ALL.search(statement.text[-MAX_TAIL:])):
        return False
    if _ONLY.search(statement.text) or korean.is_refusal_sentence(statement.text):
        return False
    if "지 말" in statement.text or _REFERRING.match(statement.text):
        return False
    # A double negation, or a description: 해지하지 못하는 때가 있는 것은 아니다, 보상하지 않는 손해에 해당한다.
    if predicate.lemma in _VAGUE | _DESCRIBING and any(p.negated for p in statement.predicates[:-1]):
        return False
    return predicate.ending == "final" or predicate.connective in _CLAIM_ENDINGS


def _contradicting(
    matches: Sequence[Match], claim: Claim, weights: Weights, idf: Mapping[Feature, float]
) -> Match | None:
    """Return the most similar passage that contradicts the claim, unless one that agrees is about as similar."""
    agreeing = max((m.score for m in matches if _stance(m.passage, claim.meaning) > 0), default=0.0)
    for match in matches[:MAX_MATCHES]:
        stance = _stance(match.passage, claim.meaning)
        covered = stance == -2 and coverage(match.passage.weights, weights, idf) >= MIN_COVERED
        limit = MAX_COVERED_AGREEING if covered else MAX_AGREEING
        if agreeing > limit * match.score or match.score < (MIN_SCORE if claim.is_long else MIN_SHORT_SCORE):
            return None
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
    main = passage.statement.predicate
    if said == Meaning("need", affirmed=False) and main is not None and main.modality == "must":
        return -2
    if said._replace(affirmed=not said.affirmed) in meanings:
        return -2
    shown = passage.meaning
    if shown is None or not _comparable(said, shown):
        return 0
    return 1 if shown.affirmed == said.affirmed else -1


def _comparable(said: Meaning, shown: Meaning) -> bool:
    if said.concept in _GRANTS and shown.concept in _GRANTS:
        return True
    if said.affirmed:
        return False
    return said.concept in _NOTHING or (said.concept in _GRANTS and shown.concept in _DEFINITIONS)


def _reverses_inside(statement: Statement, matches: Sequence[Match]) -> bool:
    """Return whether the clause is nearly equal to a passage, but denies a predicate inside: 부담하지 않은 금액."""
    if not matches or matches[0].score < MIN_INNER_SCORE:
        return False
    if _ONLY.search(statement.text) or _ALL.search(statement.text):
        return False
    best = matches[0].passage
    if best.meaning is not None and best.meaning.concept in _DEFINITIONS and _EXCLUDING.search(statement.text):
        return not _EXCLUDING.search(best.statement.text) and not any(p.negated for p in best.statement.predicates)
    said = _inner(statement)
    for match in matches:
        if match.score < MAX_AGREEING * matches[0].score:
            break
        shown = _inner(match.passage.statement)
        common = {concept for concept in said if concept in shown}
        if not common:
            continue
        same = statement_meaning(statement), match.passage.meaning
        if same[0] is None or same[1] is None or same[0].affirmed != same[1].affirmed:
            return False
        return match is matches[0] and sum(said[concept] != shown[concept] for concept in common) == 1
    return False


def _inner(statement: Statement) -> dict[str, bool]:
    """Return whether each predicate is affirmed, except those that occur in both forms."""
    found: dict[str, bool] = {}
    both = set()
    for predicate in statement.predicates:
        affirmed = not predicate.negated
        if predicate.ending not in ("final", "nominal") and found.setdefault(predicate.lemma, affirmed) != affirmed:
            both.add(predicate.lemma)
    return {lemma: affirmed for lemma, affirmed in found.items() if lemma not in both | _NO_CLAIM | _VAGUE}


def _differs_in_conditions(main: Statement, claim: Sequence[Statement], passage: Passage, question: str) -> bool:
    """Return whether the claim is about another case than the passage, so that both may be true.

    `main` is the clause that makes the claim, and `claim` are all clauses of its sentence.
    """
    if _ONLY.search(passage.statement.text):
        return True
    if "제외" in passage.statement.text and passage.meaning != Meaning("include", affirmed=False):
        return True
    if _has_without(question, *(clause.text for clause in claim)) != _has_without(passage.statement.text):
        return True
    conditions = {meaning(p) for p in passage.statement.predicates[:-1]}
    own = {meaning(p) for clause in claim for p in clause.predicates[:-1]} | {
        meaning(p) for s in analyze(question) for p in s.predicates[:-1]
    }
    if any(other._replace(affirmed=not other.affirmed) in own for other in conditions if other not in own):
        return True
    bounded = [quantity for quantity in main.quantities if quantity.bound]
    said = bounded or [quantity for clause in claim for quantity in clause.quantities]
    return any(_is_other_case(quantity, passage.statement.quantities) for quantity in said)


def _has_without(*texts: str) -> bool:
    """Return whether a text states a condition that is not met: 동의 없이, 동의하지 않은."""
    return any(_WITHOUT.search(text) for text in texts)


def _is_other_case(said: BoundedQuantity, shown: Sequence[BoundedQuantity]) -> bool:
    """Return whether a bounded number differs from all numbers of the same unit in a passage that has some."""
    same = [quantity for quantity in shown if quantity.quantity.unit == said.quantity.unit and quantity.bound]
    if not same or not said.bound:
        return any(quantity.key == said.key and quantity.bound in LOWER for quantity in same)
    return not any(q.key == said.key and (q.bound in LOWER) == (said.bound in LOWER) for q in same)
