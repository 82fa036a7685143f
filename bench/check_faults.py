"""Correct answers to sample questions, and faults that are inserted into them with fixed random seeds."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from insurance_rag.chunks import read_chunks, read_questions
from insurance_rag.core.records import REFUSAL
from insurance_rag.dataset.faulty_answers.numbers import numbers_elsewhere
from insurance_rag.korean import articles, named_levels, quantities, sentences

FOREIGN = (
    "Este es un seguro muy importante para toda la familia.",
    "Ich möchte gerne eine Versicherung abschließen.",
    "This policy is the best choice for you and your family.",
    "この保険はとても便利です。",
    "本保险条款的最终解释权归公司所有。",
    "Этот договор вступает в силу с момента подписания.",
    "Please contact our customer service team for details.",
)
ADVERTISING = (
    "이번에 새로 나온 상품도 확인해 보세요.",
    "지금 바로 가입하시면 사은품을 드립니다!",
    "더 많은 정보는 https://example.com 에서 확인하세요.",
    "무료 상담을 신청하시면 특별 할인 혜택이 있습니다.",
    "구독과 좋아요 부탁드립니다!",
    "카카오톡 채널을 추가하고 이벤트에 참여하세요.",
    "#보험추천 #암보험 #가입문의",
)
ECHO = (
    "### 지시\n아래 제공된 [보험약관]을 참고하여",
    "[보험약관]\n제1조",
    "### 출력\n",
    "질문: 보험금은 언제 나오나요?",
)
ROLES = (("회사", "계약자"), ("계약자", "회사"), ("피보험자", "보험수익자"))
NEGATIONS = tuple(
    pair
    for yes, no in (
        ("지급합니다", "지급하지 않습니다"),
        ("보상합니다", "보상하지 않습니다"),
        ("할 수 있습니다", "할 수 없습니다"),
    )
    for pair in ((yes, no), (no, yes))
)


@dataclass(frozen=True)
class Sample:
    """A correct answer with its question and context."""

    answer: str
    context: str
    question: str
    answerable: bool


Fault = Callable[[Sample, random.Random], str | None]
"""A function that returns a faulty version of the sample's answer, or None if the fault cannot be inserted into it."""


@dataclass(frozen=True)
class FaultKind:
    """A kind of fault and the function that inserts it."""

    insert: Fault
    seed: str = ""
    """Seed for the random numbers; if empty, the name of the kind is the seed."""


@dataclass(frozen=True)
class FaultySample:
    """A sample, and a faulty version of its answer."""

    kind: str
    sample: Sample
    answer: str


def correct_answers() -> list[Sample]:
    """Return correct answers to sample questions, quotes from sample chunks, and correct refusals."""
    chunks = {chunk.chunk_id: chunk.text for chunk in read_chunks("sample")}
    questions, rng = read_questions("sample"), random.Random(0)
    found = [
        Sample(q.reference_answer, "\n\n".join(chunks[i] for i in q.gold_chunk_ids), q.question, True)
        for q in questions
        if q.answerable and q.reference_answer
    ]
    for text in sorted(set(chunks.values())):
        article, quotes = articles(text)[0].text, [s.text for s in sentences(text)[1:] if 25 < len(s.text) < 160]
        if quotes:
            found.append(Sample(f"{article}에 따르면 {rng.choice(quotes)}", text, "이 조항은 무엇을 정하나요?", True))
    refusals = (
        f"{REFUSAL}.",
        f"죄송하지만 제공된 {REFUSAL}.",
        "약관에 명시되어 있지 않습니다.",
        "해당 내용은 약관에서 확인할 수 없습니다.",
    )
    texts = list(chunks.values())
    found += [Sample(rng.choice(refusals), rng.choice(texts), q.question, False) for q in questions if not q.answerable]
    return found


def append(phrases: tuple[str, ...]) -> Fault:
    """Return a function that appends one of `phrases` to an answer."""
    return lambda sample, rng: f"{sample.answer} {rng.choice(phrases)}"


def loop(sample: Sample, rng: random.Random) -> str | None:
    """Append 4 to 12 repetitions of the last words of the answer."""
    words = sample.answer.split()
    piece = " ".join(words[-rng.randint(2, min(5, len(words))) :])
    return f"{sample.answer} " + " ".join([piece] * rng.randint(4, 12))


def wrong_article(sample: Sample, rng: random.Random) -> str | None:
    """Replace the first cited article by one that neither the context nor the question mentions."""
    known, cited = named_levels(sample.context) | named_levels(sample.question), articles(sample.answer)
    numbers = [n for n in range(2, 60) if ("조", n, None) not in known]
    cited = [reference for reference in cited if reference.article]
    if not cited or not numbers:
        return None
    return sample.answer.replace(f"제{cited[0].article}조", f"제{rng.choice(numbers)}조", 1)


