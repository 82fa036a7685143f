"""Finds the parties of a contract in a clause and their roles: who acts, on whom, and who receives."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

Role = Literal["subject", "topic", "object", "recipient", "source", "possessor"]
Roles = tuple[tuple[str, Role], ...]
"""Pairs of a party and its role."""

CUSTOMERS = frozenset(["계약자", "피보험자", "수익자", "대리청구인"])
"""Standard names of the parties on the customer's side of a contract."""
MIN_FOLLOWING = 2
"""Number of letters of the word after a party that must agree."""
INSURER = frozenset(["회사"])

_PARTIES = {
    "보험회사": "회사", "보험사": "회사", "보험자": "회사", "회사": "회사", "당사": "회사",
    "보험계약자": "계약자", "계약자": "계약자",
    "기명피보험자": "피보험자", "피보험자": "피보험자",
    "보험수익자": "수익자", "수익자": "수익자",
    "지정대리청구인": "대리청구인", "대리청구인": "대리청구인",
    "경찰서": "경찰", "경찰": "경찰", "청구인": "청구인", "양수인": "양수인", "양도인": "양도인", "운전자": "운전자",
    "상속인": "상속인", "피해자": "피해자", "의사": "의사", "약사": "약사", "가해자": "가해자", "배상의무자": "가해자",
    "금융감독원장": "금융감독원", "금융감독원": "금융감독원", "예금보험공사": "예금보험공사",
}  # fmt: skip
_PARTICLES: tuple[tuple[str, Role], ...] = (
    ("에게서|한테서|께로부터|로부터|으로부터", "source"),
    ("에게|께(?!서)|한테|에(?=\\s|,)", "recipient"),
    ("께서|이(?=\\s|,)|가(?=\\s|,)", "subject"),
    ("은|는", "topic"),
    ("을|를", "object"),
    ("의", "possessor"),
)
_PATTERN = re.compile(
    r"(?<![가-힣])(?:[가-힣]{2,6}생명|[가-힣]{2,6}화재|[가-힣]{2,6}손해보험|"
    + "|".join(sorted(_PARTIES, key=len, reverse=True))
    + r")(?:님|분|들|\s본인)?("
    + "|".join(f"(?P<{role}>{particles})" for particles, role in _PARTICLES)
    + ")"
)


def roles(text: str) -> Roles:
    """Return the parties in the clause with their roles, in order.

    >>> roles("회사는 보험수익자에게 보험금을 지급합니다.")
    (('회사', 'topic'), ('수익자', 'recipient'))
    """
    return tuple((mention.party, mention.role) for mention in party_mentions(text))


class Mention(NamedTuple):
    """A party in a text with its role. `start` and `end` are the position of its name and particle."""

    party: str
    """Standard name of the party."""
    role: Role
    start: int
    end: int
    name: str
    """Name of the party as written, without its particle."""


def party_mentions(text: str) -> list[Mention]:
    """Return the parties in the clause with their roles and positions, in order."""
    found = []
    for match in _PATTERN.finditer(text):
        role = next(role for _, role in _PARTICLES if match[role])
        name = match.group()[: match.start(1) - match.start()]
        found.append(Mention(party(name), role, match.start(), match.end(), name))
    return found


def swapped_party(answer: str, evidence: str) -> str | None:
    """Return a party of the answer whose place another party has in the evidence, or None.

    Two parties have the same place if their roles and the beginnings of the following words are equal.

    >>> swapped_party("회사에게 유리하게 해석합니다.", "계약자에게 유리하게 해석합니다.")
    '회사에게'
    """
    quoted = party_mentions(evidence)
    if not quoted:
        return None
    for mention in party_mentions(answer):
        following = _next_word(answer, mention)
        same = [q for q in quoted if q.role == mention.role and _next_word(evidence, q) == following]
        is_swapped = mention.role != "possessor" and all(q.party != mention.party for q in same)
        if same and len(following) == MIN_FOLLOWING and is_swapped:
            return answer[mention.start : mention.end]
    return None


def _next_word(text: str, mention: Mention) -> str:
    """Return the first letters of the word after a mention, if there is one in the same line."""
    return "".join(text[mention.end : mention.end + 20].split()[:1])[:MIN_FOLLOWING]


def party(name: str) -> str:
    """Return the standard name of a party: 보험계약자 and 계약자 are the same, and an insurer's name means 회사."""
    name = name.removesuffix(" 본인")
    for suffix in ("님", "분", "들"):
        name = name.removesuffix(suffix)
    return _PARTIES.get(name, "회사")
