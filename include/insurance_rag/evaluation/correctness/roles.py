"""Roles: who does what. An answer must not swap the parties, terms or numbers of the reference.

`회사는 계약자에게 알립니다` and `계약자는 회사에 알립니다` share all their words. Therefore every party is bound to the predicate
that it belongs to, and every defined term and number to the words of its statement.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from insurance_rag.core.records import CorrectnessProblem
from insurance_rag.evaluation.correctness.content import f_score
from insurance_rag.evaluation.correctness.expected import Expected
from insurance_rag.evaluation.correctness.stance import is_aside, stance
from insurance_rag.korean import quantities, sentences
from insurance_rag.korean.morphemes import morphemes
from insurance_rag.korean.predicates import Predicate, predicates
from insurance_rag.korean.roles import party_mentions
from insurance_rag.korean.statements import Statement, analyze

MARGIN = 0.2
"""A statement of another term must be this much closer than the statement of the same term."""
_SAME = {
    lemma: group
    for group, lemmas in {
        "give": "지급 보상 보장 주 드리 내주 돌려주 돌려드리 돌리 물어주 환급 반환 배상 물 나가",
        "notify": "알리 통지 통보 안내 고지 알려주",
        "terminate": "해지 해약",
        "withdraw": "철회 무르 물리 취소",
        "receive": "받 수령 타",
        "submit": "제출 납입",
        "choose": "선택 고르 정하",
    }.items()
    for lemma in lemmas.split()
}


_CHAINS = frozenset(["도록", "게", "어", "아", "여", "어서", "아서", "고"])
"""Connective endings of a predicate that shares its subject with the next one."""


_LIGHT = frozenset(["하", "되", "있", "없", "말", "이", "아니", "것", "경우", "따르"])
"""Predicates that say nothing about a party's role."""


class Binding(NamedTuple):
    """A party's role for a predicate or, for a possessor, for a noun."""

    role: str
    of: str
    """Lemma of the predicate, or the noun after a possessor."""


_CUSTOMERS = frozenset(["계약자", "피보험자", "수익자", "대리청구인"])
_INSURER = frozenset(["회사"])
IMPOSSIBLE: dict[Binding, frozenset[str]] = {
    Binding("subject", "give"): _CUSTOMERS,
    Binding("recipient", "give"): _INSURER,
    **{
        Binding("subject", act): _INSURER
        for act in ("submit", "청구", "청약", "가입", "신청", "withdraw", "부활", "신고", "부담")
    },
    **{Binding("subject", act): _CUSTOMERS for act in ("승낙", "인정")},
    **{Binding("recipient", act): _CUSTOMERS for act in ("submit", "청구", "청약", "신청")},
}
"""Roles that a party of an insurance contract does not have, unless the reference or a gold chunk says so."""


def find_swapped_roles(answer: str, expected: Expected) -> Iterator[CorrectnessProblem]:
    """Yield a problem if a party, a defined term or a number of the answer has the role of another one."""
    reference = bindings(expected.reference or "")
    named = frozenset[str]().union(*reference.values())
    known = _known_parties(expected.reference or "", *expected.gold_texts)
    main = " ".join(s.text for s in sentences(answer) if not is_aside(s.text))
    for binding, parties in bindings(main).items():
        right = known.get(binding, frozenset())
        if binding.of in _LIGHT:
            continue
        if right and not parties & right and (binding in reference or not parties & named):
            text = (
                f"{', '.join(sorted(parties))} instead of {', '.join(sorted(right))} ({binding.role} of {binding.of})"
            )
            yield CorrectnessProblem(kind="roles", text=text)
            return
        if parties & IMPOSSIBLE.get(binding, frozenset()) - right:
            text = f"{', '.join(sorted(parties))} as the {binding.role} of {binding.of}"
            yield CorrectnessProblem(kind="roles", text=text)
            return
    if text := _wrong_payer(main, expected):
        yield CorrectnessProblem(kind="roles", text=text)
        return
    for name in sorted(_denied_parties(answer) & {p for parties in known.values() for p in parties}):
        yield CorrectnessProblem(kind="roles", text=f"the answer denies the role of {name}")
        return
    for label, said, right_value in _swapped_values(answer, expected.reference or ""):
        yield CorrectnessProblem(kind="roles", text=f"{label}: {said} instead of {right_value}")
        return
    for name, other in _swapped_anchors(answer, expected.reference or ""):
        yield CorrectnessProblem(kind="roles", text=f"what is said of {name} is true of {other}")
        return


