"""A run folder as the stages leave it, made from the sample chunks and questions: quick, and the same every time."""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import insurance_rag
from insurance_rag.core.artifacts import manifest_path
from insurance_rag.core.files import read_jsonl, write_json, write_jsonl
from insurance_rag.core.records import (
    Artifact,
    Chunk,
    ContextSource,
    EvaluationSummary,
    Finding,
    LossRow,
    PairedDifference,
    ProgressState,
    Question,
    Rate,
    RetrievalSummary,
    ScoredAnswer,
    Shard,
    TrainingManifest,
)
from insurance_rag.core.records.dataset import RejectSample, RowCounts, RuleInfo, ValidationReport
from insurance_rag.core.records.evaluation import BeforeAfter, SweepHalves, SweepSummary
from insurance_rag.core.records.generation import PartManifest, QuarantinedChunk
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.evaluation.summary import summarize
from insurance_rag.promotion.decide import decide

SAMPLES = Path(insurance_rag.__file__).with_name("samples")
#: Model -> probability that one of its answers is faulty.
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
ROWS = 630


def write_run(folder: Path, models: tuple[str, ...] = tuple(MODELS), questions: int = 300) -> RunFolder:
    """Write a run in which every stage has finished."""
    run = RunFolder(folder).create()
    run.chunks.write_bytes((SAMPLES / "chunked_data.jsonl").read_bytes())
    write_generation(run)
    write_dataset(run)
    write_training(run, [name for name in models if name != "Base"])
    write_evaluation(run, models, questions)
    return run


def chunks() -> list[Chunk]:
    return [Chunk.model_validate(row) for row in read_jsonl(SAMPLES / "chunked_data.jsonl")]


def shards() -> list[Shard]:
    ids = [chunk.chunk_id for chunk in chunks()]
    size = math.ceil(len(ids) / SHARDS)
    return [
        Shard(
            shard=i + 1,
            of=SHARDS,
            key_id=f"gemini_k{i + 1}",
            pool=f"project-{i // 2}",
            share=0.5,
            chunk_ids=ids[i * size : (i + 1) * size],
        )
        for i in range(SHARDS)
    ]


def write_generation(run: RunFolder, failed: int | None = 5, running: int | None = None) -> None:
    """Write seven shards; the key of `failed` was rejected, `running` has answered some of its chunks."""
    planned = shards()
    write_json(run.plan, {"plan_id": "f00d", "shards": [shard.model_dump() for shard in planned]})
    rng = random.Random(1)
    for shard in planned:
        n, requests_429 = len(shard.chunk_ids), rng.randrange(4)
        progress = stage_progress("generate", shard.label, done=n, total=n, unit="chunks", requests_429=requests_429)
        if shard.shard == failed:
            error = "KeyRejectedError: API key not valid; replace it in its connection, then clear this task"
            figures = {"requests_429": 0, "retries": 4, "cost_usd": 0.0145, "repair_calls": 3, "error": error}
            progress = progress.model_copy(update={"state": "failed", "done": 11, "figures": figures})
        elif shard.shard == running:
            progress = progress.model_copy(update={"state": "running", "done": 17, "eta_s": 14})
        else:
            write_part(run, shard, requests_429)
        write_json(run.progress / f"generate-{shard.shard}.json", progress.model_dump())


def stage_progress(
    stage: str, label: str, *, done: int = 0, total: int = 40, unit: str = "steps", **figures: float | str
) -> ProgressState:
    return ProgressState(
        stage=stage,
        label=label,
        state="done",
        done=done,
        total=total,
        unit=unit,
        rate_per_min=57.3,
        eta_s=0,
        updated=time.time(),
        figures=dict(figures),
    )


def write_part(run: RunFolder, shard: Shard, requests_429: int) -> None:
    n = len(shard.chunk_ids)
    blocked = [QuarantinedChunk(chunk_id="x", reason="blocked", detail="SAFETY")] * (shard.shard % 2)
    path = run.part(shard.shard)
    manifest = PartManifest(
        uri=str(path),
        sha256="0" * 64,
        rows=n * 3,
        repaired=4,
        shard=shard.shard,
        label=shard.label,
        key_id=shard.key_id,
        chunks=n,
        plan_id="f00d",
        pending_repairs=0,
        quarantined=len(blocked),
        quarantined_chunks=blocked,
        parents=[],
        calls=n + 6,
        answers=n + 4,
        tokens_in=n * 912,
        tokens_out=n * 420,
        retries=2,
        requests_429=requests_429,
        cost_usd=round(n * 0.00132, 6),
        repair_calls=4,
        repair_cost_usd=0.002,
    )
    write_json(manifest_path(path), manifest.model_dump(mode="json"))


