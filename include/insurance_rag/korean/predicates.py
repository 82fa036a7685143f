"""Finds the predicates of a sentence: the verb's lemma, whether it is negated, its modality and its ending."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from insurance_rag.korean.morphemes import Morpheme

Modality = Literal["can", "must", "may", ""]
"""can: -할 수 있다. must: -해야 한다. may: -해도 된다."""
Ending = Literal["final", "adnominal", "connective", "nominal"]


class Predicate(NamedTuple):
    """One predicate of a sentence. `start` and `end` are its positions in the list of morphemes."""

    lemma: str
    """The noun before 하다, 되다 or 이다, otherwise the stem of the verb: 지급, 받, 없."""
    negated: bool
    modality: Modality
    ending: Ending
    connective: str
    """The connective ending, such as 면 or 므로; empty for all other endings."""
    start: int
    end: int


_NOUNS = frozenset(["NNG", "NNP", "NNB", "NR", "XR", "SL", "SH", "SN", "XSN", "NP"])
_STEMS = frozenset(["VV", "VA", "VCP", "VCN", "XSV", "XSA"])
_NEGATIVE_AUXILIARIES = frozenset(["않", "아니하", "못하", "말"])
_AUXILIARIES = frozenset(["주", "드리", "있", "보", "버리", "놓", "두", "오", "가", "내", "하", "지", "나가", "계시"])
_NEGATIVE_PREFIXES = frozenset(["불", "미", "비", "무", "부"])
_MAY = frozenset(["되", "좋", "괜찮", "상관없"])


def predicates(tokens: Sequence[Morpheme]) -> list[Predicate]:
    """Return the predicates of a sentence, in order.

    >>> from insurance_rag.korean.morphemes import morphemes
    >>> [(p.lemma, p.negated, p.ending) for p in predicates(morphemes("입원한 때에는 지급하지 않습니다."))]
    [('입원', False, 'adnominal'), ('지급', True, 'final')]
    """
    found: list[Predicate] = []
    i = 0
    while i < len(tokens):
        if tokens[i].tag in _STEMS or (tokens[i].tag == "VX" and not (found and found[-1].end == i)):
            predicate = _read(tokens, i)
            found.append(predicate)
            i = max(i + 1, predicate.end)
        else:
            i += 1
    return found


def _read(tokens: Sequence[Morpheme], i: int) -> Predicate:
    lemma, start = _lemma(tokens, i)
    negated = tokens[i].tag == "VCN" or tokens[i].form == "없"
    if start and tokens[start - 1].tag == "XPN" and tokens[start - 1].form in _NEGATIVE_PREFIXES:
        negated, start = not negated, start - 1
    if _follows_negation(tokens, i) or _follows_negation(tokens, start):
        negated = not negated
    modality: Modality = ""
    j = i + 1
    while j < len(tokens):
        step = _extension(tokens, j)
        if step is None:
            break
        j, flips, new = step
        negated ^= flips
        modality = new or modality
    ending, connective, j = _ending(tokens, j)
    return Predicate(lemma, negated, modality, ending, connective, start, j)


def _follows_negation(tokens: Sequence[Morpheme], i: int) -> bool:
    """Return whether the adverb 안 or 못 is directly before position i."""
    return i > 0 and tokens[i - 1].tag == "MAG" and tokens[i - 1].form in ("안", "못")


def _lemma(tokens: Sequence[Morpheme], i: int) -> tuple[str, int]:
    """Return the lemma of the stem at position i, and the position at which the predicate starts."""
    stem = tokens[i]
    if stem.tag in ("XSV", "XSA") and i and tokens[i - 1].tag in _NOUNS:
        return tokens[i - 1].form, i - 1
    if stem.tag in ("VCP", "VCN") or stem.form in ("하", "되", "있", "없"):
        k = i - 1
        while k >= 0 and tokens[k].tag in ("JKO", "JX", "JKC", "JKS", "MAG"):
            k -= 1
        if k >= 0 and tokens[k].tag in _NOUNS and k >= i - 3 and stem.form != "있":
            return tokens[k].form, k
    return "있" if stem.form == "없" else stem.form, i


def _extension(tokens: Sequence[Morpheme], j: int) -> tuple[int, bool, Modality] | None:
    """Read one auxiliary construction from position j: its end, whether it negates, and its modality."""
    token = tokens[j]
    if token.tag == "EP":
        return j + 1, False, ""
    if token.tag == "EC":
        return _after_connective(tokens, j)
    if token.tag == "ETM":
        return _after_adnominal(tokens, j)
    return None


def _after_connective(tokens: Sequence[Morpheme], j: int) -> tuple[int, bool, Modality] | None:
    ending = tokens[j].form
    k = j + 1
    while k < len(tokens) and tokens[k].tag in ("JX", "JKO", "JKS"):
        k += 1
    flips = k < len(tokens) and tokens[k].tag == "MAG" and tokens[k].form in ("안", "못")
    k += flips
    if k >= len(tokens) or tokens[k].tag not in ("VX", "VV", "VA"):
        return None
    form = tokens[k].form
    if ending == "지" and form in _NEGATIVE_AUXILIARIES:
        return k + 1, True, ""
    if ending.endswith("야") and form in ("하", "되"):
        return k + 1, flips, "must"
    if ending.endswith(("어도", "아도", "여도")) and form in _MAY:
        return k + 1, flips, "may"
    if ending in ("면", "으면", "어서", "아서", "어") and form in ("되", "하") and (flips or ending.endswith("면")):
        return k + 1, flips, "may"
    if tokens[k].tag == "VX" and form in _AUXILIARIES:
        return k + 1, flips, ""
    return None


def _after_adnominal(tokens: Sequence[Morpheme], j: int) -> tuple[int, bool, Modality] | None:
    rest = tokens[j + 1 : j + 4]
    if not rest or rest[0].tag != "NNB" or rest[0].form not in ("수", "것", "거"):
        return None
    k = j + 2
    while k < len(tokens) and tokens[k].tag in ("JKS", "JX", "JKC"):
        k += 1
    if k >= len(tokens):
        return None
    if rest[0].form == "수" and tokens[k].form in ("있", "없", "계시"):
        return k + 1, tokens[k].form == "없", "can"
    if rest[0].form != "수" and tokens[k].tag in ("VCP", "VCN"):
        return k + 1, tokens[k].tag == "VCN", ""
    return None


def _ending(tokens: Sequence[Morpheme], j: int) -> tuple[Ending, str, int]:
    if j >= len(tokens):
        return "final", "", j
    token = tokens[j]
    if token.tag == "ETM":
        return "adnominal", "", j + 1
    if token.tag == "EC":
        return "connective", token.form, j + 1
    if token.tag == "ETN":
        return "nominal", "", j + 1
    return "final", "", j + (token.tag == "EF")
