"""What the checks of an answer find: recall by kind of fault and specificity, on faults put into right answers.

    python bench/checks.py [--out docs/results/checks.json]        exits with 1 where a limit is missed

Right answers are the sample's reference answers with their gold clauses, sentences quoted from the other clauses, and
refusals of unanswerable questions. Each fault is put into them by a rule with a fixed seed, at least 40 of a kind. The
kinds that no rule can find are in the table too: they are what a judge or a person is for.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from insurance_rag.chunks import read_chunks, read_questions
from insurance_rag.core.records import REFUSAL
from insurance_rag.core.stats import rate
from insurance_rag.evaluation.checks import check_answer
from insurance_rag.korean import articles, named_levels, quantities, sentences

RECALL, SPECIFICITY = 0.98, 0.98
WANTED = 120

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
    """A right answer."""

    answer: str
    context: str
    question: str
    answerable: bool


Fault = Callable[[Sample, random.Random], str | None]


def right_answers() -> list[Sample]:
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
    return lambda sample, rng: f"{sample.answer} {rng.choice(phrases)}"


def loop(sample: Sample, rng: random.Random) -> str | None:
    words = sample.answer.split()
    piece = " ".join(words[-rng.randint(2, min(5, len(words))) :])
    return f"{sample.answer} " + " ".join([piece] * rng.randint(4, 12))


def wrong_article(sample: Sample, rng: random.Random) -> str | None:
    known, cited = named_levels(sample.context) | named_levels(sample.question), articles(sample.answer)
    numbers = [n for n in range(2, 60) if ("조", n, None) not in known]
    cited = [reference for reference in cited if reference.article]
    if not cited or not numbers:
        return None
    return sample.answer.replace(f"제{cited[0].article}조", f"제{rng.choice(numbers)}조", 1)


def wrong_quantity(units: frozenset[str], elsewhere: bool = False) -> Fault:
    """Another number in the place of a right one: the context does not hold it, or holds it for something else."""

    def change(sample: Sample, rng: random.Random) -> str | None:
        in_context = quantities(sample.context)
        known = {q.key for text in (sample.context, sample.question, sample.answer) for q in quantities(text)}
        own = [q for q in quantities(sample.answer) if q.unit in units and re.match(r"\d", q.text)]
        if not own:
            return None
        old = rng.choice(own)
        if elsewhere:
            others = [q.text for q in in_context if q.unit == old.unit and q.key != old.key and re.match(r"\d", q.text)]
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
    def change(sample: Sample, rng: random.Random) -> str | None:
        usable = [(a, b) for a, b in pairs if a in sample.answer]
        return sample.answer.replace(*rng.choice(usable), 1) if usable else None

    return change


def faulty(samples: list[Sample]) -> Iterator[tuple[str, bool, Sample, str]]:
    """(kind, whether a rule can find it, the sample, the faulty answer)."""
    right = [s for s in samples if s.answerable]

    def other_clause(sample: Sample, rng: random.Random) -> str | None:
        return rng.choice([s.answer for s in right if s.context != sample.context])

    money, time, share = frozenset({"원"}), frozenset({"일", "개월", "영업일"}), frozenset({"%"})
    kinds: dict[str, tuple[bool, Fault]] = {
        "foreign tail": (True, append(FOREIGN)),
        "advertising": (True, append(ADVERTISING)),
        "loop": (True, loop),
        "prompt echo": (True, append(ECHO)),
        "article": (True, wrong_article),
        "amount": (True, wrong_quantity(money)),
        "period": (True, wrong_quantity(time)),
        "share": (True, wrong_quantity(share)),
        "answer to another clause": (True, other_clause),
        "false refusal": (True, lambda sample, rng: f"{REFUSAL}."),
        "negation": (False, replaced(NEGATIONS)),
        "swapped roles": (False, replaced(ROLES)),
        "number from elsewhere in the clause": (False, wrong_quantity(money | time | share, elsewhere=True)),
    }
    for kind, (findable, fault) in kinds.items():
        rng = random.Random(kind)
        for sample in rng.sample(right, len(right)):
            answer = fault(sample, rng)
            if answer is not None and answer != sample.answer:
                yield kind, findable, sample, answer
    rng = random.Random("missed refusal")
    for sample in samples:
        if not sample.answerable:
            yield "missed refusal", True, sample, rng.choice(right).answer


def measure() -> dict[str, Any]:
    """Recall by kind, specificity, and the misses of the kinds that a rule should find."""
    samples = right_answers()
    flagged = [s for s in samples if check_answer(s.answer, s.context, s.question, s.answerable).findings]
    counts: dict[str, list[int]] = {}
    findable: dict[str, bool] = {}
    missed: dict[str, list[str]] = {}
    for kind, by_rule, sample, answer in faulty(samples):
        count = counts.setdefault(kind, [0, 0])
        if count[1] == WANTED:
            continue
        findable[kind] = by_rule
        found = bool(check_answer(answer, sample.context, sample.question, sample.answerable).findings)
        count[0] += found
        count[1] += 1
        if by_rule and not found:
            missed.setdefault(kind, []).append(answer)
    return {
        "specificity": rate(len(samples) - len(flagged), len(samples)),
        "recall": {kind: rate(*count) | {"by_rule": findable[kind]} for kind, count in counts.items()},
        "flagged_wrongly": [sample.answer for sample in flagged],
        "missed": missed,
    }


def problems(figures: dict[str, Any]) -> list[str]:
    """The limits that are missed."""
    short = [f"specificity {figures['specificity']['rate']}"] if figures["specificity"]["rate"] < SPECIFICITY else []
    for kind, found in figures["recall"].items():
        if found["n"] < 40:
            short.append(f"{kind}: only {found['n']} samples")
        if found["by_rule"] and found["rate"] < RECALL:
            short.append(f"{kind}: recall {found['rate']}")
    return short


def table_line(name: str, found: dict[str, Any]) -> str:
    return f"{name:40} {found['rate']:.3f} [{found['low']:.3f}, {found['high']:.3f}] n {found['n']}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    figures = measure()
    clean = figures["specificity"]
    print(table_line("specificity on right answers", clean))
    for kind, found in figures["recall"].items():
        print(table_line(kind, found) + ("" if found["by_rule"] else "   no rule can"))
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(figures, ensure_ascii=False, indent=1) + "\n")
    short = problems(figures)
    print("\n".join(f"MISSED {line}" for line in short))
    return bool(short)


if __name__ == "__main__":
    sys.exit(main())