def write_dataset(run: RunFolder) -> None:
    rng = random.Random(2)
    dropped = sum(DROPS.values())
    sample = chunks()
    rules = {
        name: RuleInfo(title=f"Rule {name}", title_ko=f"규칙 {name}", description=f"Drops {name}.", repairable=False)
        for name in (*DROPS, "leak")
    }
    rejected = {"type": "fact", "instruction": "보험금은 언제 지급되나요?", "output": "제1조에 따라", "span": "제99조"}
    report = ValidationReport(
        rows=ROWS,
        kept=ROWS - dropped,
        drops={**DROPS, "leak": 0},
        rules=rules,
        by_shard=_breakdown([f"shard {i + 1}/{SHARDS} · gemini_k{i + 1}" for i in range(SHARDS)]),
        by_type=_breakdown(TYPES),
        training=416,
        held_out=40,
        repairable=120,
        samples={
            reason: [RejectSample(chunk_id=chunk.chunk_id, **rejected) for chunk in rng.sample(sample, 3)]
            for reason in DROPS
        },
    ).model_dump(mode="json")
    report["balance"] = {"type": {name: {"rows": 114, "share": 0.25, "top_up": 0} for name in TYPES}}
    report["drift"] = {
        "rows": {"before": 600, "now": 630},
        "shares": {"kept": {"before": 0.81, "now": 0.723}, "drops.too_short": {"before": 0.05, "now": 0.06}},
        "notable": ["kept"],
    }
    write_json(run.dataset / "report.json", report)


def _breakdown(labels: Sequence[str]) -> dict[str, RowCounts]:
    drops = {name: round(n / len(labels)) for name, n in DROPS.items()}
    rows = ROWS // len(labels)
    return {label: RowCounts(rows=rows, kept=rows - sum(drops.values()), drops=drops) for label in labels}


def write_training(run: RunFolder, versions: Sequence[str], steps: int = 200) -> None:
    for number, version in enumerate(versions):
        rng = random.Random(number)
        out = run.adapter(version, "base_model")
        history = [
            LossRow(
                step=s,
                loss=round(1.1 + 2.4 * math.exp(-s / (45 + 10 * number)) + rng.uniform(-0.08, 0.08), 4),
                learning_rate=2e-4,
                eval_loss=round(1.3 + 2.3 * math.exp(-s / 50) + number * 0.05, 4) if s % 50 == 0 else None,
            )
            for s in range(10, steps + 1, 10)
        ]
        write_jsonl(out / "loss_history.jsonl", (row.model_dump(exclude_none=True) for row in history))
        write_json(out / "training.json", training_manifest(version, steps).model_dump(mode="json"))


def training_manifest(version: str, steps: int) -> TrainingManifest:
    plan = {
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 1,
        "gradient_checkpointing": False,
        "double_quantization": False,
        "optim": "adamw_torch",
        "compute_dtype": "fp32",
        "adapter_dtype": "fp32",
        "use_liger_kernel": False,
        "estimate_gib": 1.1,
        "preset": "24GB",
    }
    figures = {"steps": steps, "loss": 1.13, "eval_loss": 1.34, "tokens_per_s": 5123, "seconds": 64.2, "peak_gib": 1.2}
    return TrainingManifest.model_validate(
        {
            "version": version,
            "prompt_format": {"v1": "plain", "v2": "rag"}.get(version, "merged"),
            "base_model": "/data/base_model",
            "base_revision": None,
            "quantization": "nf4",
            "dataset": {"uri": "/data/train.json", "sha256": "0" * 64, "rows": 456},
            "heldout_rows": 40,
            "contexts_truncated": 0,
            "rows_skipped": [],
            "estimate_gib": 1.1,
            "micro_batch_pieces": 1,
            "device": "cpu",
            "plan": plan,
            "settings": {},
            "fingerprint": "0" * 16,
            **figures,
        }
    )


def write_evaluation(run: RunFolder, models: tuple[str, ...], n: int) -> None:
    asked = [Question.model_validate(row) for row in read_jsonl(SAMPLES / "questions.jsonl")[:n]]
    texts = {chunk.chunk_id: chunk.text for chunk in chunks()}
    adapter = Artifact(uri="/data/adapter", sha256="0" * 64)
    sources: tuple[ContextSource, ...] = ("retrieved", "gold")
    for source in sources:
        rows = [
            _answer(question, texts, name, source, random.Random(f"{question.question_id}{name}{source}"))
            for question in asked
            for name in models
        ]
        suffix = "" if source == "retrieved" else "_gold"
        write_jsonl(run.evaluation / f"answers{suffix}.jsonl", (row.model_dump(mode="json") for row in rows))
        summary = EvaluationSummary(
            context=source,
            **dict(summarize(rows, models, bootstrap_samples=200)),
            base_model="/data/base_model",
            decoding={"temperature": 0.0, "max_new_tokens": 256},
            config={"warn_below": 200},
            retrieval=RetrievalSummary.model_validate(
                {"n": n, "scores": {"recall@5": {"value": 0.94, "interval": [0.9, 0.96]}}, "query_ms": {"p50": 1.0}}
            ),
            contaminated={},
            adapters={name: adapter for name in models if name != "Base"},
            wall_seconds=81.2,
        )
        write_json(run.evaluation / f"summary{suffix}.json", summary.model_dump(mode="json"))
    decide(run.evaluation)
    write_sweep(run, models, {name: dict(model.rates) for name, model in summary.models.items()})


