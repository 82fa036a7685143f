"""The rules against pairs whose faults are known: those the simulator seeds, and hand-made hard cases."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.validation.helpers import SETTINGS, write_part

from gemini_simulator import running_simulator
from insurance_rag.chunks import read_chunks
from insurance_rag.config import GenerationConfig
from insurance_rag.core.files import read_jsonl
from insurance_rag.generation.prompt import answer_schema, render
from insurance_rag.planning.prompt_spec import PromptSpec
from insurance_rag.validation.validate import validate_parts

#: The reasons under which a seeded fault counts as rightly caught. A spoilt row may repeat an instruction as well, and
#: that rule comes first in the spec's order.
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


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Every pair a real simulator wrote over HTTP about the sample clauses: its `defect` and `reason` (None: kept)."""
    folder = tmp_path_factory.mktemp("simulated")
    content = PromptSpec.from_config(GenerationConfig(pairs_per_type=2))
    chunks = list({chunk.text: chunk for chunk in read_chunks("sample")}.values())  # the truth is listed by text
    with running_simulator(latency_s=0.0, speed=1000, defects=0.4, seed=7) as simulator, httpx.Client() as client:
        rows = [row for chunk in chunks for row in _ask(client, simulator.url, content, chunk)]
        truth = {(t["type"], t["question"], t["answer"], t["chunk_sha256"]): t["defect"] for t in simulator.ground_truth()}
    for n, row in enumerate(rows):
        row["meta"] = {"n": n}
    part = write_part(folder / "dataset_part_1.json", rows)
    validate_parts([part], chunks, folder / "out", SETTINGS)
    dropped = {r["meta"]["n"]: r["reason"] for r in read_jsonl(folder / "out/rejects.jsonl")}
    # A duplicate's record replaces that of the good pair whose question it repeats.
    return [row | {"defect": truth.get(_key(row)), "reason": dropped.get(n)} for n, row in enumerate(rows)]


def _ask(client: httpx.Client, url: str, content: PromptSpec, chunk: Any) -> list[dict[str, Any]]:
    body = {
        "contents": [{"role": "user", "parts": [{"text": render(content, chunk)}]}],
        "generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": answer_schema(content)},
    }
    answer = client.post(
        f"{url}/v1beta/models/gemini-2.5-flash:generateContent", json=body, headers={"x-goog-api-key": "k"}, timeout=30
    )
    pairs = json.loads(answer.json()["candidates"][0]["content"]["parts"][0]["text"])
    names = {"instruction": "question", "output": "answer", "evidence": "evidence", "type": "type"}
    given = [{ours: pair[theirs] for ours, theirs in names.items() if theirs in pair} for pair in pairs]
    return [{"chunk_id": chunk.chunk_id, "input": chunk.text, **pair} for pair in given]


def _key(row: dict[str, Any]) -> tuple[str, ...]:
    clause = hashlib.sha256(row["input"].strip().encode()).hexdigest()
    return row["type"], row.get("instruction", ""), row.get("output", ""), clause


def test_seeded_defects_are_caught_under_their_reason_and_good_pairs_kept(judged: list[dict[str, Any]]) -> None:
    table = Counter((row["defect"], row["reason"]) for row in judged)
    kept_questions = Counter(row.get("instruction") for row in judged if row["reason"] is None)
    caught, seeded = Counter[str](), Counter[str]()
    for row in judged:
        if row["defect"]:
            seeded[row["defect"]] += 1
            right = RIGHT_REASONS[row["defect"]] | {"duplicate"}
            caught[row["defect"]] += row["reason"] in right or _twin_dropped(row, judged)
    good = [row for row in judged if row["defect"] is None]
    lost = [row for row in good if row["reason"] not in (None, "duplicate") and not _is_twin(row, judged)]
    print(f"\n{len(judged)} pairs, {sum(seeded.values())} seeded")
    for defect, n in sorted(seeded.items()):
        print(f"  {defect:26} {caught[defect]:4} of {n:4}  {100 * caught[defect] / n:5.1f} %")
    print(f"  {'good pairs kept':26} {len(good) - len(lost):4} of {len(good):4}")
    assert max(kept_questions.values()) == 1
    assert sum(caught.values()) >= 0.95 * sum(seeded.values()), table
    assert min(caught[d] / seeded[d] for d in ("near_duplicate", "invented_number")) >= 0.90, table
    assert len(lost) <= 0.01 * len(good), lost


def _same_pair(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a is not b and a["chunk_id"] == b["chunk_id"] and a.get("output") == b.get("output")


def _twin_dropped(row: dict[str, Any], judged: list[dict[str, Any]]) -> bool:
    """Of a near duplicate and its model either may go; which one is decided by content."""
    return row["defect"] in ("near_duplicate", "duplicate_question") and any(
        other["reason"] in ("near_duplicate", "duplicate") and (_same_pair(row, other) or _same_question(row, other))
        for other in judged
    )


def _is_twin(row: dict[str, Any], judged: list[dict[str, Any]]) -> bool:
    """A good pair that a seeded copy stands for."""
    return row["reason"] == "near_duplicate" and any(
        other["defect"] == "near_duplicate" and _same_pair(row, other) for other in judged
    )


def _same_question(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a is not b and a["chunk_id"] == b["chunk_id"] and a.get("instruction") == b.get("instruction")


HARD_CASES = Path(__file__).parents[1] / "data/hard_cases.jsonl"


def test_hand_made_hard_cases(tmp_path: Path) -> None:
    """Fifty good rows that look bad, fifty bad ones that look good, each judged without regard to the others."""
    cases = read_jsonl(HARD_CASES)
    clauses = {case["clause"]: f"c{n}" for n, case in enumerate(cases)}
    wrong = []
    counts = Counter[tuple[bool, bool]]()
    rules = tuple(name for name in SETTINGS.rules if name not in ("duplicate", "near_duplicate"))
    rows = [_as_row(case, clauses[case["clause"]], n) for n, case in enumerate(cases)]
    part = write_part(tmp_path / "p.json", rows)
    validate_parts([part], None, tmp_path / "out", SETTINGS.model_copy(update={"rules": rules}))
    dropped = {r["meta"]["n"]: r["reason"] for r in read_jsonl(tmp_path / "out/rejects.jsonl")}
    for n, case in enumerate(cases):
        reason = dropped.get(n)
        right = reason == case.get("reason")
        counts[case.get("reason") is None, right] += 1
        if not right:
            wrong.append(f"{case.get('reason')} -> {reason}: {case['answer'][:70]}")
    print(f"\nhard cases: good {counts[True, True]} kept, {counts[True, False]} dropped;", end=" ")
    print(f"bad {counts[False, True]} caught under their reason, {counts[False, False]} not")
    print("\n".join(wrong))
    assert counts[True, True] >= 48, wrong
    assert counts[False, True] >= 42, wrong


def _as_row(case: dict[str, Any], chunk_id: str, n: int) -> dict[str, Any]:
    row = {"chunk_id": chunk_id, "type": case.get("type", "fact"), "input": case["clause"], "meta": {"n": n}}
    return row | {"instruction": case["question"], "output": case["answer"], "evidence": case.get("evidence", "")}
