"""Measures the style of question-answer pairs: whether they are worded as the generation prompt demands."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import fmean

from insurance_rag.core.records import QARow
from insurance_rag.core.records.style import StyleFigures, StyleSummary
from insurance_rag.korean import quantities, refusal
from insurance_rag.korean.preambles import is_formatted

PLANNED = ("persona", "register", "difficulty", "form")
"""Keys of `meta` with the planned style of a row."""
MAX_LISTED = 20
"""Maximum number of personas, registers, difficulties and forms in the summary. The most frequent ones are listed."""
MAX_NAME_CHARACTERS = 80

_WORD = re.compile(r"\w+")
_YES = re.compile(r"(?:네|예)(?=[,.!]|$)")
_NO = re.compile(r"아니[요오]|아뇨|아닙니다")
_FORMULA = re.compile(r"\d[^=\n]{0,20}[×✕xX*+÷/−\-][^=\n]{0,40}=\s?[^=\n]{0,20}\d")
_OPERATION = re.compile(r"곱[하한해]|더[하한해]|합[하한해산]|빼|뺀|나[누눈눠]|의\s?\d+(?:\.\d+)?\s?%")


def measure_style(rows: Iterable[QARow], products: Mapping[str, str]) -> StyleSummary:
    """Return the style of the rows. `products` maps chunk ids to the names of the company and the product."""
    figures: defaultdict[str, _Figures] = defaultdict(_Figures)
    total = _Figures()
    planned: dict[str, Counter[str]] = {name: Counter() for name in PLANNED}
    openings: Counter[str] = Counter()
    steps: list[bool] = []
    for row in rows:
        words = content_words(row["instruction"], product_words(products.get(row["chunk_id"], "")))
        total.add(row, words)
        figures[row["type"]].add(row, words)
        openings[" ".join(words[:2])] += 1
        for name, counter in planned.items():
            if isinstance(value := row["meta"].get(name), str) and value:
                counter[" ".join(value.split())[:MAX_NAME_CHARACTERS]] += 1
        if row["meta"].get("form") == "calculation" and row["answerable"]:
            steps.append(shows_steps(row["output"]))
    return StyleSummary(
        **dict(total.figures()),
        by_type={kind: figures[kind].figures() for kind in sorted(figures)},
        calculations=len(steps),
        calculations_with_steps=sum(steps),
        openings=len(openings),
        top_opening_share=round(max(openings.values()) / total.rows, 4) if openings else None,
        personas=_most_frequent_first(planned["persona"]),
        registers=_most_frequent_first(planned["register"]),
        difficulties=_most_frequent_first(planned["difficulty"]),
        forms=_most_frequent_first(planned["form"]),
    )


def _most_frequent_first(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MAX_LISTED])


@lru_cache(maxsize=4096)
def product_words(product: str) -> tuple[str, ...]:
    """Return the words of a product's name that are long enough to recognize the name in a question."""
    return tuple(word for word in _WORD.findall(product) if len(word) > 1)


def content_words(question: str, product: Sequence[str]) -> list[str]:
    """Return the words of a question without those that begin like a word of the product's name.

    >>> content_words("든든 암보험에서 진단비는 얼마예요?", ["한빛", "든든", "암보험"])
    ['진단비는', '얼마예요']
    """
    return [word for word in _WORD.findall(question) if not word.startswith(tuple(product))]


def copied_share(words: Sequence[str], clause: str) -> float | None:
    """Return the fraction of the words' character bigrams that occur in a word of the clause; None without bigrams.

    >>> copied_share(["지급", "사유는"], "보험금의 지급사유")
    0.6666666666666666
    """
    bigrams = [word[i : i + 2] for word in words for i in range(len(word) - 1)]
    return sum(bigram in _bigrams(clause) for bigram in bigrams) / len(bigrams) if bigrams else None


@lru_cache(maxsize=64)
def _bigrams(text: str) -> frozenset[str]:
    return frozenset(word[i : i + 2] for word in _WORD.findall(text) for i in range(len(word) - 1))


def shows_steps(answer: str) -> bool:
    """Return whether an answer shows a calculation: a formula, or an operation in words with three quantities.

    >>> shows_steps("3,000만원 × 50% = 1,500만원입니다."), shows_steps("3,000만원의 50%인 1,500만원입니다.")
    (True, True)
    >>> shows_steps("1,500만원을 지급합니다.")
    False
    """
    if _FORMULA.search(answer):
        return True
    return _OPERATION.search(answer) is not None and len(quantities(answer)) >= 3


@dataclass
class _Figures:
    """Sums over the rows added so far, of all types or of one type."""

    rows: int = 0
    copied: list[float] = field(default_factory=list)
    refusals: int = 0
    yes_answers: int = 0
    no_answers: int = 0
    formatted: int = 0
    evidence: list[int] = field(default_factory=list)

    def add(self, row: QARow, words: Sequence[str]) -> None:
        answer = row["output"]
        self.rows += 1
        if (share := copied_share(words, row["input"])) is not None:
            self.copied.append(share)
        self.refusals += refusal(answer) == "full"
        self.yes_answers += _YES.match(answer) is not None
        self.no_answers += _NO.match(answer) is not None
        self.formatted += is_formatted(answer)
        if row["evidence"]:
            self.evidence.append(len(row["evidence"]))

    def figures(self) -> StyleFigures:
        return StyleFigures(
            rows=self.rows,
            copied_share=round(fmean(self.copied), 4) if self.copied else None,
            refusals=self.refusals,
            yes_answers=self.yes_answers,
            no_answers=self.no_answers,
            formatted=self.formatted,
            evidence_characters=round(fmean(self.evidence), 1) if self.evidence else None,
        )