def write_sweep(run: RunFolder, models: tuple[str, ...], rates: Mapping[str, dict[str, Rate]]) -> None:
    arms = ("before", "after", "default", "penalty 1.05 on generated, stop on")
    difference = PairedDifference(
        n=148, only_a=9, only_b=1, difference=-0.054, low=-0.1, high=-0.01, p=0.031, questions_needed=200
    )
    sweep = SweepSummary(
        questions=SweepHalves(tuning=152, report=148),
        notes=[],
        base_model="/data/base_model",
        tuning={},
        best=dict.fromkeys(models, arms[3]),
        report={arm: {model: rates[model] for model in models} for arm in arms},
        before_after={
            model: BeforeAfter(
                before=rates[model]["hallucination"],
                after=rates[model]["hallucination"],
                default=rates[model]["hallucination"],
                after_against_before=difference,
            )
            for model in models
        },
    )
    write_json(run.evaluation / "sweep.json", sweep.model_dump(mode="json"))


class _Text(NamedTuple):
    """An answer as generated, after post-processing, and what is wrong with it."""

    raw: str
    answer: str
    cut: str | None = None
    findings: tuple[Finding, ...] = ()


FAULTS = (
    ("article", "제99조"),
    ("quantity", "7,700만원"),
    ("foreign_tail", "Este es el seguro que necesita."),
    ("loop", "보험금을 지급합니다. 보험금을 지급합니다. 보험금을 지급합니다."),
)


def _text(question: Question, model: str, rng: random.Random) -> _Text:
    answer = question.reference_answer or "약관에 해당 내용이 없습니다."
    if rng.random() < MODELS[model]:
        check, span = rng.choice(FAULTS)
        answer = f"{answer} 그리고 {span}에 따라 처리합니다."
        finding = Finding(check=check, span=span, evidence="제9조" if check == "article" else None)
        return _Text(answer, answer, None, (finding,))
    if rng.random() < 0.2:
        return _Text(f"{answer} 이번에 새로 나온 상품을 소개합니다.", answer, "이번에 새로 나온")
    return _Text(answer, answer)


def _answer(
    question: Question, texts: Mapping[str, str], model: str, source: ContextSource, rng: random.Random
) -> ScoredAnswer:
    gold = question.gold_chunk_ids
    retriever = random.Random(question.question_id)  # every model is given the same chunks
    found = retriever.random() < 0.94
    others = retriever.sample(sorted(texts), 5)
    given = gold if source == "gold" and gold else ([*gold, *others] if found else others)[:5]
    text = _text(question, model, rng)
    findings = list(text.findings)
    fields: dict[str, Any] = {
        name: None for name, field in ScoredAnswer.model_fields.items() if field.is_required()
    }  # metrics of the evaluation that this page does not show
    fields |= {
        "question_id": question.question_id,
        "model": model,
        "question": question.question,
        "type": question.type,
        "answerable": question.answerable,
        "chunk_ids": given,
        "context": "\n\n".join(texts[i] for i in given),
        "raw_answer": text.raw,
        "answer": text.answer,
        "stop_cut": text.cut,
        "new_tokens": 40,
        "seconds": round(rng.uniform(0.4, 2.5), 2),
        "key": f"{question.question_id}{model}{source}",
        "context_source": source,
        "product": " ".join(question.filters.values()),
        "reference_answer": question.reference_answer,
        "gold_chunk_ids": gold,
        "gold_in_context": bool(set(gold) & set(given)) if gold else None,
        "hallucinated": bool(findings),
        "findings": findings,
        "refusal": "none" if question.answerable else "full",
        "raw_hallucinated": text.raw != text.answer or bool(findings),
        "raw_findings": findings,
        "number_accuracy": rng.random() < 0.8 if question.required_numbers else None,
    }
    return ScoredAnswer.model_validate(fields)


def edit_json(path: Path, **changes: object) -> None:
    """Replace some fields of a JSON object in a file."""
    write_json(path, {**json.loads(path.read_text()), **changes})
