"""Writes the answer to a request: question-answer pairs about the chunks in the request.

Some pairs get a defect. The same seed and chunk always give the same pairs, whether the chunk is asked alone or with
others.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from random import Random

from gemini_simulator.answer_schema import format_pairs
from gemini_simulator.chunk_parser import ParsedChunk, parse_chunk
from gemini_simulator.chunk_sections import ChunkSection, WantedPair
from gemini_simulator.defects import inject_defects
from gemini_simulator.json_types import JsonObject
from gemini_simulator.pair_writers import WriterInput, write_pair
from gemini_simulator.pairs import SimulatedPair
from gemini_simulator.parsed_request import ParsedRequest
from gemini_simulator.recorded_pairs import recorded_pairs
from gemini_simulator.seeded_random import hash_uniform, seeded_rng

#: A correction request names the faults of earlier pairs. For such a request, the defect rate is multiplied by this
#: factor, because real teachers also make fewer mistakes when the prompt names the faults.
CORRECTION_DEFECT_FACTOR = 0.25


@dataclass(frozen=True)
class AnswerItem:
    """A pair in an answer.

    `chunk_id` is the id in the answer. It differs from the section's id only if the answer is mixed up.
    """

    section: ChunkSection
    pair: SimulatedPair
    chunk_id: str
    sentence_numbers: tuple[int, ...]
    """Evidence as sentence numbers. Only a pair with invented evidence has the number of a wrong sentence."""

    def as_json(self, numbers: bool) -> JsonObject:
        """Return the item's fields. If `numbers` is true, the evidence consists of sentence numbers."""
        chunk: JsonObject = {"chunk": self.chunk_id} if self.chunk_id else {}
        fields = {**chunk, **self.pair.as_json()}
        return {**fields, "evidence": list(self.sentence_numbers)} if numbers else fields


@dataclass(frozen=True)
class WrittenAnswer:
    """An answer to a request."""

    request: ParsedRequest
    items: tuple[AnswerItem, ...]
    degraded_ids: frozenset[str] = frozenset()
    """Ids of the chunks whose items are not complete or are mixed with those of another chunk."""

    @property
    def pairs(self) -> list[SimulatedPair]:
        """The pairs, with the names of their defects."""
        return [item.pair for item in self.items]

    @cached_property
    def text(self) -> str:
        """JSON that follows the request's schema, or plain text if the request has no schema."""
        schema = self.request.schema
        if schema is None:
            return "\n\n".join(f"질문: {pair.question}\n답변: {pair.answer}" for pair in self.pairs)
        fields = [item.as_json(self.request.wants_sentence_numbers) for item in self.items]
        return json.dumps(format_pairs(schema, fields), ensure_ascii=False)


def write_answer(request: ParsedRequest, seed: int, defects: float, *, recorded: bool = True) -> WrittenAnswer:
    """Write the requested pairs of every chunk. `defects` is the approximate fraction of pairs that get a defect.

    With `recorded`, pairs that were written by hand are used where there are any. A correction of such a pair is the
    same pair.
    """
    recorded_seed = seed if recorded else None
    if request.is_correction:  # the pairs differ from those of the first request and have fewer defects
        seed, defects = int(hash_uniform(seed, "correction") * 2**32), defects * CORRECTION_DEFECT_FACTOR
    items = [
        item
        for section in request.sections
        for item in write_items(section, section.wanted, seed, defects, recorded_seed)
    ]
    return WrittenAnswer(request, tuple(items))


def write_items(
    section: ChunkSection,
    wanted: Sequence[WantedPair],
    seed: int,
    defects: float = 0.0,
    recorded_seed: int | None = None,
) -> list[AnswerItem]:
    """Write pairs about one chunk. `recorded_seed` chooses among the recorded pairs; None uses none of them."""
    chunk = _parse(section.text)
    good = [
        _recorded_pair(section, chunk, each, recorded_seed) or _write_pair(section, chunk, each, seed)
        for each in wanted
    ]
    pairs = inject_defects(good, [each.slot for each in wanted], chunk, seed, defects)
    return [
        AnswerItem(section, pair, section.id, tuple(_evidence_numbers(section, pair, before, seed)))
        for pair, before in zip(pairs, good, strict=True)
    ]


@lru_cache(maxsize=4096)
def _parse(chunk_text: str) -> ParsedChunk:
    return parse_chunk(chunk_text)


def _recorded_pair(
    section: ChunkSection, chunk: ParsedChunk, wanted: WantedPair, seed: int | None
) -> SimulatedPair | None:
    """Return a pair that was written by hand, or None if there is none. The pairs of a type take turns.

    They are answers to prompts that list the wanted pairs. Other prompts ask for less.
    """
    if seed is None or not wanted.listed:
        return None
    pairs = recorded_pairs(section.product, section.text, wanted.type, two_chunks=wanted.two_chunks)
    if not pairs:
        return None
    first = int(hash_uniform(seed, "recorded", wanted.type, section.text) * len(pairs))
    pair = pairs[(first + wanted.earlier) % len(pairs)]
    answerable = wanted.type != "unanswerable"
    return SimulatedPair(pair.type, pair.question, pair.answer, pair.evidence, answerable, chunk.article)


def _write_pair(section: ChunkSection, chunk: ParsedChunk, wanted: WantedPair, seed: int) -> SimulatedPair:
    """Write one pair. No statement is used again until every statement has been used."""
    order = list(chunk.statements)
    seeded_rng(seed, "order", chunk.text).shuffle(order)
    statement = order[wanted.slot % len(order)]
    rng = seeded_rng(seed, wanted.type, wanted.slot, chunk.text)
    product = _product_name(section, chunk, rng)
    given = WriterInput(chunk, statement, product, rng, wanted.slot >= len(order))
    question, answer = write_pair(wanted.type, given)
    answerable = wanted.type != "unanswerable"
    evidence = statement.evidence if answerable else ""
    return SimulatedPair(wanted.type, question, answer, evidence, answerable, chunk.article)


def _product_name(section: ChunkSection, chunk: ParsedChunk, rng: Random) -> str:
    name = section.product or section.company
    if not name:
        return f"{chunk.title} 조항이 있는 보험" if chunk.title else "보험 계약"
    if section.company and section.company not in name and rng.random() < 0.25:
        return f"{section.company} {name}"
    return name


def _evidence_numbers(section: ChunkSection, pair: SimulatedPair, good: SimulatedPair, seed: int) -> list[int]:
    """Return the numbers of the sentences that contain the pair's evidence.

    Invented evidence is the number of a sentence that does not exist or of another sentence.
    """
    if pair.defect != "evidence_not_in_chunk":
        return section.sentence_numbers(pair.evidence)
    rng = seeded_rng(seed, "evidence number", pair.type, pair.question, section.text)
    count = len(section.sentences)
    right = section.sentence_numbers(good.evidence)
    others = [number for number in range(1, count + 1) if number not in right]
    return [rng.choice(others)] if others and rng.random() < 0.5 else [count + rng.randint(1, 9)]