def _wrong_payer(answer: str, expected: Expected) -> str | None:
    """Return a text if the answer says that an amount is paid, and the reference or the question that it is received."""
    said, right = _flows(answer), _flows(expected.reference or "")
    asked = _flow(analyze(expected.question)[-1]) if expected.question.strip() else None
    reverse = _reverse_payment(answer, expected)
    if reverse:
        return f"{reverse.text!r}: the customer pays instead of receiving"
    for amount, flow in said.items():
        wanted = right.get(amount) or (asked if amount in right else None)
        if wanted and flow and wanted != flow:
            return f"{amount}: {flow} instead of {wanted}"
    return None


_MONEY = frozenset(["보험료", "이자", "금액", "돈", "비용", "보험금", "환급금"])


def _reverse_payment(answer: str, expected: Expected) -> Statement | None:
    """Return a statement that the customer must pay money to the insurer, if the reference only grants a benefit."""
    flows = [_flow(s) for s in analyze(expected.reference or "")]
    if "charge" in flows or "benefit" not in flows or _flow(analyze(expected.question)[-1]) == "charge":
        return None
    for statement in analyze(answer):
        to_insurer = any(name in _INSURER and role == "recipient" for name, role in statement.roles)
        if to_insurer and statement.lemmas & _MONEY and _flow(statement) == "charge":
            return statement
    return None


def _flows(text: str) -> Mapping[str, str | None]:
    """Return, for each quantity, whether the customer receives it ("benefit") or pays it ("charge"); None if unknown."""
    return {f"{q.quantity.value:g}{q.quantity.unit}": _flow(s) for s in analyze(text) for q in s.quantities}


def _flow(statement: Statement) -> str | None:
    own = stance(statement)
    if own is None or own.sign < 0 or own.axis not in ("benefit", "charge"):
        return None
    actors = {name for name, role in statement.roles if role in ("subject", "topic")}
    if actors & _INSURER and actors & _CUSTOMERS:
        return None
    insurer_pays = bool(actors & _INSURER)
    return "benefit" if own.axis == "benefit" or insurer_pays or "내 드" in statement.text else "charge"


_NOT_BUT = re.compile(r"([가-힣]+?)(?:이|가|에게|께|에)\s(?:[가-힣]+\s(?:것|게)이?\s?)?아니라")


_NOT_THEIR_TASK = re.compile(
    r"([가-힣]+?)(?:이|가|께서)\s\S{0,6}\s?(?:일|것|돈|의무)(?:은|는|이|가)?\s(?:아니|아닙|없)"
)


def _denied_parties(text: str) -> frozenset[str]:
    """Return the parties that a text excludes: 회사가 아니라 계약자가 알립니다."""
    names = (match[1] for pattern in (_NOT_BUT, _NOT_THEIR_TASK) for match in pattern.finditer(text))
    return frozenset(mention.party for name in names for mention in party_mentions(f"{name}가 "))


def _known_parties(*texts: str) -> Mapping[Binding, frozenset[str]]:
    """Return the parties of each binding. The first text that has the binding decides."""
    known: dict[Binding, frozenset[str]] = {}
    for text in texts:
        for binding, parties in bindings(text).items():
            known.setdefault(binding, parties)
    return known


@lru_cache(5_000)
def bindings(text: str) -> Mapping[Binding, frozenset[str]]:
    """Return the parties of each role and predicate in a text.

    A topic belongs to the last predicate of its statement, every other party to the next one.
    """
    found: dict[Binding, frozenset[str]] = {}
    for statement in analyze(text):
        for binding, name in _bound(statement.text):
            found[binding] = found.get(binding, frozenset()) | {name}
    return found


