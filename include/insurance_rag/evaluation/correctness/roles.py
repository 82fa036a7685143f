"""Roles: who does what. An answer must not swap the parties of the reference.

`회사는 계약자에게 알립니다` and `계약자는 회사에 알립니다` share all their words. Every party is therefore bound to
the predicate that it belongs to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from insurance_rag.core.records import CorrectnessProblem
from insurance_rag.evaluation.correctness.content import f_score
from insurance_rag.evaluation.correctness.expected import Expected
from insurance_rag.evaluation.correctness.stance import main_text
from insurance_rag.korean.morphemes import morphemes
from insurance_rag.korean.predicates import Predicate, predicates
from insurance_rag.korean.roles import CUSTOMERS, INSURER, party_mentions
from insurance_rag.korean.statements import analyze

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


IMPOSSIBLE: dict[Binding, frozenset[str]] = {
    Binding("subject", "give"): CUSTOMERS,
    Binding("recipient", "give"): INSURER,
    **{
        Binding("subject", act): INSURER
        for act in ("submit", "청구", "청약", "가입", "신청", "withdraw", "부활", "신고", "부담")
    },
    **{Binding("subject", act): CUSTOMERS for act in ("승낙", "인정")},
    **{Binding("recipient", act): CUSTOMERS for act in ("submit", "청구", "청약", "신청")},
}
"""Roles that a party of an insurance contract does not have, unless the reference or a gold chunk says so."""


def find_swapped_roles(answer: str, expected: Expected) -> Iterator[CorrectnessProblem]:
    """Yield a problem if a party of the answer has the role of another one."""
    reference = bindings(expected.reference or "")
    named = frozenset[str]().union(*reference.values())
    known = _known_parties(expected.reference or "", *expected.gold_texts)
    for binding, parties in bindings(main_text(answer)).items():
        right = known.get(binding, frozenset())
        if binding.of in _LIGHT:
            continue
        if right and not parties & right and (binding in reference or not parties & named):
            text = f"{', '.join(sorted(parties))} ≠ {', '.join(sorted(right))} ({binding.of})"
            yield CorrectnessProblem(kind="roles", text=text)
            return
        if parties & IMPOSSIBLE.get(binding, frozenset()) - right:
            text = f"{', '.join(sorted(parties))} ({binding.of})"
            yield CorrectnessProblem(kind="roles", text=text)
            return
    denied = _denied_parties(answer) & {party for parties in known.values() for party in parties}
    unfit = denied | _added_parties(answer, expected, known)
    if unfit:
        yield CorrectnessProblem(kind="roles", text=", ".join(sorted(unfit)))


NEARLY_THE_SAME = 0.7
"""F-score from which a statement is one of the reference, apart from its parties. Chosen on the part `tuning`."""


def _added_parties(answer: str, expected: Expected, known: Mapping[Binding, frozenset[str]]) -> frozenset[str]:
    """Return the parties that an answer adds to a statement of the reference.

    Parties that the question names, or that have the same role in a gold chunk, are no additions. Nor is the insurer,
    whom sentences of policies often leave out.
    """
    reference = expected.reference or ""
    named = {mention.party for text in (reference, expected.question) for mention in party_mentions(text)}
    return frozenset(
        party
        for statement in analyze(main_text(answer))
        if any(f_score(statement.lemmas, own.lemmas) >= NEARLY_THE_SAME for own in analyze(reference))
        for binding, parties in bindings(statement.text).items()
        if binding.role != "possessor"
        for party in parties - INSURER - named - known.get(binding, frozenset())
    )


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
