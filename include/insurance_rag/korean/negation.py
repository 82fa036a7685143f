"""Turns a statement into its opposite: 지급합니다 into 지급하지 않습니다, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from insurance_rag.korean.morphemes import Morpheme, morphemes, surface
from insurance_rag.korean.particles import has_final, with_particle
from insurance_rag.korean.predicates import predicates

_STEMS = frozenset(["VV", "VA", "VX", "VCP", "VCN", "XSV", "XSA"])
_ENDINGS = frozenset(["습니다", "ᆸ니다", "어요", "아요", "에요", "예요", "다", "ᆫ다", "는다"])
"""Final endings of a statement. Questions and requests are not negated."""
_LIMITING = frozenset(["만", "밖에", "뿐", "전혀", "결코", "절대", "절대로", "아무", "아무런", "더", "비로소"])
"""With one of these words, the negated statement would be ungrammatical or not the opposite."""
_UNNATURAL = frozenset(["말", "뜻하", "의미", "따르", "정하", "같"])
"""Lemmas of predicates that are not negated in natural answers, such as 말 in 갱신계약이란 … 계약을 말합니다, unless
something can or must be done."""
_NEGATIVE = frozenset(["않", "아니하", "못하"])
_POLITE_COPULA = frozenset(["예요", "에요", "이에요"])
_NOT = (("지", "EC"), ("않", "VX"))

Pieces = list[tuple[str, str]]


class Negation(NamedTuple):
    """A changed ending of a sentence: the text from `start` to `end` becomes `text`."""

    start: int
    end: int
    text: str


def negate(sentence: str) -> Negation | None:
    """Return the change that turns the sentence's main predicate into its opposite, or None if there is no simple one.

    >>> negate("보험금을 지급합니다.")
    Negation(start=7, end=10, text='하지 않습니다')
    >>> negate("30일 이내에 알려야 합니다.").text, negate("해지할 수 없습니다.").text
    ('알리지 않아도 됩니다', '있습니다')
    """
    tokens = morphemes(sentence)
    last = next((k for k in range(len(tokens) - 1, -1, -1) if tokens[k].tag == "EF"), None)
    if last is None or tokens[last].form not in _ENDINGS or any(t.tag in _STEMS for t in tokens[last:]):
        return None
    found = predicates(tokens)
    if not found or found[-1].ending != "final" or (found[-1].lemma in _UNNATURAL and not found[-1].modality):
        return None
    if len(found) > 1 and found[-2].connective.endswith("야"):  # 청구가 있어야 지급합니다
        return None
    clause = tokens[found[-2].end if len(found) > 1 else 0 : last]
    if any(token.form in _LIMITING and token.tag in ("JX", "MAG", "MM", "NNB") for token in clause):
        return None
    change = _changed(tokens, last)
    if change is None or change.start > change.end:
        return None
    opposite = predicates(morphemes(sentence[: change.start] + change.text + sentence[change.end :]))
    flipped = bool(opposite) and opposite[-1].negated is not found[-1].negated
    return change if flipped else None


def _changed(tokens: Sequence[Morpheme], last: int) -> Negation | None:
    """Rewrite the predicate that ends with the final ending at position `last`."""
    stem = next((k for k in range(last - 1, -1, -1) if tokens[k].tag in _STEMS), None)
    if stem is None:
        return None
    rest: Pieces = [(t.form, t.tag) for t in tokens[stem + 1 : last + 1]]
    if rest[-1][0] == "다":  # the plain style is rare, and its ending depends on the kind of the stem
        return None
    form, tag = tokens[stem].form, tokens[stem].tag
    before = tokens[stem - 1] if stem else None
    if tag in ("VCP", "VCN"):
        return _copula(tokens, stem, last, rest)
    if form in ("있", "없") and tag in ("VA", "VV"):
        return _replaced(tokens, stem, last, [("없" if form == "있" else "있", "VA"), *rest])
    if tag == "VX" and form in _NEGATIVE:
        return _affirmed(tokens, stem, last, rest)
    if before is not None and before.tag == "EC" and before.form.endswith("야") and form in ("하", "되"):
        return _not_required(tokens, stem, last, rest)
    after_adverb = before is not None and (before.form in ("안", "못") or (before.tag == "EC" and form == "되"))
    if (after_adverb and tag == "VV") or form == "이":
        return None  # 면 안 됩니다, 아도 됩니다, and the copula after a number: 6%입니다
    return _replaced(tokens, stem, last, [(form, tag), *_NOT, *rest])


def _copula(tokens: Sequence[Morpheme], stem: int, last: int, rest: Pieces) -> Negation | None:
    """Turn 대상입니다 into 대상이 아닙니다, and back. A number is not negated."""
    noun = stem - 1 if tokens[stem].tag == "VCP" else stem - 2
    if noun < 0 or tokens[noun].tag not in ("NNG", "NNP", "XSN"):
        return None
    if tokens[stem].tag == "VCN":
        if tokens[stem - 1].tag not in ("JKC", "JKS"):
            return None
        word = tokens[noun].form
        text = surface([(word, "NNG"), ("이", "VCP"), *rest]).removeprefix(word)
        if rest[0][0] in _POLITE_COPULA:
            text = "이에요" if has_final(word) else "예요"
        return Negation(tokens[stem - 1].start, tokens[last].end, text)
    if rest[0][0] in _POLITE_COPULA:
        rest = [("에요", "EF")]
    particle = with_particle(tokens[noun].form, "이").removeprefix(tokens[noun].form)
    return Negation(tokens[stem].start, tokens[last].end, f"{particle} {surface([('아니', 'VCN'), *rest])}")


def _affirmed(tokens: Sequence[Morpheme], stem: int, last: int, rest: Pieces) -> Negation | None:
    """Turn 지급하지 않습니다 into 지급합니다."""
    ending = stem - 1
    while ending > 0 and tokens[ending].tag in ("JX", "JKO", "JKS"):
        ending -= 1
    if ending < 1 or tokens[ending].form != "지" or tokens[ending - 1].tag not in _STEMS:
        return None
    return _replaced(tokens, ending - 1, last, [(tokens[ending - 1].form, tokens[ending - 1].tag), *rest])


def _not_required(tokens: Sequence[Morpheme], stem: int, last: int, rest: Pieces) -> Negation | None:
    """Turn 알려야 합니다 into 알리지 않아도 됩니다."""
    first = next((k for k in range(stem - 2, -1, -1) if tokens[k].tag in _STEMS), None)
    if first is None:
        return None
    own: Pieces = [(t.form, t.tag) for t in tokens[first : stem - 1]]
    if own[-1][0] in _NEGATIVE:
        return None
    if own[0][1] == "VCP":
        noun = tokens[first - 1].form
        denied = surface([("아니", "VCN"), ("어도", "EC"), ("되", "VV"), *rest])
        text = f"{with_particle(noun, '이').removeprefix(noun)} {denied}"
        return Negation(tokens[first].start, tokens[last].end, text)
    return _replaced(tokens, first, last, [*own, *_NOT, ("어도", "EC"), ("되", "VV"), *rest])


def _replaced(tokens: Sequence[Morpheme], first: int, last: int, pieces: Pieces) -> Negation | None:
    """Write the pieces in place of the tokens from `first` to `last`. None if the first token has no own syllable."""
    if first and tokens[first - 1].end > tokens[first].start:
        return None
    return Negation(tokens[first].start, tokens[last].end, surface(pieces))
