"""Puts Korean particles into the form that fits the word before them."""

from __future__ import annotations

# In Unicode, the Hangul syllables start at 0xAC00 and form groups of 28. The syllables of a group differ only in the
# final consonant, and the first syllable of a group has none. A syllable's position in its group therefore identifies
# its final consonant. This position is (code point - 0xAC00) % 28.
_FIRST_SYLLABLE, _N_FINALS = 0xAC00, 28
_RIEUL = 8
"""Position of the final consonant ㄹ, after which the particle 으로 becomes 로."""

#: Form of a particle after a consonant -> its form after a vowel.
_PARTICLES = {"은": "는", "이": "가", "을": "를", "과": "와", "으로": "로", "이란": "란", "이라면": "라면"}


def final_consonant(syllable: str) -> int:
    """Return the position that identifies the final consonant of a Hangul syllable, or 0 if there is none."""
    return (ord(syllable) - _FIRST_SYLLABLE) % _N_FINALS


def has_final(word: str) -> bool:
    """Return whether the word ends with a consonant (받침) when it is pronounced.

    >>> has_final("계약"), has_final("회사"), has_final("3")
    (True, False, True)
    """
    last = word.rstrip("\"'”’)] ")[-1:]
    if "가" <= last <= "힣":
        return final_consonant(last) != 0
    return last in "013678LMNR"  # their Korean names end with a consonant, e.g. 3 (삼) and L (엘)


def with_particle(word: str, particle: str) -> str:
    """Append a particle in the form that fits the word. `particle` is the form used after a consonant.

    >>> with_particle("회사", "은"), with_particle("계약", "은"), with_particle("서울", "으로")
    ('회사는', '계약은', '서울로')
    """
    if particle == "으로" and word and "가" <= word[-1] <= "힣" and final_consonant(word[-1]) == _RIEUL:
        return word + "로"
    return word + (particle if has_final(word) else _PARTICLES[particle])


def leading_particle(rest: str) -> str:
    """Return the particle at the start of a text that follows a word, if its form depends on the word; else "".

    >>> leading_particle("는 끝납니다."), leading_particle("에 알립니다.")
    ('는', '')
    """
    for form in sorted({*_PARTICLES, *_PARTICLES.values()}, key=len, reverse=True):
        after = rest[len(form) : len(form) + 1]
        if rest.startswith(form) and not "가" <= after <= "힣":
            return form
    return ""


def refit_particle(word: str, particle: str) -> str:
    """Return the particle in the form that fits `word`. Other texts are returned unchanged.

    >>> refit_particle("계약", "는"), refit_particle("회사", "에게")
    ('은', '에게')
    """
    final = next((final for final, vowel in _PARTICLES.items() if particle in (final, vowel)), None)
    return particle if final is None else with_particle(word, final)[len(word) :]
