"""The pairs written by hand about the sample policies: complete, right by every rule, and not from the test."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

from gemini_simulator.recorded_pairs import FOLDER, RecordedChunk, RecordedPair, recorded_pairs
from insurance_rag.chunks import read_chunks, read_questions
from insurance_rag.chunks.headings import product_name
from insurance_rag.config import ValidationConfig
from insurance_rag.core.records import REFUSAL, Chunk
from insurance_rag.core.records.generation import OTHER_CHUNK_ID
from insurance_rag.dataset.style import content_words, product_words
from insurance_rag.planning.question_plan import cited_article, own_article
from insurance_rag.validation.row import parse_row
from insurance_rag.validation.row_checks import CheckSetup
from insurance_rag.validation.rules.registry import RULES, RowRule

TYPES = ("fact", "scenario", "easy", "unanswerable")


@cache
def recorded() -> list[tuple[Chunk, RecordedPair]]:
    """Every recorded pair with its chunk."""
    kinds = [(kind, two) for kind in TYPES for two in (False, True)]
    return [
        (chunk, pair)
        for chunk in read_chunks("sample")
        for kind, two in kinds
        for pair in recorded_pairs(product_name(chunk), chunk.text, kind, two_chunks=two)
    ]


@cache
def held_out() -> frozenset[str]:
    """The documents that the evaluation questions are about."""
    source = {chunk.chunk_id: chunk.metadata.source for chunk in read_chunks("sample")}
    return frozenset(source[i] for question in read_questions("sample") for i in question.gold_chunk_ids)


def test_every_training_chunk_has_pairs_of_every_type() -> None:
    lines = [line for path in FOLDER.glob("*.jsonl") for line in path.read_text(encoding="utf-8").splitlines()]
    assert sum(len(RecordedChunk.model_validate_json(line).pairs) for line in lines) == len(recorded()) >= 1000
    training = [chunk for chunk in read_chunks("sample") if chunk.metadata.source not in held_out()]
    by_chunk = Counter((chunk.chunk_id, pair.type) for chunk, pair in recorded())
    assert all(by_chunk[chunk.chunk_id, kind] for chunk in training for kind in TYPES)
    unanswerable = sum(pair.type == "unanswerable" for _, pair in recorded())
    assert 0.2 <= unanswerable / len(recorded()) <= 0.33


def test_every_pair_passes_every_row_rule() -> None:
    chunks = {chunk.chunk_id: chunk for chunk in read_chunks("sample")}
    setup = CheckSetup(ValidationConfig(), {i: chunk.text for i, chunk in chunks.items()})
    context = setup.rule_context()
    rules = [rule for name in setup.config.rules if isinstance(rule := RULES[name], RowRule)]
    faults = []
    for chunk, pair in recorded():
        row = parse_row(_row(chunk, pair, list(chunks.values())), setup.config.max_characters)
        faults += [(rule.name, pair.question, span) for rule in rules if (span := rule.check(row, context)) is not None]
    assert faults == []


def _row(chunk: Chunk, pair: RecordedPair, chunks: list[Chunk]) -> dict[str, object]:
    meta: dict[str, str] = {}
    if pair.form == "two_chunks":
        cited, document = cited_article(chunk), chunk.metadata.source
        same = [other for other in chunks if other.metadata.source == document and own_article(other) == cited]
        meta = {OTHER_CHUNK_ID: same[0].chunk_id}
    fields = {"chunk_id": chunk.chunk_id, "type": pair.type, "instruction": pair.question, "input": chunk.text}
    answer = {"output": pair.answer, "evidence": pair.evidence, "answerable": pair.type != "unanswerable"}
    return {**fields, **answer, "meta": meta}


def test_unanswerable_pairs_are_refusals_and_the_others_quote_their_chunk() -> None:
    for chunk, pair in recorded():
        if pair.type == "unanswerable":
            assert (pair.answer, pair.evidence, pair.form) == (f"{REFUSAL}.", "", "near_miss")
        else:
            assert pair.evidence in chunk.text and REFUSAL not in pair.answer


def test_questions_are_not_asked_twice() -> None:
    questions = Counter(re.sub(r"\W", "", pair.question) for _, pair in recorded())
    assert max(questions.values()) == 1


def test_no_pair_is_about_a_held_out_document_or_asks_an_evaluation_question() -> None:
    assert not {chunk.metadata.source for chunk, _ in recorded()} & held_out()
    chunks = {chunk.chunk_id: chunk for chunk in read_chunks("sample")}
    products = {word for chunk in chunks.values() for word in product_words(product_name(chunk))}
    asked = [_ngrams(question.question, products) for question in read_questions("sample")]
    for _, pair in recorded():
        own = _ngrams(pair.question, products)
        assert max(len(own & other) / len(own | other) for other in asked) < 0.8, pair.question


def _ngrams(question: str, products: set[str]) -> frozenset[str]:
    """Character 3-grams of a question without the words of product names."""
    text = "".join(content_words(question, sorted(products)))
    return frozenset(text[i : i + 3] for i in range(max(1, len(text) - 2)))
