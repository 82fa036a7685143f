"""A run folder as the stages leave it, made from the sample chunks and questions: quick, and the same every time."""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Sequence
from pathlib import Path

from tests.report.sample_evaluation import MODELS, SAMPLES, chunks, write_evaluation

from insurance_rag.core.adapter_folder import seed_folder
from insurance_rag.core.artifacts import manifest_path
from insurance_rag.core.files import write_json, write_jsonl
from insurance_rag.core.records import (
    LossRow,
    ProgressState,
    Shard,
    TrainingManifest,
)
from insurance_rag.core.records.dataset import RejectSample, RowCounts, RuleInfo, ValidationReport
from insurance_rag.core.records.generation import PartManifest, QuarantinedChunk
from insurance_rag.core.records.split import SplitSummary
from insurance_rag.core.records.style import StyleSummary
from insurance_rag.core.run_folder import RunFolder

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
        split=SplitSummary(
            unit="section",
            sections=["한빛 암보험 > 암진단 특별약관", "한빛 암보험 > 제3관 계약의 성립"],
            held_out_chunks=14,
            training_chunks=88,
            leaking_chunks=["hanbit_cancer/s1/a3"],
        ),
        samples={
            reason: [RejectSample(chunk_id=chunk.chunk_id, **rejected) for chunk in rng.sample(sample, 3)]
            for reason in DROPS
        },
    ).model_dump(mode="json")
    report["balance"] = {"type": {name: {"rows": 114, "share": 0.25, "top_up": 0} for name in TYPES}}
    report["style"] = sample_style().model_dump(mode="json")
    report["drift"] = {
        "rows": {"before": 600, "now": 630},
        "shares": {"kept": {"before": 0.81, "now": 0.723}, "drops.too_short": {"before": 0.05, "now": 0.06}},
        "notable": ["kept"],
    }
    write_json(run.dataset / "report.json", report)


def sample_style() -> StyleSummary:
    figures = {"rows": 114, "copied_share": 0.47, "yes_answers": 11, "no_answers": 9, "evidence_characters": 61.5}
    return StyleSummary.model_validate(
        figures
        | {
            "rows": 456,
            "by_type": {name: figures for name in TYPES},
            "calculations": 20,
            "calculations_with_steps": 18,
            "openings": 301,
            "top_opening_share": 0.04,
            "registers": {"편한 구어체": 228, "정중한 문의": 228},
        }
    )


def _breakdown(labels: Sequence[str]) -> dict[str, RowCounts]:
    drops = {name: round(n / len(labels)) for name, n in DROPS.items()}
    rows = ROWS // len(labels)
    return {label: RowCounts(rows=rows, kept=rows - sum(drops.values()), drops=drops) for label in labels}


def write_training(run: RunFolder, versions: Sequence[str], steps: int = 200) -> None:
    """Write the adapter folders of versions such as `v2`, or of seeds such as `v2-s42`."""
    for number, (version, _, seed) in enumerate(name.partition("-s") for name in versions):
        rng = random.Random(number)
        out = run.adapter(version, "base_model")
        out = seed_folder(out, int(seed)) if seed else out
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
        write_json(out / "training.json", training_manifest(version, steps, int(seed or 42)).model_dump(mode="json"))


def training_manifest(version: str, steps: int, seed: int = 42) -> TrainingManifest:
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
            "recipe": version,
            "seed": seed,
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
            "epochs": 2.1,
            "device": "cpu",
            "plan": plan,
            "settings": {},
            "fingerprint": "0" * 16,
            "recipe_fingerprint": "1" * 16,
            **figures,
        }
    )


def edit_json(path: Path, **changes: object) -> None:
    """Replace some fields of a JSON object in a file."""
    write_json(path, {**json.loads(path.read_text()), **changes})
