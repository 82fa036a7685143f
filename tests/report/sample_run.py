"""A run folder as the stages leave it, made from the sample clauses and questions: quick, and the same every time."""

from __future__ import annotations

import json
import math
import random
import time
from pathlib import Path
from typing import Any

import insurance_rag
from insurance_rag.core.artifacts import manifest_path
from insurance_rag.core.files import write_json, write_jsonl
from insurance_rag.core.records import Finding
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.evaluation.scoring import ScoredAnswer
from insurance_rag.evaluation.summary import summarize
from insurance_rag.promotion.decide import decide

SAMPLES = Path(insurance_rag.__file__).with_name("samples")
MODELS = {"Base": 0.34, "v1": 0.27, "v2": 0.12, "v3": 0.10}
DROPS = {
    "required_fields": 2,
    "duplicate": 9,
    "too_short": 31,
    "cut_off": 78,
    "evasive": 15,
    "unsupported_number": 22,
    "near_duplicate": 17,
}
TYPES = ("fact", "scenario", "easy", "unanswerable")
SHARDS = 7


def write_run(folder: Path, models: tuple[str, ...] = tuple(MODELS), questions: int = 300) -> RunFolder:
    """Every stage done."""
    run = RunFolder(folder).create()
    run.chunks.write_bytes((SAMPLES / "chunked_data.jsonl").read_bytes())
    write_generation(run)
    write_dataset(run)
    write_training(run, [name for name in models if name != "Base"])
    write_evaluation(run, models, questions)
    return run


def chunks() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (SAMPLES / "chunked_data.jsonl").read_text().splitlines()]


def write_generation(run: RunFolder, failed: int | None = 5, running: int | None = None) -> None:
    """Seven shards; `failed` died of its key, `running` is half done."""
    ids = [c["chunk_id"] for c in chunks()]
    size = math.ceil(len(ids) / SHARDS)
    shards = [
        {
            "shard": i + 1,
            "of": SHARDS,
            "key_id": f"gemini_k{i + 1}",
            "pool": f"project-{i // 2}",
            "share": 0.5,
            "chunk_ids": ids[i * size : (i + 1) * size],
        }
        for i in range(SHARDS)
    ]
    write_json(run.plan, {"plan_id": "f00d", "chunks": len(ids), "shards": shards})
    rng = random.Random(1)
    for shard in shards:
        number, n = shard["shard"], len(shard["chunk_ids"])
        label = f"shard {number}/{SHARDS} · {shard['key_id']}"
        job = {
            "stage": "generate",
            "label": label,
            "state": "done",
            "done": n,
            "total": n,
            "unit": "chunks",
            "rate_per_min": 57.3,
            "eta_s": 0,
            "updated": time.time(),
            "figures": {"requests_429": rng.randrange(4)},
        }
        if number == failed:
            job |= {"state": "failed", "done": 11, "figures": {"error": "KeyRejectedError: API key not valid"}}
        elif number == running:
            job |= {"state": "running", "done": 17, "eta_s": 14}
        else:
            write_json(
                manifest_path(run.parts / f"dataset_part_{number}.json"),
                {
                    "label": label,
                    "shard": number,
                    "rows": n * 3,
                    "calls": n + 2,
                    "tokens_in": n * 912,
                    "tokens_out": n * 420,
                    "retries": 2,
                    "requests_429": job["requests_429"],
                    "cost_usd": round(n * 0.00132, 6),
                    "quarantined": [{"chunk_id": "x", "reason": "blocked", "detail": "SAFETY"}] * (number % 2),
                },
            )
        write_json(run.progress / f"generate-{number}.json", job)


