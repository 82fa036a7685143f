"""Degenerate ways to answer, which must never be promoted, and a few honest ones to compare them with.

Each is a function that returns the answer to one evaluation sample, as a model would generate it. Those that quote the
reference answer know more than any real model, so a gate that refuses them also refuses weaker versions.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from insurance_rag.core.records import REFUSAL
from insurance_rag.evaluation.requests import build_prompt
from insurance_rag.evaluation.samples import EvalSample
from insurance_rag.korean import Quantity, quantities, sentences

HEDGE = "그 밖의 사항은 약관에 해당 내용이 없습니다."
EVASION = "상황에 따라 다를 수 있으니 고객센터에 문의하시기 바랍니다."
FOREIGN_TAIL = "Este es un seguro muy importante para toda la familia."
ADVERTISING = "지금 바로 가입하시면 특별한 사은품을 드립니다!"
REFUSED = f"{REFUSAL}."


@dataclass(frozen=True)
class World:
    """Everything that an answer function may look at."""

    samples: Sequence[EvalSample]
    labeled: Mapping[str, str]
    """Question id -> a correct answer that a person wrote."""


AnswerFunction = Callable[[EvalSample, World], str]


def reference(sample: EvalSample, _: World) -> str:
    """Return the reference answer if the context contains a gold chunk, and refuse otherwise."""
    return (sample.question.reference_answer or REFUSED) if is_due(sample) else REFUSED


def is_due(sample: EvalSample) -> bool:
    """Return whether an answer is expected: the question is answerable and a gold chunk is in the context."""
    return sample.question.answerable and bool(sample.gold_in_context)


def changed_reference(change: Callable[[str, EvalSample], str]) -> AnswerFunction:
    """Return a function that changes the reference answer, and refuses where a refusal is right."""
    return lambda sample, world: change(reference(sample, world), sample) if is_due(sample) else REFUSED


def refusing_rightly(answer: AnswerFunction) -> AnswerFunction:
    """Return a function that refuses where a refusal is right, and otherwise answers with `answer`."""
    return lambda sample, world: answer(sample, world) if is_due(sample) else REFUSED


def top_chunk(sample: EvalSample) -> str:
    """Return the text of the best chunk."""
    return sample.chunks[0].text if sample.chunks else ""


def first_sentence(sample: EvalSample, _: World) -> str:
    """Return the first sentence of the best chunk, followed by a hedge."""
    found = _body(top_chunk(sample))
    return f"{found[0]} {HEDGE}" if found else HEDGE


def closest_sentence(sample: EvalSample, _: World) -> str:
    """Return the sentence of the context that shares the most character pairs with the question."""
    asked = _pairs(sample.question.question)
    found = [text for chunk in sample.chunks for text in _body(chunk.text)]
    return max(found, key=lambda text: len(asked & _pairs(text)), default="")


def closest_number_sentence(sample: EvalSample, world: World) -> str:
    """Answer with the closest sentence if the question asks for a number, and refuse otherwise."""
    asks = re.search(r"얼마|며칠|몇|언제까지|%|퍼센트|기간|한도", sample.question.question)
    return closest_sentence(sample, world) if asks else REFUSED


def listed_numbers(sample: EvalSample, _: World) -> str:
    """Return all quantities of the best chunk as a list, or its article if it has none."""
    found = dict.fromkeys(quantity.text for quantity in quantities(top_chunk(sample)))
    return ", ".join(found) or cited_article(sample, _)


def number_sentences(sample: EvalSample, _: World) -> str:
    """Return all sentences of the best chunk that state a quantity, or its article if there are none."""
    return " ".join(text for text in _body(top_chunk(sample)) if quantities(text)) or cited_article(sample, _)


def yes_or_no(sample: EvalSample, _: World) -> str:
    """Return `yes` or `no` at random, with the article of the best chunk."""
    yes = random.Random(sample.question.question_id).random() < 0.5
    return f"{'네, 그렇습니다' if yes else '아니요, 그렇지 않습니다'}. {cited_article(sample, _)}"


def cited_article(sample: EvalSample, _: World) -> str:
    """Cite the article of the best chunk without saying what it says."""
    article = re.search(r"제\d+조(?:의\d+)?", top_chunk(sample))
    return f"{article.group() if article else '약관'}에 따라 처리합니다."


def other_question(sample: EvalSample, world: World) -> str:
    """Return the reference answer to another question about the same document."""
    return _borrowed(sample, world, lambda other: other.document == sample.document)


def sister_product(sample: EvalSample, world: World) -> str:
    """Return the reference answer to the most similar question about another product. Refuse where that is right."""
    if not is_due(sample):
        return REFUSED
    return _borrowed(sample, world, lambda other: other.document != sample.document)


def never_refuses(sample: EvalSample, world: World) -> str:
    """Answer unanswerable questions with the closest sentence, and all others rightly."""
    return reference(sample, world) if sample.question.answerable else closest_sentence(sample, world)


def hedged_reference(sample: EvalSample, world: World) -> str:
    """Answer rightly with a hedge, and answer unanswerable questions with the closest sentence and a hedge."""
    return f"{never_refuses(sample, world)} {HEDGE}"


def sometimes(share: float, seed: str) -> AnswerFunction:
    """Return a function that answers this share of the questions rightly and refuses the others."""

    def answer(sample: EvalSample, world: World) -> str:
        draw = random.Random(f"{seed} {sample.question.question_id}").random()
        return reference(sample, world) if draw < share else REFUSED

    return answer


def labeled(sample: EvalSample, world: World) -> str:
    """Return a correct answer that a person wrote in other words, or the reference answer if there is none."""
    right = reference(sample, world)
    return world.labeled.get(sample.question.question_id, right) if is_due(sample) else right


def change_number(text: str, sample: EvalSample, *, elsewhere: bool = False) -> str:
    """Replace the first quantity of `text`, or negate a text without quantities.

    The new quantity occurs nowhere in the context. With `elsewhere`, it is another quantity of the context with the
    same unit, if there is one.
    """
    found = next((q for q in quantities(text) if re.match(r"\d", q.text)), None)
    if found is None:
        return negate(text)
    return text[: found.start] + _other_number(found, sample, elsewhere) + text[found.end :]


def _other_number(old: Quantity, sample: EvalSample, elsewhere: bool) -> str:
    shown = [q for q in quantities(sample.context) if q.unit == old.unit and q.key != old.key]
    if elsewhere and shown:
        return shown[0].text
    unit = re.sub(r"^[\d,.]+", "", old.text)
    known = {q.key for q in shown} | {old.key}
    made = (f"{n}{unit}" for n in (7, 13, 17, 37, 77, 130, 270, 7700))
    return next(text for text in made if not {q.key for q in quantities(text)} & known)


def negate(text: str) -> str:
    """Return the opposite of a statement: swap `yes` and `no` at its beginning, and negate the predicate at its end."""
    swapped = {"네": "아니요", "예": "아니요", "아니요": "네"}
    text = re.sub(r"^(네|예|아니요)(?=[,.\s])", lambda match: swapped[match[1]], text).rstrip(". ")
    for ending, opposite in (
        ("지 않습니다", "는 것이 맞습니다"),
        ("수 없습니다", "수 있습니다"),
        ("수 있습니다", "수 없습니다"),
        ("없습니다", "있습니다"),
        ("있습니다", "없습니다"),
        ("아닙니다", "맞습니다"),
        ("야 합니다", "야 하는 것은 아닙니다"),
        ("입니다", "이 아닙니다"),
        ("습니다", "지 않습니다"),
    ):
        if text.endswith(ending):
            return f"{text.removesuffix(ending)}{opposite}."
    # The stem of the predicate ends in a vowel and `ㅂ니다`: 지급합니다 -> 지급하지 않습니다.
    stem = text.removesuffix("니다")
    final = chr(ord(stem[-1]) - 17) if stem != text and (ord(stem[-1]) - 0xAC00) % 28 == 17 else None
    return f"{stem[:-1]}{final}지 않습니다." if final else f"{text}라는 것은 사실이 아닙니다."


def _borrowed(sample: EvalSample, world: World, wanted: Callable[[EvalSample], bool]) -> str:
    """Return the reference answer to the most similar other question that is `wanted` and has other gold chunks."""
    asked = _pairs(sample.question.question)
    others = [
        other
        for other in world.samples
        if other.question.answerable and other.cluster != sample.cluster and wanted(other)
    ]
    if not others:  # an unanswerable question counts as a document of its own
        others = [other for other in world.samples if other.question.answerable]
    closest = max(others, key=lambda other: len(asked & _pairs(other.question.question)))
    return closest.question.reference_answer or REFUSED


def _body(text: str) -> list[str]:
    """Return the sentences of a chunk without its heading, e.g. `제9조(암 재활치료 지원금)`."""
    return [span.text for span in sentences(text) if not re.fullmatch(r"제\d+조(?:의\d+)?\s?\([^)]*\)", span.text)]


def _pairs(text: str) -> set[str]:
    text = re.sub(r"\s+", "", text)
    return {text[i : i + 2] for i in range(len(text) - 1)}


def prompt_echo(sample: EvalSample, _: World) -> str:
    """Return the prompt, like a base model that only copies."""
    return build_prompt(sample.question.question, sample.shown)


CHEATS: dict[str, AnswerFunction] = {
    "first sentence of the chunk + hedge": first_sentence,
    "always refuses": lambda sample, world: REFUSED,
    "always evades": lambda sample, world: EVASION,
    "copies the best chunk": lambda sample, world: top_chunk(sample),
    "copies all chunks": lambda sample, world: sample.context,
    "echoes the prompt": prompt_echo,
    "sentence closest to the question": closest_sentence,
    "closest sentence + hedge": lambda sample, world: f"{closest_sentence(sample, world)} {HEDGE}",
    "closest sentence if a number is asked, else refuses": closest_number_sentence,
    "네, 그렇습니다": lambda sample, world: "네, 그렇습니다.",
    "아니요": lambda sample, world: "아니요, 그렇지 않습니다.",
    "repeats the question": lambda sample, world: sample.question.question,
    "cites the article only": cited_article,
    "lists all numbers of the chunk": listed_numbers,
    "lists all numbers of the chunk, refuses rightly": refusing_rightly(listed_numbers),
    "copies the sentences with numbers, refuses rightly": refusing_rightly(number_sentences),
    "copies the best chunk, refuses rightly": refusing_rightly(lambda sample, world: top_chunk(sample)),
    "first sentence of the chunk, refuses rightly": refusing_rightly(first_sentence),
    "네 or 아니요 at random, refuses rightly": refusing_rightly(yes_or_no),
    "empty": lambda sample, world: "",
    "answer to another question": other_question,
    "answer about a sister product": sister_product,
    "reference, one number changed": changed_reference(change_number),
    "reference, number from elsewhere in the context": changed_reference(
        lambda text, sample: change_number(text, sample, elsewhere=True)
    ),
    "reference, negated": changed_reference(lambda text, sample: negate(text)),
    "reference and its negation": changed_reference(lambda text, sample: f"{text} {negate(text)}"),
    "reference + foreign tail": changed_reference(lambda text, sample: f"{text} {FOREIGN_TAIL}"),
    "reference + advertising": changed_reference(lambda text, sample: f"{text} {ADVERTISING}"),
    "reference + copied chunks": changed_reference(lambda text, sample: f"{text} {sample.context}"),
    "reference, repeated 10 times": changed_reference(lambda text, sample: " ".join([text] * 10)),
    "reference, never refuses": never_refuses,
    "reference + hedge, never refuses": hedged_reference,
    "reference for 40 %, else refuses": sometimes(0.4, "forty"),
}
"""Name -> a degenerate way to answer."""

CHAMPIONS: dict[str, AnswerFunction] = {"echo": prompt_echo, "mediocre": sometimes(0.5, "mediocre")}
"""Name -> the model to beat. `mediocre` answers half of the answerable questions rightly and refuses the others."""

HONEST: dict[str, AnswerFunction] = {"reference": reference, "correct in other words": labeled}
"""Name -> a way to answer that must be promoted."""
