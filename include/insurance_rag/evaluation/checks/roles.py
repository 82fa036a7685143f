"""Check for sentences in which a party acts that acts differently in the context: the payer receives, or similar."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from insurance_rag import korean
from insurance_rag.evaluation.checks.passages import Match, claim_weights
from insurance_rag.evaluation.checks.registry import CheckedAnswer, check
from insurance_rag.evaluation.correctness.roles import IMPOSSIBLE, Binding, bindings
from insurance_rag.korean.morphemes import morphemes
from insurance_rag.korean.predicates import Predicate, predicates
from insurance_rag.korean.roles import party_mentions
from insurance_rag.korean.wording import meaning

MIN_SCORE = 0.5
"""A passage with a smaller cosine similarity to the sentence may be about something else."""
NEAR = 0.75
"""A passage that agrees with the sentence counts if its similarity is at least this fraction of the best one's."""
MIN_BINDING_SCORE = 0.65
"""The same for the roles in relative clauses and conditions."""
MAX_NEAR = 6
_RECEIVING = frozenset(["받", "수령", "돌려받", "타"])
_VAGUE = frozenset(["하", "되", "있", "없", "말", "이", "아니", "것", "경우", "따르", "따라"])
_MAIN = frozenset(
    [
        "고",
        "며",
        "으며",
        "지만",
        "으나",
        "나",
        "므로",
        "으므로",
        "니",
        "으니",
        "니까",
        "으니까",
        "는데",
        "도록",
        "어",
        "아",
        "여",
        "게",
        "어서",
        "아서",
    ]
)
"""Connective endings after which the clause continues as a main clause. After 면 or 아도, it is a condition."""


@dataclass(frozen=True)
class Parties:
    """The parties of a clause by their roles for the main predicate."""

    agents: frozenset[str]
    recipients: frozenset[str]
    objects: frozenset[str]
    concept: str
    """The meaning of the main predicate, such as `pay` for 지급하다 and 보상하다."""


@check(
    "roles",
    title="Parties swapped",
    title_ko="당사자 바뀜",
    description="A party does what another party does in the most similar statement of the context.",
    order=74,
)
def find_swapped_roles(answer: CheckedAnswer) -> Iterator[str]:
    """Yield every clause whose parties have other roles in the most similar passages, or roles that they never have."""
    for statement in answer.statements:
        said = bindings(statement.text)
        if not said or korean.is_refusal_sentence(statement.text):
            continue
        matches = answer.passages.matches(claim_weights(statement.text, answer.question))
        near = [match for match in matches[:MAX_NEAR] if match.score >= max(MIN_SCORE, NEAR * matches[0].score)]
        if _is_contradicted(statement.text, near) or _is_rebound(said, near) or _is_impossible(said, answer):
            yield statement.text


def _is_contradicted(text: str, matches: Sequence[Match]) -> bool:
    """Return whether a similar passage names the parties in other roles, and none names them in the same roles."""
    said, found = _parties(text), False
    for match in matches:
        shown = _parties(match.passage.statement.text)
        if _conflict(said, shown):
            found = True
        elif said.agents & shown.agents or said.recipients & shown.recipients:
            return False
    return found


def _is_rebound(said: Mapping[Binding, frozenset[str]], matches: Sequence[Match]) -> bool:
    """Return whether another party has the same role for the same predicate or noun in the similar passages."""
    shown: dict[Binding, frozenset[str]] = {}
    for match in matches:
        if match.score >= MIN_BINDING_SCORE:
            for binding, parties in bindings(match.passage.statement.text).items():
                shown[binding] = shown.get(binding, frozenset()) | parties
    return any(
        not parties & shown[binding]
        for binding, parties in said.items()
        if binding in shown and binding.of not in _VAGUE
    )


def _is_impossible(said: Mapping[Binding, frozenset[str]], answer: CheckedAnswer) -> bool:
    """Return whether a party has a role that it never has in an insurance contract, nor in this context."""
    for binding, parties in said.items():
        wrong = parties & IMPOSSIBLE.get(binding, frozenset())
        if wrong and not wrong & answer.known_roles.get(binding, frozenset()):
            return True
    return False


@lru_cache(maxsize=20_000)
def _parties(text: str) -> Parties:
    """Return the roles of the parties. A topic belongs to the last predicate, every other party to the next one.

    Parties in relative clauses and conditions are left out.
    """
    mentions = party_mentions(text)
    if not mentions:
        return Parties(frozenset(), frozenset(), frozenset(), "")
    tokens = morphemes(text)
    verbs = [(tokens[p.start].start, p) for p in predicates(tokens) if p.start < len(tokens)]
    by_role: dict[str, set[str]] = {}
    for mention in mentions:
        following = [predicate for at, predicate in verbs if at >= mention.end]
        if mention.role == "topic" or (following and _is_main(following[0])):
            by_role.setdefault(mention.role, set()).add(mention.party)
    agents = by_role.get("topic") or by_role.get("subject") or set()
    if verbs and verbs[-1][1].lemma in _RECEIVING:  # who receives is the recipient of who gives
        by_role.setdefault("recipient", set()).update(agents)
        agents = set()
    return Parties(
        frozenset(agents),
        frozenset(by_role.get("recipient", set())),
        frozenset(by_role.get("object", set())),
        meaning(verbs[-1][1]).concept if verbs else "",
    )


def _is_main(predicate: Predicate) -> bool:
    return predicate.ending == "final" or predicate.connective in _MAIN


def _conflict(a: Parties, b: Parties) -> bool:
    """Return whether the parties of one clause have roles that exclude those of the other."""
    if a.agents and b.agents and not a.agents & b.agents and a.concept == b.concept:
        return True
    if a.recipients and b.recipients and not a.recipients & b.recipients:
        return True
    if a.agents & b.recipients or a.recipients & b.agents:
        return True
    return bool(a.objects and b.objects and not a.objects & b.objects)