def write_dataset(run: RunFolder) -> None:
    rng = random.Random(2)
    sample = chunks()
    rows = 630
    dropped = sum(DROPS.values())

    def bands(labels: list[str]) -> dict[str, Any]:
        part = {label: {k: round(n / len(labels)) for k, n in DROPS.items()} for label in labels}
        return {
            label: {"rows": rows // len(labels), "kept": rows // len(labels) - sum(d.values()), "drops": d}
            for label, d in part.items()
        }

    row = {"type": "fact", "instruction": "보험금은 언제 지급되나요?", "output": "제1조에 따라", "span": "제99조"}
    samples = {reason: [{"chunk_id": c["chunk_id"], **row} for c in rng.sample(sample, 3)] for reason in DROPS}
    report = {
        "rows": rows,
        "kept": rows - dropped,
        "drops": {**DROPS, "leak": 0},
        "by_shard": bands([f"shard {i + 1}/{SHARDS} · gemini_k{i + 1}" for i in range(SHARDS)]),
        "by_type": bands(list(TYPES)),
        "samples": samples,
        "balance": {"type": {t: {"rows": 114, "share": 0.25, "top_up": 0} for t in TYPES}},
        "drift": {
            "rows": {"before": 600, "now": 630},
            "shares": {"kept": {"before": 0.81, "now": 0.723}, "drops.too_short": {"before": 0.05, "now": 0.05}},
            "notable": ["kept"],
        },
    }
    write_json(run.dataset / "report.json", report)


def write_training(run: RunFolder, versions: list[str], steps: int = 200) -> None:
    for number, version in enumerate(versions):
        rng = random.Random(number)
        out = run.adapter(version)
        write_jsonl(
            out / "loss_history.jsonl",
            (
                {
                    "step": s,
                    "loss": round(1.1 + 2.4 * math.exp(-s / (45 + 10 * number)) + rng.uniform(-0.08, 0.08), 4),
                    "learning_rate": 2e-4,
                    **({"eval_loss": round(1.3 + 2.3 * math.exp(-s / 50) + number * 0.05, 4)} if s % 50 == 0 else {}),
                }
                for s in range(10, steps + 1, 10)
            ),
        )
        write_json(
            out / "training.json",
            {
                "version": version,
                "base_model": "base_model",
                "steps": steps,
                "loss": 1.13,
                "eval_loss": 1.34,
                "tokens_per_s": 5123,
                "seconds": 64.2,
                "peak_gib": 1.2,
                "dataset": {"rows": 456},
                "heldout_rows": 40,
                "device": "cpu",
                "settings": {"lora_r": 16},
            },
        )


def write_evaluation(run: RunFolder, models: tuple[str, ...], n: int) -> None:
    asked = [json.loads(line) for line in (SAMPLES / "questions.jsonl").read_text().splitlines()][:n]
    clauses = {c["chunk_id"]: c for c in chunks()}
    facts = {
        "base_model": "base_model",
        "decoding": {"temperature": 0.0, "max_new_tokens": 256},
        "retrieval": {"recall@5": 0.94},
        "adapters": {name: {} for name in models if name != "Base"},
    }
    for source, suffix in (("retrieved", ""), ("gold", "_gold")):
        rows = [
            _answer(q, clauses, name, source, random.Random(f"{q['question_id']}{name}{source}"))
            for q in asked
            for name in models
        ]
        write_jsonl(run.evaluation / f"answers{suffix}.jsonl", (row.model_dump(mode="json") for row in rows))
        summary = {"context": source, **summarize(rows, models, draws=200), **facts}
        write_json(run.evaluation / f"summary{suffix}.json", summary)
    decide(run.evaluation)
    write_sweep(run, models, summary["models"])


def write_sweep(run: RunFolder, models: tuple[str, ...], figures: dict[str, Any]) -> None:
    arms = ("before", "after", "default", "penalty 1.05 on generated, stop on")
    sweep = {
        "questions": {"tuning": 152, "report": 148},
        "best": dict.fromkeys(models, arms[3]),
        "report": {arm: {model: figures[model]["rates"] for model in models} for arm in arms},
        "before_after": {model: {"after_against_before": {"p": 0.031}} for model in models},
    }
    write_json(run.evaluation / "sweep.json", sweep)


def _answer(q: dict[str, Any], clauses: dict[str, Any], model: str, source: str, rng: random.Random) -> ScoredAnswer:
    gold = q["gold_chunk_ids"]
    retriever = random.Random(q["question_id"])  # every model is shown the same clauses
    found = retriever.random() < 0.94
    others = retriever.sample(sorted(clauses), 5)
    shown = gold if source == "gold" and gold else ([*gold, *others] if found else others)[:5]
    answer, findings = q["reference_answer"] or "약관에 해당 내용이 없습니다.", []
    raw, cut = answer, None
    if rng.random() < MODELS[model]:
        check, span = rng.choice(
            [
                ("article", "제99조"),
                ("quantity", "7,700만원"),
                ("foreign_tail", "Este es el seguro que necesita."),
                ("loop", "보험금을 지급합니다. 보험금을 지급합니다. 보험금을 지급합니다."),
            ]
        )
        answer = raw = f"{answer} 그리고 {span}에 따라 처리합니다."
        findings = [Finding(check=check, span=span, evidence="제9조" if check == "article" else None)]
    elif rng.random() < 0.2:
        raw, cut = f"{answer} 이번에 새로 나온 상품을 소개합니다.", "이번에 새로 나온"
    return ScoredAnswer(
        question_id=q["question_id"],
        model=model,
        question=q["question"],
        type=q["type"],
        answerable=q["answerable"],
        chunk_ids=shown,
        context="\n\n".join(clauses[i]["text"] for i in shown),
        raw_answer=raw,
        answer=answer,
        stop_cut=cut,
        new_tokens=40,
        seconds=round(rng.uniform(0.4, 2.5), 2),
        key=f"{q['question_id']}{model}{source}",
        context_source=source,
        product=" ".join(q["filters"].values()),
        reference_answer=q["reference_answer"],
        gold_chunk_ids=gold,
        gold_in_context=bool(set(gold) & set(shown)) if gold else None,
        hallucinated=bool(findings),
        findings=findings,
        refusal="none" if q["answerable"] else "full",
        raw_hallucinated=raw != answer or bool(findings),
        raw_findings=findings,
        number_accuracy=rng.random() < 0.8 if q["required_numbers"] else None,
    )
