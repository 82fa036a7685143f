"""Training text for the demo's small base model, made from the clauses alone.

Three kinds of sequences, so that the model learns what a base model brings along and nothing that the adapters are
there to teach (no refusal, no citation, no stop after an answer):
    repeat   random tokens, then the same again: the quickest way to induction (copying) heads
    plain    a clause read on, to its end-of-text token
    extract  clauses, then several times a cue of words from one sentence and that sentence, in varied layouts
Numbers and words are changed at random, the same in clause and answer, so that copying pays and memorising does not.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from insurance_rag.korean import sentences

PARTICLE = re.compile(
    r"(?<=[가-힣]{2})(은|는|이|가|을|를|의|에|에서|에게|으로|로|와|과|도|하며|하고|합니다\.|입니다\.)$"
)
CUE_ENDINGS = (
    "",
    "은 무엇인가요?",
    "은 얼마인가요?",
    "은 언제까지인가요?",
    "은 어떻게 되나요?",
    "에 대해 알려 주세요.",
    "이 궁금합니다.",
    "일 때는 어떻게 하나요?",
)
#: (before the clauses, between clauses and the first cue, before a cue, between cue and sentence, after a sentence)
LAYOUTS = (
    ("", "\n\n", "", "\n", "\n\n"),
    ("", "\n\n질문: ", "질문: ", "\n답변: ", "\n"),
    ("### 지시\n", "\n\n### 입력\n", "\n\n### 입력\n", "\n\n### 출력\n", "\n\n"),
    ("### 입력\n[보험약관]\n", "\n\n질문: ", "질문: ", "\n### 출력\n", "\n"),
)


def split_sentences(text: str) -> list[str]:
    """Sentences and list items of a clause, long enough to be asked about."""
    return [span.text for span in sentences(text) if len(span.text) >= 12]


def make_cue(sentence: str, rng: random.Random) -> str:
    """Two to five words of the sentence in their order, particles mostly gone, and a question's ending."""
    words = sentence.split()
    n = min(len(words), rng.randint(2, 5))
    start = rng.randrange(len(words) - n + 1)
    chosen = (
        words[start : start + n] if rng.random() < 0.5 else [words[i] for i in sorted(rng.sample(range(len(words)), n))]
    )
    kept = [PARTICLE.sub("", w) if rng.random() < 0.6 else w for w in chosen]
    return " ".join(kept).rstrip(".,:") + rng.choice(CUE_ENDINGS)


def shuffle_digits(text: str, rng: random.Random) -> str:
    """Other digits for every number but the article's own, so that an amount has to be read off the context."""
    return re.sub(r"(?<!제)(?<!제\d)\d", lambda m: str(rng.randint(1, 9)) if m.group() != "0" else "0", text)


@dataclass(frozen=True)
class TokenRow:
    """Token ids and which of them count for the loss."""

    ids: list[int]
    counts: list[bool]


class TaskMaker:
    """Draws sequences of at most `length` tokens; the same seed gives the same sequences."""

    def __init__(self, clauses: Sequence[str], tokenizer: Any, length: int, seed: int) -> None:
        self.clauses, self.tokenizer, self.length = list(clauses), tokenizer, length
        self.rng = random.Random(seed)
        self.words = [w for clause in self.clauses for w in clause.split() if len(w) > 1]
        self.first_id = max(tokenizer.all_special_ids) + 1

    def encode(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def repeat(self, length: int) -> TokenRow:
        n = self.rng.randint(length // 4, length // 2)
        ids = [self.rng.randrange(self.first_id, len(self.tokenizer)) for _ in range(n)]
        times = length // n
        return TokenRow(ids * times, [False] * n + [True] * (n * (times - 1)))

    def plain(self, length: int) -> TokenRow:
        text = self.rng.choice(self.clauses)
        ids = [self.tokenizer.bos_token_id, *self.encode(text), self.tokenizer.eos_token_id][:length]
        return TokenRow(ids, [True] * len(ids))

    def extract(self, length: int) -> TokenRow:
        """Clauses, then cue and sentence until the length is reached; the loss counts what follows the clauses."""
        rng = self.rng
        before, first, again, between, after = rng.choice(LAYOUTS)
        clauses = [self.vary(c) for c in rng.sample(self.clauses, rng.choice((1, 1, 2, 3)))]
        ids = [self.tokenizer.bos_token_id]
        counts = [False]

        def add(text: str, count: bool) -> None:
            new = self.encode(text)
            ids.extend(new)
            counts.extend([count] * len(new))

        while len(clauses) > 1 and sum(len(c) for c in clauses) > length:
            clauses.pop()
        add(before + "\n\n".join(clauses), False)
        candidates = [s for c in clauses for s in split_sentences(c)]
        glue = first
        while candidates and len(ids) < length:
            sentence = rng.choice(candidates)
            add(glue + make_cue(sentence, rng) + between, True)
            add(sentence + after, True)
            glue = again
        return TokenRow(ids[:length], counts[:length])

    def vary(self, clause: str) -> str:
        """The clause with other digits and, at times, some of its words replaced by words of other clauses."""
        rng = self.rng
        if rng.random() < 0.7:
            clause = shuffle_digits(clause, rng)
        share = rng.choice((0.0, 0.1, 0.3))
        if share:
            clause = re.sub(r"\S+", lambda m: rng.choice(self.words) if rng.random() < share else m.group(), clause)
        return clause