def _bound(clause: str) -> Iterator[tuple[Binding, str]]:
    tokens = morphemes(clause)
    verbs = [(tokens[p.start].start, p) for p in predicates(tokens) if p.start < len(tokens)]
    for mention in party_mentions(clause):
        if mention.role == "possessor":
            noun = next((t.form for t in tokens if t.start >= mention.end and t.tag in ("NNG", "NNP")), None)
            if noun:
                yield Binding("possessor", noun), mention.party
            continue
        following = [predicate for at, predicate in verbs if at >= mention.end]
        if following:
            role = "subject" if mention.role == "topic" else mention.role
            for predicate in following[-1:] if mention.role == "topic" else _chain(following):
                yield Binding(role, _SAME.get(predicate.lemma, predicate.lemma)), mention.party


def _chain(following: Sequence[Predicate]) -> Iterator[Predicate]:
    """Yield the predicates that share a subject: in `중지하도록 신청할 수 있습니다`, these are 중지 and 신청."""
    for predicate in following:
        yield predicate
        if predicate.connective not in _CHAINS:
            return


def _swapped_anchors(answer: str, reference: str) -> Iterator[tuple[str, str]]:
    """Yield pairs of anchors of the reference, such that the answer says of the first what is true of the second."""
    right, said = _anchors(reference), _anchors(answer)
    for name, words in said.items():
        if name not in right:
            continue
        own = f_score(words, right[name])
        for other, others in right.items():
            both = any({name, other} <= set(_names(statement)) for statement in analyze(answer))
            if other != name and not both and _same_kind(name, other) and f_score(words, others) > own + MARGIN:
                yield name, other


_LABEL = re.compile(r"([가-힣A-Za-zⅠⅡ]{2,})(?:은|는|이|가|의|에는|도|:)?\s?$")


def _swapped_values(answer: str, reference: str) -> Iterator[tuple[str, str, str]]:
    """Yield labels of quantities, such as 급여 in `급여는 70%`, with the value of another label of the reference."""
    right, said = _labeled_values(reference), _labeled_values(answer)
    for label, (key, text) in said.items():
        if label in right and right[label][0] != key and key in {other for other, _ in right.values()}:
            yield label, text, right[label][1]


def _labeled_values(text: str) -> Mapping[str, tuple[tuple[float, str], str]]:
    found: dict[str, tuple[tuple[float, str], str]] = {}
    for quantity in quantities(text):
        label = _LABEL.search(text[max(0, quantity.start - 20) : quantity.start])
        if label:
            found[label[1]] = quantity.key, quantity.text
    return found


def _same_kind(a: str, b: str) -> bool:
    return (
        _UNIT.sub("", a) == _UNIT.sub("", b) if a[0].isdigit() and b[0].isdigit() else a[0].isalpha() and b[0].isalpha()
    )


def _anchors(text: str) -> Mapping[str, frozenset[str]]:
    """Return the words of the statement of each topic and each quantity, without the other anchors."""
    found: dict[str, frozenset[str]] = {}
    statements = analyze(text)
    names = {name for s in statements for name in _names(s)}
    for statement in statements:
        for name in _names(statement):
            found.setdefault(name, statement.lemmas - names)
    return found


_UNIT = re.compile(r"^[\d.e+-]+")
_TOPIC = re.compile(
    r"^\W*(?:제\d+조\S*(?:\s제\d+[항호]\S*)*\s(?:따르면|따라|보면)?,?\s?)?([가-힣]{2,12}?)(?:은|는|이란|란)\s"
)


def _names(statement: Statement) -> Sequence[str]:
    topic = _TOPIC.match(statement.text)
    quantities = [f"{q.quantity.value:g}{q.quantity.unit}" for q in statement.quantities]
    return [*([topic[1]] if topic else []), *quantities]
