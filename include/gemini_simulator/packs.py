"""Degrades answers to packed requests, which ask about several chunks at once: items get lost or mixed up."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from random import Random

from gemini_simulator.answers import AnswerItem, WrittenAnswer, write_items
from gemini_simulator.chunk_sections import ChunkSection, WantedPair
from gemini_simulator.config import PackFaultName, SimulatorConfig
from gemini_simulator.seeded_random import Attempt

#: The defect rate in a pack of n chunks is multiplied by 1 + this factor x `pack_degradation` x (n - 1).
DEFECT_GROWTH = 2.0
#: Fraction of the degraded chunks whose items are all omitted. Of the others, half have an item with the id of another
#: chunk, and half lack an item.
OMITTED_SHARE = 0.5


def defect_rate(config: SimulatorConfig, chunks: int) -> float:
    """Return the approximate fraction of pairs that get a defect in an answer about this number of chunks."""
    return min(1.0, config.defects * (1 + DEFECT_GROWTH * config.pack_degradation * (chunks - 1)))


def degrade(answer: WrittenAnswer, config: SimulatorConfig, attempt: Attempt) -> WrittenAnswer:
    """Return the answer with the degradation and the faults of packs. An answer about one chunk is not changed."""
    others = len(answer.request.sections) - 1
    if not others:
        return answer
    rng = attempt.rng("pack degradation")
    for section in answer.request.sections:
        if rng.random() < config.pack_degradation * others:
            answer = _degrade_chunk(answer, section, rng)
    faults: dict[PackFaultName, float] = {"fewer": 0, "more": 0, "foreign_ids": 0, "reordered": 0, **config.pack_faults}
    for name, rate in faults.items():
        if attempt.uniform("pack fault", name) < rate:
            answer = _inject_fault(answer, name, config.seed, attempt.rng("pack fault", name))
    return answer


def _degrade_chunk(answer: WrittenAnswer, section: ChunkSection, rng: Random) -> WrittenAnswer:
    draw = rng.random()
    own = [n for n, item in enumerate(answer.items) if item.section is section]
    if draw < OMITTED_SHARE or not own:
        return _drop(answer, [section])
    n = rng.choice(own)
    if draw < OMITTED_SHARE + (1 - OMITTED_SHARE) / 2:
        other = rng.choice([each.id for each in answer.request.sections if each is not section])
        moved = replace(answer.items[n], chunk_id=other)
        return _with_items(answer, (*answer.items[:n], moved, *answer.items[n + 1 :]), {section.id, other})
    return _with_items(answer, answer.items[:n] + answer.items[n + 1 :], {section.id})


def _inject_fault(answer: WrittenAnswer, name: PackFaultName, seed: int, rng: Random) -> WrittenAnswer:
    sections = answer.request.sections
    match name:
        case "fewer":
            return _drop(answer, _some(sections, rng))
        case "more":
            return _with_items(answer, (*answer.items, *_unasked_items(answer, seed, rng)))
        case "reordered":
            return _with_items(answer, tuple(rng.sample(answer.items, len(answer.items))))
        case "foreign_ids":
            new_ids = {each.id: f"C{len(sections) + n}" for n, each in enumerate(_some(sections, rng), 2)}
            items = (replace(item, chunk_id=new_ids.get(item.chunk_id, item.chunk_id)) for item in answer.items)
            return _with_items(answer, tuple(items), set(new_ids))


def _unasked_items(answer: WrittenAnswer, seed: int, rng: Random) -> list[AnswerItem]:
    """Return an extra pair about one of the chunks, and another one with an id that is not in the request."""
    section = rng.choice(answer.request.sections)
    asked = {pair.type for pair in section.wanted}
    unasked = [name for name in ("unanswerable", "easy", "scenario", "fact") if name not in asked]
    extra = WantedPair((unasked or ["fact"])[0], max(pair.slot for pair in section.wanted) + 1)
    (item,) = write_items(section, [extra], seed)
    return [item, replace(item, chunk_id=f"C{len(answer.request.sections) + 1}")]


def _some(sections: tuple[ChunkSection, ...], rng: Random) -> list[ChunkSection]:
    """Return up to a third of the sections, at least one."""
    return rng.sample(sections, rng.randint(1, max(1, len(sections) // 3)))


def _drop(answer: WrittenAnswer, dropped: list[ChunkSection]) -> WrittenAnswer:
    ids = {section.id for section in dropped}
    return _with_items(answer, tuple(item for item in answer.items if item.section.id not in ids), ids)


def _with_items(answer: WrittenAnswer, items: tuple[AnswerItem, ...], degraded: Collection[str] = ()) -> WrittenAnswer:
    return replace(answer, items=items, degraded_ids=answer.degraded_ids.union(degraded))
