"""Answers to requests about several chunks: ids, evidence numbers, the same pairs as alone, and degradation."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from functools import cache

import pytest
from tests.gemini_simulator.packed_prompts import (
    PARAPHRASE,
    REPAIR,
    items_of,
    marked,
    packed_prompt,
    packed_request,
    packed_schema,
)

from gemini_simulator.answers import WrittenAnswer, write_answer
from gemini_simulator.config import SimulatorConfig
from gemini_simulator.json_types import JsonObject
from gemini_simulator.packs import degrade
from gemini_simulator.parsed_request import GenerationOptions, ParsedRequest
from gemini_simulator.reply import Reply, make_reply
from gemini_simulator.seeded_random import Attempt
from insurance_rag.chunks import read_chunks
from insurance_rag.core.records import Chunk
from insurance_rag.korean.sentences import sentences

ALL_TYPES = ("fact", "scenario", "easy", "unanswerable")


@cache
def sample() -> list[Chunk]:
    return read_chunks("sample")


def packs(size: int = 8) -> list[list[Chunk]]:
    return [sample()[n : n + size] for n in range(0, len(sample()) - size + 1, size)]


def degraded(chunks: list[Chunk], number: int = 1, **settings: object) -> WrittenAnswer:
    config, request = SimulatorConfig.parse({"defects": 0, **settings}), packed_request(chunks)
    return degrade(write_answer(request, config.seed, 0), config, Attempt(config.seed, request.sha256, number))


def reply_to(chunks: list[Chunk], heading: str = "", number: int = 1, **settings: object) -> Reply:
    config, request = SimulatorConfig.parse({"defects": 0, **settings}), packed_request(chunks, heading)
    return make_reply(config, request, Attempt(config.seed, request.sha256, number))


def counts(answer: WrittenAnswer) -> Counter[str]:
    return Counter(item.chunk_id for item in answer.items)


def test_the_chunks_of_a_pack_are_read_without_sentence_marks() -> None:
    request = packed_request(sample())
    assert len(request.sections) == len(sample())
    for n, (section, chunk) in enumerate(zip(request.sections, sample(), strict=True), 1):
        product, *path = chunk.metadata.breadcrumbs.split(" > ")
        assert (section.id, section.product, section.path) == (f"C{n}", product, " > ".join(path))
        assert section.text == chunk.text.strip()
        assert section.sha256 == hashlib.sha256(chunk.text.strip().encode()).hexdigest()
        assert [span.text for span in section.sentences] == [span.text for span in sentences(chunk.text)]
        assert [pair.type for pair in section.wanted] == ["fact", "scenario", "easy"]


def test_marks_of_the_text_itself_are_kept() -> None:
    text = "제3조(지급)\n① [별표 3] 및 주[3]에 따릅니다. 다만, [1] 또는 [7] 은 제외합니다."
    chunk = sample()[0].model_copy(update={"text": text})
    assert "[2] ① [별표 3] 및 주[3]에" in marked(text)
    assert packed_request([chunk]).sections[0].text == text


def test_text_after_the_chunk_does_not_belong_to_it() -> None:
    chunks = sample()[:2]
    first, second = packed_prompt(chunks).split("\n### 조항 C2")
    prompt = f"{first}\n### 함께 볼 조항\n제9조(다른 조항)\n### 조항 C2{second}\n### 출력\nJSON"
    sections = ParsedRequest(prompt).sections
    assert [section.text for section in sections] == [chunk.text.strip() for chunk in chunks]


def test_an_item_has_the_fields_of_the_schema_in_its_order_and_the_numbers_of_its_evidence() -> None:
    chunks = packs()[0]
    answer = write_answer(packed_request(chunks, types=ALL_TYPES), 0, 0)
    assert {tuple(item) for item in json.loads(answer.text)} == {("chunk", "type", "evidence", "question", "answer")}
    items = items_of(answer.text)
    assert [item.chunk for item in items] == [f"C{n}" for n in range(1, 9) for _ in ALL_TYPES]
    for item, written in zip(items, answer.items, strict=True):
        text = chunks[int(item.chunk[1:]) - 1].text
        spans = [span for n, span in enumerate(sentences(text), 1) if n in item.evidence]
        if item.type == "unanswerable":
            assert item.evidence == []
        else:
            assert written.pair.evidence in text[spans[0].start : spans[-1].end]
            assert len(spans) == 1 or written.pair.evidence not in text[spans[0].end :]


def test_quotes_are_sent_if_the_schema_asks_for_them() -> None:
    chunks = packs()[0]
    items = json.loads(write_answer(packed_request(chunks, quotes=True), 0, 0).text)
    assert all(item["evidence"] in chunks[int(item["chunk"][1:]) - 1].text for item in items)


def test_invented_evidence_is_a_wrong_sentence_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gemini_simulator.defects.DEFECT_SHARES", {"evidence_not_in_chunk": 1.0})
    good, bad = (write_answer(packed_request(sample()), 0, defects) for defects in (0.0, 1.0))
    missing = 0
    for before, item in zip(good.items, bad.items, strict=True):
        assert not set(item.sentence_numbers) & set(before.sentence_numbers)
        missing += item.sentence_numbers[0] > len(item.section.sentences)
    assert 0.3 * len(bad.items) < missing < len(bad.items)


@pytest.mark.parametrize("heading", ["", REPAIR])
def test_a_chunk_gets_the_same_pairs_alone_and_in_a_pack(heading: str) -> None:
    for chunks in packs():
        packed = items_of(write_answer(packed_request(chunks, heading), 3, 0.3).text)
        alone = [write_answer(packed_request([chunk], heading), 3, 0.3).text for chunk in chunks]
        assert [(i.type, i.evidence, i.question, i.answer) for i in packed] == [
            (i.type, i.evidence, i.question, i.answer) for text in alone for i in items_of(text)
        ]


def test_a_pair_does_not_depend_on_the_other_pairs_that_are_requested() -> None:
    for chunk in sample()[:20]:
        every = items_of(write_answer(packed_request([chunk], types=ALL_TYPES), 0, 0).text)
        for n, name in enumerate(ALL_TYPES):
            assert items_of(write_answer(packed_request([chunk], types=[name]), 0, 0).text) == [every[n]]


def test_repeated_types_give_different_pairs() -> None:
    items = items_of(write_answer(packed_request(sample()[:1], types=["fact", "fact"]), 0, 0).text)
    assert [item.type for item in items] == ["fact", "fact"]
    assert items[0].question != items[1].question


def test_a_repair_contains_only_the_listed_pairs() -> None:
    chunks = packs()[0]
    first = items_of(write_answer(packed_request(chunks), 0, 0).text)
    repaired = items_of(write_answer(packed_request(chunks, REPAIR, ["easy"]), 0, 0).text)
    assert [(item.chunk, item.type) for item in repaired] == [(f"C{n}", "easy") for n in range(1, 9)]
    # The sample policies have recorded pairs, so that a repair is the same pair without its defect.
    assert [item.question for item in repaired] == [item.question for item in first if item.type == "easy"]


def test_degradation_grows_with_the_number_of_chunks_and_changes_with_the_attempt() -> None:
    def share(size: int) -> float:
        answers = [degraded(chunks, n, pack_degradation=0.01) for chunks in packs(size) for n in range(1, 11)]
        return sum(len(answer.degraded_ids) for answer in answers) / (size * len(answers))

    assert share(1) == 0
    assert 0 < share(4) < share(16) < 0.3
    answers = [degraded(packs()[0], n, pack_degradation=0.01) for n in range(1, 11)]
    assert {bool(answer.degraded_ids) for answer in answers} == {True, False}
    assert degraded(packs()[0], 5, pack_degradation=0.01).text == answers[4].text


def test_degraded_chunks_are_omitted_incomplete_or_mixed_up() -> None:
    items_per_chunk: Counter[int] = Counter()
    moved = 0
    for chunks in packs():
        for number in range(1, 11):
            answer = degraded(chunks, number, pack_degradation=0.01)
            complete = {f"C{n}": 3 for n in range(1, 9) if f"C{n}" not in answer.degraded_ids}
            assert complete.items() <= counts(answer).items()
            items_per_chunk.update(counts(answer)[name] for name in answer.degraded_ids)
            moved += sum(item.chunk_id != item.section.id for item in answer.items)
    assert min(items_per_chunk[n] for n in (0, 2, 4)) > 0
    assert items_per_chunk[0] > moved > 0


def test_the_defect_rate_grows_with_the_number_of_chunks() -> None:
    def defects(size: int) -> int:
        replies = [
            reply_to(chunks, defects=0.1, pack_degradation=0.05, seed=seed)
            for chunks in packs(size)
            for seed in range(3)
        ]
        pairs = [truth["defect"] not in (None, "wrong_chunk") for reply in replies for truth in reply.ground_truth]
        return round(100 * sum(pairs) / len(pairs))

    assert defects(1) < 13 < 18 < defects(12)  # 10 % and 10 % x (1 + 2 x 0.05 x 11)


@pytest.mark.parametrize("fault", ["fewer", "more", "reordered", "foreign_ids"])
def test_pack_faults(fault: str) -> None:
    for chunks in packs():
        good, answer = (degraded(chunks, pack_degradation=0, pack_faults=f) for f in ({}, {fault: 1.0}))
        ids = {f"C{n}" for n in range(1, 9)}
        missing = ids - set(counts(answer))
        match fault:
            case "fewer":
                assert missing == answer.degraded_ids and missing and set(counts(answer)) < ids
            case "more":
                assert len(answer.items) == len(good.items) + 2 and "C9" in counts(answer)
                assert not answer.degraded_ids
            case "reordered":
                assert answer.items != good.items and set(answer.items) == set(good.items)
            case "foreign_ids":
                assert missing == answer.degraded_ids and len(answer.items) == len(good.items)
                assert set(counts(answer)) - ids
    assert degraded(packs(1)[0], pack_faults={fault: 1.0}).items == degraded(packs(1)[0]).items


def test_a_poisoned_chunk_spoils_every_pack_but_is_answered_alone() -> None:
    alone = [reply_to([chunk], poison=0.05) for chunk in sample()]
    assert {reply.outcome for reply in alone} == {"answered"}
    replies = [reply_to(chunks, number=number, poison=0.05) for chunks in packs() for number in (1, 2)]
    assert {reply.outcome for reply in replies} == {"answered", "poisoned"}
    assert [reply.outcome for reply in replies[::2]] == [reply.outcome for reply in replies[1::2]]
    spoiled = next(reply for reply in replies if reply.outcome == "poisoned")
    assert spoiled.completion.finish_reason == "STOP"
    with pytest.raises(json.JSONDecodeError):
        json.loads(spoiled.completion.text or "")


def test_a_blocked_chunk_blocks_its_pack_but_is_the_only_one_that_counts_as_blocked() -> None:
    faults = {"blocked": 0.02}
    blocked = {chunk.text for chunk in sample() if reply_to([chunk], faults=faults).outcome == "blocked"}
    assert blocked
    for chunks in packs():
        reply = reply_to(chunks, faults=faults)
        here = [chunk.text in blocked for chunk in chunks]
        assert reply.outcome == ("blocked" if any(here) else "answered")
        if any(here):
            assert reply.chunk_outcomes == tuple("blocked" if each else "blocked_by_other" for each in here)


def test_recitation_depends_on_the_prompt_and_the_attempt() -> None:
    def rate(heading: str = "", quotes: bool = False, temperature: float | None = None) -> float:
        config = SimulatorConfig(faults={"recitation": 0.6})
        found = 0
        for chunk in sample():
            request = packed_request([chunk], heading, quotes=quotes)
            options = GenerationOptions(temperature=temperature)
            request = ParsedRequest(request.prompt, request.schema, options)
            replies = [make_reply(config, request, Attempt(0, request.sha256, n)) for n in range(1, 6)]
            found += sum(reply.outcome == "recitation" for reply in replies)
        return found / (5 * len(sample()))

    assert rate(quotes=True) == pytest.approx(0.6, abs=0.06)
    assert rate(quotes=True, temperature=1.0) == pytest.approx(0.3, abs=0.06)
    assert rate() == pytest.approx(0.18, abs=0.05)
    assert rate(PARAPHRASE) == pytest.approx(0.03, abs=0.02)


def test_one_recited_chunk_ends_the_whole_answer() -> None:
    replies = [reply_to(packs()[0], number=n, faults={"recitation": 0.2}) for n in range(1, 21)]
    assert {reply.outcome for reply in replies} == {"answered", "recitation"}
    recited = next(reply for reply in replies if reply.outcome == "recitation")
    assert (recited.completion.text, recited.completion.finish_reason) == (None, "RECITATION")


def test_openai_answers_have_the_items_under_a_name() -> None:
    schema: JsonObject = {"type": "object", "properties": {"pairs": packed_schema(2)}}
    request = ParsedRequest(packed_prompt(sample()[:2]), schema)
    pairs = json.loads(write_answer(request, 0, 0).text)["pairs"]
    assert [pair["chunk"] for pair in pairs] == ["C1"] * 3 + ["C2"] * 3
    assert all(isinstance(pair["evidence"], list) for pair in pairs)
