"""Make run folders of any size for `bench.scale`. The same size always gives the same files."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

from insurance_rag.chunks import read_chunks
from insurance_rag.config import GenerationConfig
from insurance_rag.core.files import write_json, write_jsonl
from insurance_rag.core.journal_lines import encode_record
from insurance_rag.core.records import ApiKey, Chunk
from insurance_rag.core.records.data import ChunkMetadata
from insurance_rag.core.run_folder import RunFolder

KEYS = 100
ARTICLES = 40
"""Number of chunks per product."""
REPAIRABLE = 7
"""One answer in so many has a faulty pair."""
AT = "2026-11-26T00:00:00Z"


def keys() -> list[ApiKey]:
    """Return the keys, each with a project and a quota of its own."""
    return [
        ApiKey.model_validate({"id": f"k{n}", "key": f"bench-{n}", "project": f"p{n}", "rpm": 60})
        for n in range(1, KEYS + 1)
    ]


def chunks(n: int) -> Iterator[Chunk]:
    """Yield `n` chunks of about 300 characters, ARTICLES per product."""
    words = sorted({word for chunk in read_chunks("sample") for word in re.findall(r"[가-힣]{2,}", chunk.text)})
    rng = random.Random(n)
    for i in range(n):
        product, article = f"상품{i // ARTICLES}호", i % ARTICLES + 1
        sentences = "\n".join(
            f"{mark} {' '.join(rng.choices(words, k=12))} {rng.randint(1, 9000):,}만원을 지급합니다." for mark in "①②③"
        )
        yield Chunk(
            chunk_id=f"{product}/보통약관/제{article}조",
            text=f"제{article}조({rng.choice(words)})\n{sentences}",
            metadata=ChunkMetadata(
                source=f"{product}.pdf",
                company=f"회사{i // 4000}",
                breadcrumbs=f"{product} > 보통약관 > 제{article}조",
                token_count=200,
                policy_type=f"종류{i // ARTICLES % 20}",
            ),
        )


def make_run(folder: Path, n: int) -> None:
    """Write `chunks.jsonl`, and a planned and answered run with `n` chunks, without its parts."""
    from insurance_rag.planning import make_plan, write_plan
    from insurance_rag.planning.prompt_spec import PromptSpec
    from insurance_rag.planning.work_items import work_items_by_shard

    config, every = GenerationConfig(), list(chunks(n))
    write_jsonl(folder / "chunks.jsonl", (chunk.model_dump(mode="json") for chunk in every))
    run = RunFolder(folder / "run")
    plan = write_plan(make_plan(every, keys(), config), run, every)
    run.journal.mkdir(parents=True)
    spec = PromptSpec.from_config(config)
    for number, items in work_items_by_shard(run, spec, plan.shards).items():
        with (run.journal / f"shard_{number}.jsonl").open("wb") as f:
            for k, item in enumerate(items):
                key_id = plan.shard(number).key_id
                f.write(encode_record(answer_record(item.cache_key, item.chunk_id, key_id, k % REPAIRABLE == 0)))


def answer_record(cache_key: str, chunk_id: str, key_id: str, has_fault: bool) -> dict[str, object]:
    """Return the journal record of an answer with three pairs; with a repair if one of them has a fault."""
    sentence = f"회사는 {chunk_id}에서 정한 바에 따라 보험금을 청구서 접수일부터 3영업일 이내에 지급합니다."
    pairs = [
        {
            "type": kind,
            "question": f"{chunk_id}에 따른 보험금은 언제까지 받을 수 있나요? ({kind})",
            "answer": sentence * 2,
            "evidence": sentence,
            "style": {"persona": "고객", "register": "정중", "difficulty": "보통", "form": ""},
        }
        for kind in ("fact", "scenario", "easy")
    ]
    meta = {"key_id": key_id, "at": AT}
    answer = {"teacher": "gemini", "model": "m", "model_version": "m", "prompt_version": "v", "chunks_per_call": 8}
    tokens = {"tokens_in": 400, "tokens_out": 300}
    record: dict[str, object] = {
        "cache_key": cache_key,
        "state": "answered",
        "chunk_id": chunk_id,
        "pairs": pairs,
        "usage": tokens,
        "meta": answer | meta,
    }
    if has_fault:
        repair = {"pairs": pairs[:1], "usage": tokens, "meta": {"repair_version": "r"} | meta, "accepted": 1}
        faults = [{"type": "fact", "reason": "too_short", "span": "네", "pair": 0}]
        record |= {"faults": faults, "repair": repair}
    return record


def make_dataset_rows(folder: Path, n: int) -> None:
    """Write part files with `n` rows and their chunks (see `bench.dataset`)."""
    from bench.dataset import make_rows

    (folder / "parts").mkdir(parents=True)
    make_rows(n, folder / "parts")


def make_dataset(folder: Path, n: int) -> None:
    """Write a dataset folder with `n` kept rows, and a training file. The report is that of a small dataset."""
    from insurance_rag.config import ValidationConfig
    from insurance_rag.core.dataset_folder import DatasetFolder
    from insurance_rag.validation.validate import validate_parts

    make_dataset_rows(folder / "small", 1000)
    dataset, config = DatasetFolder(folder / "dataset"), ValidationConfig(retriever_check=False)
    validate_parts([folder / "small" / "parts"], None, dataset.root, config)
    with (
        dataset.training("merged").open("w", encoding="utf-8") as merged,
        (dataset.root / "train.jsonl").open("w") as f,
    ):
        for k, chunk in enumerate(chunks(n)):
            question, answer = f"{chunk.chunk_id}에서 정한 보험금은 언제 받나요?", chunk.text.split("\n")[1]
            row: dict[str, object] = {"chunk_id": chunk.chunk_id, "type": "fact", "instruction": question}
            row |= {"input": chunk.text, "output": answer, "evidence": answer, "answerable": True}
            row["meta"] = {"model": "m", "shard": 1}
            merged.write(("[\n" if not k else ",\n") + json.dumps(row, ensure_ascii=False))
            training = {"chunk_id": chunk.chunk_id, "type": "fact", "context": chunk.text, "evidence": answer}
            training |= {"prompt": f"{chunk.text}\n{question}\n", "completion": answer}
            f.write(json.dumps(training) + "\n")
        merged.write("\n]\n")


def make_answers(folder: Path, n: int) -> None:
    """Write a run folder with an evaluation of `n` questions and two models, and with 1,000 chunks."""
    corpus = list(chunks(1000))
    run = RunFolder(folder / "evaluated")
    write_jsonl(run.chunks, (chunk.model_dump(mode="json") for chunk in corpus))
    rows = (_scored_answer(f"q{k:07d}", model, corpus[k % 1000].chunk_id) for k in range(n) for model in ("Base", "v1"))
    write_jsonl(run.evaluation / "answers.jsonl", rows)
    write_json(run.config, {})


def _scored_answer(question_id: str, model: str, chunk_id: str) -> dict[str, object]:
    correctness = {"correct": True, "problems": [], "cannot_judge": None, "agreement": 0.8}
    answer = "보험금은 청구서를 접수한 날부터 3영업일 이내에 지급합니다. " * 3
    return {
        "question_id": question_id,
        "question": f"{question_id}: {chunk_id}에 따른 보험금은 언제까지 받을 수 있나요?",
        "type": "fact",
        "answerable": True,
        "model": model,
        "answer": answer,
        "raw_answer": answer,
        "context": chunk_id,
        "chunk_ids": [chunk_id],
        "key": f"{question_id}-{model}",
        "context_source": "retrieved",
        "prompt_format": "rag",
        "product": chunk_id.split("/")[0],
        "cluster": chunk_id,
        "document": chunk_id.split("/")[0],
        "reference_answer": answer,
        "gold_chunk_ids": [chunk_id],
        "gold_in_context": True,
        "hallucinated": False,
        "findings": [],
        "refusal": "none",
        "raw_hallucinated": False,
        "raw_findings": [],
        "number_accuracy": None,
        "correctness": correctness,
        "raw_correctness": correctness,
    }
