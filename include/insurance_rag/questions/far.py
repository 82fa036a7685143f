"""Makes unanswerable questions about other lines of insurance, without a teacher.

The file far_topics.yaml has the topics. A topic is used for a product only if its documents contain none of the topic's
keywords, so that the question cannot have an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import yaml
from pydantic import TypeAdapter

from insurance_rag.chunks.headings import product_name
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records import REFUSAL, Chunk, Question, Record
from insurance_rag.korean.particles import with_particle
from insurance_rag.questions.candidate import Candidate
from insurance_rag.questions.corpus import Corpus
from insurance_rag.questions.ids import question_id

TOPICS = Path(__file__).with_name("far_topics.yaml")


class Topic(Record):
    """A line of insurance: the words that show that a document is about it, and questions about it."""

    keywords: list[str]
    questions: list[str]


@cache
def read_topics() -> list[Topic]:
    """Return the topics of far_topics.yaml."""
    return TypeAdapter(list[Topic]).validate_python(yaml.safe_load(TOPICS.read_text(encoding="utf-8")))


def far_candidates(corpus: Corpus, asked: Sequence[Chunk], n: int, seed: int) -> list[Candidate]:
    """Return up to `n` questions about topics that the documents of the `asked` chunks do not mention.

    Every wording is used once before any is used for a second product. The order depends only on the seed.
    """
    texts: dict[str, str] = {}
    examples: dict[str, Chunk] = {}
    for chunk in corpus.chunks:
        texts[product_name(chunk)] = texts.get(product_name(chunk), "") + chunk.text
    for chunk in asked:
        examples.setdefault(product_name(chunk), chunk)
    wordings = [(topic, wording) for topic in read_topics() for wording in topic.questions]
    wordings.sort(key=lambda item: sha256_text(str(seed), item[1]))
    products = sorted(examples, key=lambda name: sha256_text(str(seed), name))
    found: list[Candidate] = []
    for turn in range(len(products)):
        for place, (topic, wording) in enumerate(wordings):
            product = products[(place + turn) % len(products)]
            if len(found) < n and not any(word in texts[product] for word in topic.keywords):
                found.append(_candidate(corpus, examples[product], wording))
    return found


def _candidate(corpus: Corpus, chunk: Chunk, wording: str) -> Candidate:
    text = _fill(wording, product_name(chunk))
    question = Question(
        question_id=question_id(text, []),
        question=text,
        type="unanswerable",
        answerable=False,
        gold_chunk_ids=[],
        reference_answer=REFUSAL,
        filters=corpus.filters(chunk),
    )
    return Candidate(question, "far", origin="template")


def _fill(wording: str, product: str) -> str:
    """Put the product into the wording, with the particles that its last syllable demands."""
    for written, particle in (("{product}은(는)", "은"), ("{product}으로", "으로"), ("{product}로", "으로")):
        if written in wording:
            return wording.replace(written, with_particle(product, particle))
    return wording.replace("{product}", product)
