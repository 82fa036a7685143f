"""Decides whether a space belongs between two lines that continue each other.

Most PDFs keep the space character at the end of a line, so a line without it ends inside a word. For other documents,
the words of the document decide, then Korean morphology.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from insurance_rag.ingest.readers.pdf_layout.lines import TextLine
from insurance_rag.ingest.readers.pdf_layout.marks import CLOSING, OPENING
from insurance_rag.korean.line_breaks import words_meet

MIN_TRAILING_SPACES = 0.08
"""In documents that break lines inside words and keep spaces, more lines than this share end with a space."""
MIN_DECISIONS = 20
WORDS_ONLY = 0.97
"""If so many decided line breaks are between words, the document never breaks words."""

BEGINNING = 2
"""So many characters of a word are compared, because its end changes with the particle."""
MAX_WORD = 10

_EDGE = re.compile(r"[^\w]+")
_PARTICLE = re.compile(
    r"(?:을|를|이|가|은|는|의|에|에서|에게|와|과|로|으로|도|만|부터|까지|라|라고|이라|이라고|이나|나|인|한)(?![가-힣])"
)
# Words of a line that are no words of their own: particles, and the verb that makes nouns verbs (`선택|하여`).
_PARTICLE_WORD = re.compile(r"(?:을|를|은|는|의|에|에서|에게|으로|로|과|와|가|라는|라고|까지|부터)(?:\s|$)")
_VERB_ENDING = re.compile(
    r"(?:하(?:여|며|는|고|지|였|기|거나|면|도록|므로|나)|했|합니다|됩니다|되(?:어|며|는|고|지|었|거나|면))"
)
_DIGIT_UNIT = re.compile(r"(?:원|일|년|월|개월|조|항|호|회|세|명|건|배|만|천|백|억|차|급|종|형|%|％)")


@dataclass
class Spacing:
    """What is known about the spaces of a document."""

    keeps_spaces: bool
    words: Counter[str] = field(default_factory=Counter)
    """How often the beginnings of words occur inside lines, where they are certainly complete."""
    neighbors: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often a word is before a word with this beginning."""
    bracket_attached: bool = True
    """Whether an opening bracket usually follows a word without a space."""
    words_only: bool = False
    """Whether lines are broken between words only."""

    def between(self, pairs: Sequence[tuple[TextLine, TextLine]]) -> list[bool]:
        """Return for each pair of lines that continue each other whether a space is between them."""
        found = [self._decide(a, b) for a, b in pairs]
        unknown = [i for i, decision in enumerate(found) if decision is None]
        if unknown:
            before, after = [pairs[i][0].text for i in unknown], [pairs[i][1].text for i in unknown]
            for i, decision in zip(unknown, words_meet(before, after), strict=True):
                found[i] = decision
        return [bool(decision) for decision in found]

    def _decide(self, a: TextLine, b: TextLine) -> bool | None:
        if a.space_after:
            return True
        for decide in (_by_sign, self._by_habit, _by_syllables, self._by_words, _by_script):
            if (decision := decide(a.text, b.text)) is not None:
                return decision
        return None

    def _by_habit(self, before: str, after: str) -> bool | None:
        """Decide by what the document does at all line breaks, and before brackets."""
        if after[0] == "(":
            return not self.bracket_attached
        return False if self.keeps_spaces else True if self.words_only else None

    def _by_words(self, before: str, after: str) -> bool | None:
        """Decide with the words of the document. Returns None if they do not decide."""
        left, right = _EDGE.split(before.split()[-1])[-1], _EDGE.split(after.split()[0])[0]
        if not left or not right:
            return None
        inside, apart = self.words[left + right[:BEGINNING]], self.neighbors[left, right[:BEGINNING]]
        return None if inside == apart else apart > inside


def learn_spacing(lines: Sequence[TextLine], pairs: Sequence[tuple[TextLine, TextLine]]) -> Spacing:
    """Return what the lines of a document show about its spaces. `pairs` are lines that continue each other."""
    inside = [(a, b) for a, b in pairs if a.text[-1].isalpha() and b.text[0].isalpha()]
    share = sum(a.space_after for a, _ in inside) / len(inside) if inside else 0.0
    spacing = Spacing(share >= MIN_TRAILING_SPACES)
    if not spacing.keeps_spaces:
        _count_words(spacing, lines)
        decided = [d for a, b in inside if (d := spacing._by_words(a.text, b.text)) is not None]
        spacing.words_only = len(decided) >= MIN_DECISIONS and sum(decided) >= WORDS_ONLY * len(decided)
    return spacing


def _by_script(before: str, after: str) -> bool | None:
    """Decide between Latin letters, which Korean morphology knows nothing about."""
    return True if before[-1].isascii() and after[0].isascii() else None


def _count_words(spacing: Spacing, lines: Iterable[TextLine]) -> None:
    """Count the words inside lines. The first and the last word of a line may be parts of words."""
    texts = [line.text for line in lines]
    brackets = sum(text.count("(") for text in texts)
    spacing.bracket_attached = 2 * sum(text.count(" (") for text in texts) <= brackets
    for text in texts:
        words = text.split()[1:-1]
        for word in words:
            for part in _EDGE.split(word):
                spacing.words.update(part[:n] for n in range(2, min(len(part), MAX_WORD) + 1))
        spacing.neighbors.update(
            (_EDGE.split(a)[-1], _EDGE.split(b)[0][:BEGINNING]) for a, b in pairwise(words) if a[-1].isalnum()
        )


def _by_sign(before: str, after: str) -> bool | None:
    """Decide by the signs at the line break. Returns None if there are none."""
    last, first = before[-1], after[0]
    if last in OPENING or last in "‘“" or first in CLOSING or first in "’”,.;:!?%·ㆍ~" or last in "-–·ㆍ/~":
        return False
    if last in ",;:.!?。":
        return not (last in ",.:" and before[-2:-1].isdigit() and first.isdigit())
    if last in "%％)" and _PARTICLE_WORD.match(after):
        return False
    if last.isdigit() and (first.isdigit() or _DIGIT_UNIT.match(after)):
        return False
    return True if first in "「『<〈" else None


def _by_syllables(before: str, after: str) -> bool | None:
    """Decide by what a word can begin with. Returns None if that does not decide."""
    last = before[-1]
    if last in CLOSING or last in "’”":
        return False if _PARTICLE.match(after) else None
    if _PARTICLE_WORD.match(after) or (last == "제" and after[0].isdigit()):
        return False
    if _VERB_ENDING.match(after) and "가" <= last <= "힣":
        return last in "을를도고게록야면려은는지이가의히로"
    return None
