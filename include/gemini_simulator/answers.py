"""Writes the answer to a request: question-answer pairs about the chunk in the request.

Some pairs get a defect. The same seed and request always give the same pairs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from gemini_simulator.chunk_parser import ParsedChunk, parse_chunk
from gemini_simulator.defects import inject_defects
from gemini_simulator.pair_writers import WriterInput, write_pair
from gemini_simulator.pairs import SimulatedPair
from gemini_simulator.parsed_request import ParsedRequest
from gemini_simulator.seeded_random import hash_uniform, seeded_rng

#: A correction request names the faults of earlier pairs. For such a request, the defect rate is multiplied by this
#: factor, because real teachers also make fewer mistakes when the prompt names the faults.
CORRECTION_DEFECT_FACTOR = 0.25


@dataclass(frozen=True)
class WrittenAnswer:
    """The text of an answer, and records of the pairs in that text, each with the name of its defect, if any."""

    text: str
    pairs: list[SimulatedPair]


@lru_cache(maxsize=4096)
def _parse(chunk_text: str) -> ParsedChunk:
    return parse_chunk(chunk_text)


def write_answer(request: ParsedRequest, seed: int, defects: float) -> WrittenAnswer:
    """Write the requested pairs. `defects` is the approximate fraction of pairs that get a defect.

    The text of the answer is JSON that follows the request's schema, or plain text if the request has no schema.
    """
    chunk = _parse(request.chunk_text)
    if request.is_correction:  # the pairs differ from those of the first request and have fewer defects
        seed, defects = int(hash_uniform(seed, "correction") * 2**32), defects * CORRECTION_DEFECT_FACTOR
    good = [pair for question_type in request.question_types for pair in _pairs(chunk, question_type, request, seed)]
    pairs = inject_defects(good, chunk, seed, defects)
    if request.schema is None:
        return WrittenAnswer("\n\n".join(f"질문: {pair.question}\n답변: {pair.answer}" for pair in pairs), pairs)
    return WrittenAnswer(json.dumps(request.format_pairs([p.as_json() for p in pairs]), ensure_ascii=False), pairs)


def _pairs(chunk: ParsedChunk, question_type: str, request: ParsedRequest, seed: int) -> list[SimulatedPair]:
    """Write the pairs for one question type. No statement is used again until every statement has been used."""
    order = list(chunk.statements)
    seeded_rng(seed, "order", chunk.text).shuffle(order)
    first = request.question_types.index(question_type) * request.pairs_per_type
    answerable = question_type != "unanswerable"
    pairs = []
    for n in range(first, first + request.pairs_per_type):
        statement = order[n % len(order)]
        rng = seeded_rng(seed, question_type, n, chunk.text)
        product = _product_name(request, chunk, rng)
        question, answer = write_pair(question_type, WriterInput(chunk, statement, product, rng, n >= len(order)))
        evidence = statement.evidence if answerable else ""
        pairs.append(SimulatedPair(question_type, question, answer, evidence, answerable, chunk.article))
    return pairs


def _product_name(request: ParsedRequest, chunk: ParsedChunk, rng: Random) -> str:
    name = request.product or request.company
    if not name:
        return f"{chunk.title} 조항이 있는 보험" if chunk.title else "보험 계약"
    if request.company and request.company not in name and rng.random() < 0.25:
        return f"{request.company} {name}"
    return name
