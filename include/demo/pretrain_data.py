"""Training sequences for the demo's tiny base model, made from the text of the chunks.

There are three kinds of sequences:

- `repeat`: random tokens, then the same tokens again. This is the quickest way to train induction (copying) heads.
- `plain`: the text of one chunk, followed by the end-of-text token.
- `extract`: chunks, followed by several of their sentences. Before each sentence, there is a cue: a few words from the
  sentence. The layout varies.

The sequences teach what any base model can do. They contain nothing that the adapters are trained for: no refusals, no
citations, no end of text after an answer. In `extract` sequences, some digits and words of a chunk are often replaced
at random before sentences are taken from it. The model therefore cannot memorize the sentences and has to copy them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from insurance_rag.korean import sentences

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SequenceKind = Literal["repeat", "plain", "extract"]

#: A particle or verb ending at the end of a word. Users often omit these endings in questions.
PARTICLE = re.compile(
    r"(?<=[가-힣]{2})(은|는|이|가|을|를|의|에|에서|에게|으로|로|와|과|도|하며|하고|합니다\.|입니다\.)$"
)
#: A digit that is not part of an article number (제7조, 제15조). Article numbers are not replaced, so that a chunk's
#: text still matches its title.
_DIGIT = re.compile(r"(?<!제)(?<!제\d)\d")

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


class Layout(NamedTuple):
    """The strings around chunks, cues and sentences in a sequence."""

    before_chunks: str
    before_first_cue: str
    before_next_cue: str
    before_sentence: str
    after_sentence: str


#: None of them is a prompt format of the adapters: otherwise, the base model would know what the adapters are to learn.
LAYOUTS = (
    Layout("", "\n\n", "", "\n", "\n\n"),
    Layout("", "\n\n질문: ", "질문: ", "\n답변: ", "\n"),
    Layout("", "\n\n문: ", "문: ", "\n답: ", "\n\n"),
    Layout("<약관>\n", "\n</약관>\n\n<질문> ", "<질문> ", "\n<답변> ", "\n"),
)


def split_sentences(text: str) -> list[str]:
    """Return the sentences and list items in a chunk that are long enough to ask about."""
    return [span.text for span in sentences(text) if len(span.text) >= 12]


def make_cue(sentence: str, rng: random.Random) -> str:
    """Return a cue for the sentence: two to five of its words in their original order, then one of CUE_ENDINGS.

    Each word loses its particle with a probability of 60%.
    """
    words = sentence.split()
    n = min(len(words), rng.randint(2, 5))
    start = rng.randrange(len(words) - n + 1)
    chosen = (
        words[start : start + n] if rng.random() < 0.5 else [words[i] for i in sorted(rng.sample(range(len(words)), n))]
    )
    kept = [PARTICLE.sub("", word) if rng.random() < 0.6 else word for word in chosen]
    return " ".join(kept).rstrip(".,:") + rng.choice(CUE_ENDINGS)


def replace_digits(text: str, rng: random.Random) -> str:
    """Replace digits with random digits, except in article numbers. Zeros remain zeros."""
    return _DIGIT.sub(lambda match: str(rng.randint(1, 9)) if match.group() != "0" else "0", text)


@dataclass(frozen=True)
class TokenSequence:
    """Token IDs and, for each token, whether it counts toward the loss."""

    ids: list[int]
    in_loss: list[bool]


class SequenceSampler:
    """Draws training sequences at random. The same seed gives the same sequences."""

    def __init__(self, texts: Sequence[str], tokenizer: PreTrainedTokenizerFast, length: int, seed: int) -> None:
        self.texts, self.tokenizer, self.length = list(texts), tokenizer, length
        self.rng = random.Random(seed)
        self._words = [word for text in self.texts for word in text.split() if len(word) > 1]
        self._first_id = max(tokenizer.all_special_ids) + 1

    def encode(self, text: str) -> list[int]:
        """Return the token IDs of a string, without special tokens."""
        return list(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def draw(self, kind: SequenceKind, length: int) -> TokenSequence:
        """Draw a sequence of this kind with at most `length` tokens."""
        if kind == "repeat":
            return self.repeat(length)
        return self.plain(length) if kind == "plain" else self.extract(length)

    def repeat(self, length: int) -> TokenSequence:
        """Draw random tokens and repeat them. Only the repetitions count toward the loss."""
        n = self.rng.randint(length // 4, length // 2)
        ids = [self.rng.randrange(self._first_id, len(self.tokenizer)) for _ in range(n)]
        times = length // n
        return TokenSequence(ids * times, [False] * n + [True] * (n * (times - 1)))

    def plain(self, length: int) -> TokenSequence:
        """Return the text of a random chunk. All tokens count toward the loss."""
        text = self.rng.choice(self.texts)
        ids = [self.tokenizer.bos_token_id, *self.encode(text), self.tokenizer.eos_token_id][:length]
        return TokenSequence(ids, [True] * len(ids))

    def extract(self, length: int) -> TokenSequence:
        """Return random chunks, followed by their sentences in random order until `length` is reached.

        There is a cue before each sentence. No sentence follows twice: its second copy could be taken from the first
        one, without reading the chunk. Only the tokens after the chunks count toward the loss.
        """
        rng = self.rng
        layout = rng.choice(LAYOUTS)
        texts = [self.vary(text) for text in rng.sample(self.texts, rng.choice((1, 1, 2, 3)))]
        while len(texts) > 1 and sum(len(text) for text in texts) > length:
            texts.pop()
        ids = [self.tokenizer.bos_token_id, *self.encode(layout.before_chunks + "\n\n".join(texts))]
        in_loss = [False] * len(ids)
        candidates = [sentence for text in texts for sentence in split_sentences(text)]
        before_cue = layout.before_first_cue
        while candidates and len(ids) < length:
            sentence = candidates.pop(rng.randrange(len(candidates)))
            ids += self.encode(before_cue + make_cue(sentence, rng) + layout.before_sentence)
            ids += self.encode(sentence + layout.after_sentence)
            before_cue = layout.before_next_cue
        in_loss += [True] * (len(ids) - len(in_loss))
        return TokenSequence(ids[:length], in_loss[:length])

    def vary(self, text: str) -> str:
        """Return the chunk's text with random changes.

        There are two independent changes. In 70% of the calls, the digits are replaced. In two thirds of the calls,
        some words are replaced: 10% or 30% of them.
        """
        rng = self.rng
        if rng.random() < 0.7:
            text = replace_digits(text, rng)
        share = rng.choice((0.0, 0.1, 0.3))
        if share:
            text = re.sub(r"\S+", lambda m: rng.choice(self._words) if rng.random() < share else m.group(), text)
        return text
