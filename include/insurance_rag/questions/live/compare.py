"""Describes a set of questions, so that the live questions can be compared with the frozen set."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, median

from insurance_rag.chunks.headings import product_name
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records import Chunk
from insurance_rag.core.records.live_questions import QuestionForm, QuestionStats
from insurance_rag.korean.morphemes import morphemes, prepare
from insurance_rag.korean.personal_data import without_placeholders

LENGTHS = (10, 20, 40, 80)
"""Upper limits of the ranges of lengths, in characters."""
FORMS: tuple[QuestionForm, ...] = ("polite", "formal", "casual", "keywords")
MAX_ANALYZED = 2_000
"""Number of questions whose words are looked at, chosen by hash. More would take time and change no share."""
MAX_EXAMPLES = 20
MIN_ASKED = 3
"""A word is listed if it occurs in this many questions. A rarer one may be the name of a person."""
_NOUN_TAGS = frozenset(["NNG", "NNP", "SL"])
_ASKING = "얼마 며칠 뭐 무엇 어디 언제 누구 어느 얼마나 안녕 문의 질문 답변 부탁 혹시 번호 이름 제목"
_ASKING_WORDS = frozenset(_ASKING.split())
"""Nouns that belong to asking and not to the subject."""
_FORM_ENDINGS: tuple[tuple[QuestionForm, re.Pattern[str]], ...] = (
    ("formal", re.compile(r"(?:니다|니까|시오|십시오|다)$")),
    ("polite", re.compile(r"(?:요|죠|여|염)$")),
    ("casual", re.compile(r"(?:나|냐|까|니|어|아|해|돼|지|데|래|야|줘|봐|음|임|됨|함|가|노|걸|군|네)$")),
)


@dataclass(frozen=True)
class Asked:
    """A question with the number of times it was asked and the chunk that the retriever found."""

    question: str
    times: int
    chunk_id: str | None


@dataclass(frozen=True)
class Policy:
    """The chunks, and the syllable pairs of all their texts."""

    chunks: Mapping[str, Chunk]

    @cached_property
    def pairs(self) -> frozenset[str]:
        """All pairs of neighboring characters in the texts and headings."""
        texts = (f"{chunk.text}\n{chunk.metadata.breadcrumbs}" for chunk in self.chunks.values())
        return frozenset(text[i : i + 2] for text in texts for i in range(len(text) - 1))

    def has(self, word: str) -> bool:
        """Return whether the policy can contain a word: whether it contains all its syllable pairs."""
        return all(word[i : i + 2] in self.pairs for i in range(len(word) - 1))


def describe_questions(questions: Sequence[Asked], policy: Policy) -> QuestionStats:
    """Return the statistics of some questions.

    A question that was asked several times counts several times, except in the statistics of words.
    """
    times = [question.times for question in questions]
    characters = [len(question.question) for question in questions for _ in range(question.times)]
    products = Counter[str]()
    for question in questions:
        chunk = policy.chunks.get(question.chunk_id or "")
        products[product_name(chunk) if chunk else ""] += question.times
    total = max(1, sum(times))
    forms = _count((form_of(q.question), q.times) for q in questions)
    lengths = _count((length_range(len(q.question)), q.times) for q in questions)
    outside, examples = _outside(questions, policy)
    without = products.pop("", 0)
    return QuestionStats(
        questions=sum(times),
        mean_characters=round(fmean(characters), 1) if characters else 0.0,
        median_characters=median(characters) if characters else 0.0,
        lengths={name: lengths[name] / total for name in map(length_range, (1, *(n + 1 for n in LENGTHS)))},
        forms={form: forms[form] / total for form in FORMS},
        products={name: n / total for name, n in products.most_common()},
        without_chunk=without / total,
        outside_words=outside,
        outside_examples=examples,
    )


def length_range(characters: int) -> str:
    """Return the range that a length is in.

    >>> length_range(15), length_range(200)
    ('11-20', '81+')
    """
    low = 0
    for high in LENGTHS:
        if characters <= high:
            return f"{low + 1}-{high}"
        low = high
    return f"{low + 1}+"


def form_of(question: str) -> QuestionForm:
    """Return the form of a question by its last word.

    >>> form_of("얼마 나와요?"), form_of("한도가 얼마입니까"), form_of("이거 되냐"), form_of("도수치료 한도")
    ('polite', 'formal', 'casual', 'keywords')
    """
    last = re.sub(r"[\W_ㄱ-ㅣ]+$", "", question)
    return next((form for form, ending in _FORM_ENDINGS if ending.search(last)), "keywords")


def _outside(questions: Sequence[Asked], policy: Policy) -> tuple[float, dict[str, int]]:
    """Return the share of nouns that the policy lacks, and the most frequent of them with their questions."""
    chosen = sorted(questions, key=lambda q: sha256_text(q.question))[:MAX_ANALYZED]
    lines = [" ".join(without_placeholders(question.question).split()) for question in chosen]
    prepare(lines)
    nouns = outside = 0
    examples: Counter[str] = Counter()
    for line in lines:
        words = {m.form for m in morphemes(line) if m.tag in _NOUN_TAGS and len(m.form) > 1} - _ASKING_WORDS
        lacking = [word for word in words if not policy.has(word)]
        nouns += len(words)
        outside += len(lacking)
        examples.update(lacking)
    listed = sorted(examples.items(), key=lambda item: (-item[1], item[0]))
    shown = [(word, n) for word, n in listed if n >= MIN_ASKED]
    return outside / max(1, nouns), dict(shown[:MAX_EXAMPLES])


def _count(pairs: Iterable[tuple[str, int]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for name, times in pairs:
        counts[name] += times
    return counts
