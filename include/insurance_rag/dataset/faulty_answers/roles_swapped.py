"""The fault `roles_swapped`: another party acts, receives something or is meant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from insurance_rag.dataset.faulty_answers.registry import Change, RightAnswer, fault
from insurance_rag.korean import sentences
from insurance_rag.korean.particles import refit_particle
from insurance_rag.korean.roles import Mention, party_mentions
from insurance_rag.korean.statements import Statement, analyze

_NAMES = {"회사": ("회사",), "계약자": ("계약자",), "피보험자": ("피보험자",), "수익자": ("보험수익자", "수익자")}
"""Parties that replace another one, with their names, the most exact one first."""
_LIGHT = frozenset(["하", "되", "있", "없", "이", "말", "따르", "경우"])


@fault("roles_swapped", title="Names the wrong party")
def roles_swapped(source: RightAnswer) -> Iterator[Sequence[Change]]:
    """Exchange two parties of a sentence, or replace one by a party that has nothing to do with its predicate.

    Parties that the chunk names are preferred.
    """
    for sentence in sentences(source.answer):
        mentions = [m for m in party_mentions(sentence.text) if m.party in _NAMES]
        for n, first in enumerate(mentions):
            for second in mentions[n + 1 :]:
                once = all(sentence.text.count(mention.name) == 1 for mention in (first, second))
                if once and first.party != second.party and first.role != second.role:
                    yield [
                        _renamed(sentence.start, first, sentence.text, second.name),
                        _renamed(sentence.start, second, sentence.text, first.name),
                    ]
        if len({mention.party for mention in mentions}) == 1:
            yield from _replaced(source, sentence.text, sentence.start, mentions)


def _replaced(source: RightAnswer, text: str, start: int, mentions: Sequence[Mention]) -> Iterator[Sequence[Change]]:
    about = frozenset(p.lemma for statement in analyze(text) for p in statement.predicates) - _LIGHT
    possible = [
        next((name for name in names if name in source.gold_text), names[-1])
        for party, names in _NAMES.items()
        if party != mentions[0].party
        and not any(name in text for name in names)
        and not any(_is_about(statement, about, names) for statement in analyze(source.gold_text))
    ]
    for name in [name for name in possible if name in source.gold_text] or possible:
        yield [_renamed(start, mention, text, name) for mention in mentions]


def _is_about(statement: Statement, predicates: frozenset[str], names: Sequence[str]) -> bool:
    """Return whether a statement of the chunk names the party together with one of the predicates.

    The party could then also be right: 계약자 또는 피보험자는 알려야 합니다.
    """
    own = {p.lemma for p in statement.predicates}
    return bool(own & predicates) and any(name in statement.text for name in names)


def _renamed(offset: int, mention: Mention, text: str, name: str) -> Change:
    """Replace a party's name, and its particle if it does not fit the new name."""
    particle = text[mention.start + len(mention.name) : mention.end]
    if particle in ("에", "에게") and not text.startswith(" 대", mention.end):  # 회사에, but 계약자에게; 계약자에 대한
        particle = "에" if name.endswith("회사") else "에게"
    return Change(offset + mention.start, offset + mention.end, name + refit_particle(name, particle))