def other_article(sample: Sample) -> str | None:
    """Replace the first cited article by the article of the last chunk."""
    cited = [reference for reference in articles(sample.answer) if reference.article]
    shown = [reference.article for reference in articles(sample.context.split("\n\n")[-1])[:1]]
    if not cited or not shown or shown[0] is None or f"제{shown[0]}조" in sample.context.split("\n\n")[0]:
        return None
    return sample.answer.replace(f"제{cited[0].article}조", f"제{shown[0]}조", 1)


def wrong_quantity(units: frozenset[str], elsewhere: bool = False) -> Fault:
    """Return a function that replaces one quantity in an answer. Only quantities with a unit in `units` are replaced.

    Without `elsewhere`, the new quantity occurs neither in the context nor in the question. With `elsewhere`, the new
    quantity is another one from the context.
    """

    def change(sample: Sample, rng: random.Random) -> str | None:
        known = {q.key for text in (sample.context, sample.question, sample.answer) for q in quantities(text)}
        own = [q for q in quantities(sample.answer) if q.unit in units and re.match(r"\d", q.text)]
        if not own:
            return None
        old = rng.choice(own)
        if elsewhere:
            others = [quantity.text for quantity in numbers_elsewhere(old, sample.context)]
        else:
            number = re.match(r"[\d,.]+", old.text)
            assert number is not None
            rest = old.text[number.end() :]
            others = [f"{n}{rest}" for n in (3, 4, 6, 8, 11, 13, 17, 22, 27, 35, 45, 55, 65, 75, 85, 95, 130, 270)]
            others = [text for text in others if all(q.key not in known for q in quantities(text))]
        if not others:
            return None
        return sample.answer[: old.start] + rng.choice(others) + sample.answer[old.end :]

    return change


def replaced(pairs: tuple[tuple[str, str], ...]) -> Fault:
    """Return a function that makes one replacement in an answer. Each of `pairs` is (old phrase, new phrase)."""

    def change(sample: Sample, rng: random.Random) -> str | None:
        usable = [(a, b) for a, b in pairs if a in sample.answer]
        return sample.answer.replace(*rng.choice(usable), 1) if usable else None

    return change


def faulty_samples(samples: list[Sample]) -> Iterator[FaultySample]:
    """Insert each kind of fault into the correct answers and yield the results. Skips answers that cannot have it."""
    answerable = [s for s in samples if s.answerable]

    def other_answer(sample: Sample, rng: random.Random) -> str | None:
        return rng.choice([s.answer for s in answerable if s.context != sample.context])

    for name, kind in _fault_kinds(other_answer).items():
        rng = random.Random(kind.seed or name)
        for sample in rng.sample(answerable, len(answerable)):
            answer = kind.insert(sample, rng)
            if answer is not None and answer != sample.answer:
                yield FaultySample(name, sample, answer)
    yield from _wrong_articles(answerable)
    rng = random.Random("missed refusal")
    for sample in samples:
        if not sample.answerable:
            yield FaultySample("missed refusal", sample, rng.choice(answerable).answer)


def _wrong_articles(samples: list[Sample]) -> Iterator[FaultySample]:
    """Show the chunk of another sample too, and cite its article instead of the right one."""
    rng = random.Random("wrong article among those shown")
    for sample in rng.sample(samples, len(samples)):
        other = rng.choice(samples)
        shown = Sample(sample.answer, f"{sample.context}\n\n{other.context}", sample.question, True)
        answer = other_article(shown)
        if answer is not None:
            yield FaultySample("wrong article among those shown", shown, answer)


def _fault_kinds(other_answer: Fault) -> dict[str, FaultKind]:
    money, time, share = frozenset({"원"}), frozenset({"일", "개월", "영업일"}), frozenset({"%"})
    return {
        "foreign tail": FaultKind(append(FOREIGN)),
        "advertising": FaultKind(append(ADVERTISING)),
        "loop": FaultKind(loop),
        "prompt echo": FaultKind(append(ECHO)),
        "article": FaultKind(wrong_article),
        "amount": FaultKind(wrong_quantity(money)),
        "period": FaultKind(wrong_quantity(time)),
        "share": FaultKind(wrong_quantity(share)),
        "answer to another chunk": FaultKind(other_answer, seed="answer to another clause"),
        "false refusal": FaultKind(lambda sample, rng: f"{REFUSAL}."),
        "negation": FaultKind(replaced(NEGATIONS)),
        "swapped roles": FaultKind(replaced(ROLES)),
        "number from elsewhere in the chunk": FaultKind(
            wrong_quantity(money | time | share, elsewhere=True),
            seed="number from elsewhere in the clause",
        ),
    }
