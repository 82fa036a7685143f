"""The rules on pairs with known defects: those that the simulator injects, and hand-made hard cases."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tests.validation.helpers import SETTINGS, GeneratedRow, reject_numbers, write_part

from gemini_simulator import running_simulator
from insurance_rag.chunks import read_chunks
from insurance_rag.config import GenerationConfig
from insurance_rag.core.files import read_jsonl
from insurance_rag.core.records import Chunk
from insurance_rag.generation.prompt import ChunkRequest, answer_schema, render
from insurance_rag.korean.numbered import quote
from insurance_rag.planning.prompt_spec import PromptSpec
from insurance_rag.planning.question_plan import plan_pairs
from insurance_rag.validation.validate import validate_parts

#: Defect -> the reasons under which it counts as found. A defective row may also repeat a question; that rule comes
#: first in the order of the reference design.
RIGHT_REASONS = {
    "cut_off": {"cut_off"},
    "too_short": {"too_short"},
    "evasive": {"evasive"},
    "refusal_where_answerable": {"evasive"},
    "missing_field": {"required_fields"},
    "duplicate_question": {"duplicate"},
    "near_duplicate": {"near_duplicate", "duplicate"},
    "invented_number": {"unsupported_number"},
    "wrong_article": {"unsupported_article"},
    "prompt_echo": {"prompt_echo"},
    "not_standalone": {"not_standalone"},
    "foreign_tail": {"foreign_tail"},
    "evidence_not_in_chunk": {"evidence"},
}


@dataclass(frozen=True)
class CheckedPair:
    """A pair of the simulator after validation."""

    row: GeneratedRow
    defect: str | None
    """What the simulator did to it; None for a good pair."""
    reason: str | None
    """Why validation dropped it; None if it was kept."""
    seed: int
    """Seed of its simulator. Pairs with different seeds were not validated together."""


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> list[CheckedPair]:
    """Every pair that two simulators generate over HTTP for the sample chunks, after validation.

    The pairs of one simulator are validated together. A simulator repeats itself if it is asked for two pairs of one
    type, so each is asked for one.
    """
    return [pair for seed in (7, 8) for pair in _checked(tmp_path_factory.mktemp("simulated"), seed)]


def _checked(folder: Path, seed: int) -> list[CheckedPair]:
    spec = PromptSpec.from_config(GenerationConfig())
    chunks = list({chunk.text: chunk for chunk in read_chunks("sample")}.values())  # the simulator lists by text
    with running_simulator(latency_s=0.0, speed=1000, defects=0.4, seed=seed) as simulator, httpx.Client() as client:
        rows = [row for chunk in chunks for row in _generate(client, simulator.url, spec, chunk)]
        truth = {
            (t["type"], t["question"], t["answer"], t["chunk_sha256"]): t["defect"] for t in simulator.ground_truth()
        }
    for n, row in enumerate(rows):
        row["meta"] = {"n": n}
    part = write_part(folder / "dataset_part_1.json", rows)
    validate_parts([part], chunks, folder / "out", SETTINGS)
    dropped = reject_numbers(folder / "out")
    # The record of a duplicate question replaces that of the good pair whose question it repeats.
    return [CheckedPair(row, truth.get(_key(row)), dropped.get(n), seed) for n, row in enumerate(rows)]


def _generate(client: httpx.Client, url: str, spec: PromptSpec, chunk: Chunk) -> list[GeneratedRow]:
    """Return the pairs for one chunk as rows. Unlike the teachers, keep the pairs without a question or an answer."""
    requests = [ChunkRequest(chunk, plan_pairs(spec, chunk))]
    generation_config = {"responseMimeType": "application/json", "responseSchema": answer_schema(requests)}
    body = {
        "contents": [{"role": "user", "parts": [{"text": render(spec, requests)}]}],
        "generationConfig": generation_config,
    }
    answer = client.post(
        f"{url}/v1beta/models/{spec.model}:generateContent", json=body, headers={"x-goog-api-key": "k"}, timeout=30
    )
    pairs = json.loads(answer.json()["candidates"][0]["content"]["parts"][0]["text"])
    names = {"instruction": "question", "output": "answer", "type": "type"}
    given = [{ours: pair[theirs] for ours, theirs in names.items() if theirs in pair} for pair in pairs]
    quotes = [{"evidence": quote(chunk.text, pair["evidence"])} for pair in pairs]
    return [
        {"chunk_id": chunk.chunk_id, "input": chunk.text, **pair, **evidence}
        for pair, evidence in zip(given, quotes, strict=True)
    ]


def _key(row: GeneratedRow) -> tuple[str, str, str, str]:
    chunk = hashlib.sha256(row["input"].strip().encode()).hexdigest()
    return row["type"], row.get("instruction", ""), row.get("output", ""), chunk


def test_injected_defects_are_found_under_their_reason_and_good_pairs_are_kept(checked: list[CheckedPair]) -> None:
    table = Counter((pair.defect, pair.reason) for pair in checked)
    kept_questions = Counter((pair.seed, pair.row.get("instruction")) for pair in checked if pair.reason is None)
    found, injected = Counter[str](), Counter[str]()
    for pair in checked:
        if pair.defect:
            injected[pair.defect] += 1
            right = RIGHT_REASONS[pair.defect] | {"duplicate"}
            found[pair.defect] += pair.reason in right or _counterpart_was_dropped(pair, checked)
    good = [pair for pair in checked if pair.defect is None]
    lost = [p for p in good if p.reason not in (None, "duplicate") and not _has_near_duplicate(p, checked)]
    print(f"\n{len(checked)} pairs, {sum(injected.values())} with a defect")
    for defect, n in sorted(injected.items()):
        print(f"  {defect:26} {found[defect]:4} of {n:4}  {100 * found[defect] / n:5.1f} %")
    print(f"  {'good pairs kept':26} {len(good) - len(lost):4} of {len(good):4}")
    assert max(kept_questions.values()) == 1
    assert sum(found.values()) >= 0.95 * sum(injected.values()), table
    assert min(found[d] / injected[d] for d in ("near_duplicate", "invented_number")) >= 0.90, table
    assert len(lost) <= 0.01 * len(good), lost


def _counterpart_was_dropped(pair: CheckedPair, checked: list[CheckedPair]) -> bool:
    """Return whether the other one of two duplicates was dropped: which one stays is decided by content."""
    return pair.defect in ("near_duplicate", "duplicate_question") and any(
        other.reason in ("near_duplicate", "duplicate")
        and (_same(pair, other, "output") or _same_question(pair, other))
        for other in checked
    )


def _has_near_duplicate(pair: CheckedPair, checked: list[CheckedPair]) -> bool:
    """Return whether a good pair was dropped because an injected near duplicate of it was kept."""
    return pair.reason == "near_duplicate" and any(
        other.defect == "near_duplicate" and _same(pair, other, "output") for other in checked
    )


def _same_question(a: CheckedPair, b: CheckedPair) -> bool:
    return _same(a, b, "instruction")


def _same(a: CheckedPair, b: CheckedPair, name: str) -> bool:
    together = a is not b and a.seed == b.seed
    return together and a.row["chunk_id"] == b.row["chunk_id"] and a.row.get(name) == b.row.get(name)


HARD_CASES = Path(__file__).parents[1] / "data/hard_cases.jsonl"


def test_hand_made_hard_cases(tmp_path: Path) -> None:
    """Good rows that look bad, and bad ones that look good. None is compared with the others."""
    cases: list[GeneratedRow] = read_jsonl(HARD_CASES)
    chunk_ids = {case["chunk"]: f"c{n}" for n, case in enumerate(cases)}
    wrong = []
    counts = Counter[tuple[bool, bool]]()
    rules = tuple(name for name in SETTINGS.rules if name not in ("duplicate", "near_duplicate"))
    rows = [_as_row(case, chunk_ids[case["chunk"]], n) for n, case in enumerate(cases)]
    part = write_part(tmp_path / "p.json", rows)
    validate_parts([part], None, tmp_path / "out", SETTINGS.model_copy(update={"rules": rules}))
    dropped = reject_numbers(tmp_path / "out")
    for n, case in enumerate(cases):
        reason = dropped.get(n)
        right = reason == case.get("reason")
        counts[case.get("reason") is None, right] += 1
        if not right:
            wrong.append(f"{case.get('reason')} -> {reason}: {case['answer'][:70]}")
    print(f"\nhard cases: good {counts[True, True]} kept, {counts[True, False]} dropped;", end=" ")
    print(f"bad {counts[False, True]} found under their reason, {counts[False, False]} not")
    print("\n".join(wrong))
    assert counts[True, True] >= 0.97 * (counts[True, True] + counts[True, False]), wrong
    assert counts[False, True] >= 0.9 * (counts[False, True] + counts[False, False]), wrong


def _as_row(case: GeneratedRow, chunk_id: str, n: int) -> GeneratedRow:
    meta = {"n": n, "prompt_version": case.get("prompt_version", "")}
    row = {"chunk_id": chunk_id, "type": case.get("type", "fact"), "input": case["chunk"], "meta": meta}
    return row | {"instruction": case["question"], "output": case["answer"], "evidence": case.get("evidence", "")}
