"""Validation at size: seconds and memory of the spec's rules, of all checks, of the whole command; linear in the rows?

    python bench/dataset.py                       10^4, 10^5, 10^6 rows; about twenty minutes on two cores
    python bench/dataset.py --rows 10000 100000   smaller
    python bench/dataset.py --what retriever      with the retriever check, twenty minutes more

The rows are made up from the words of the sample clauses: ten to a clause, one in six spoilt, one in fifty a near
duplicate. Making them is not timed. Memory is the largest sum over all processes (pages they share counted once).
"""

from __future__ import annotations

import argparse
import json
import random
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROWS_A_CLAUSE = 10
SHARDS = 7
LIMITS_S = {"spec": 60, "checks": 240, "retriever": 1200}
"""For a million rows on two cores."""
MEMORY_GIB = 2.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--what", nargs="+", default=["spec", "checks", "whole"], choices=[*LIMITS_S, "whole"])
    parser.add_argument("--measure", nargs=3, metavar=("WHAT", "ROWS", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        what, rows, folder = args.measure
        print(json.dumps(measure(what, int(rows), Path(folder))))
        return 0
    whats = args.what
    print(f"{'rows':>9}  {'what':9} {'seconds':>8} {'CPU s':>8} {'us a row':>9} {'GiB':>5}")
    kept = True
    for rows in args.rows:
        with tempfile.TemporaryDirectory() as folder:
            make_rows(rows, Path(folder))
            for what in whats:
                kept &= _show(what, rows, _in_a_process(what, rows, folder))
    return 0 if kept else 1


def _in_a_process(what: str, rows: int, folder: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", what, str(rows), folder]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def _show(what: str, rows: int, figures: dict[str, float]) -> bool:
    over = (
        [f"over {LIMITS_S[what]} s"]
        if what in LIMITS_S and figures["seconds"] > LIMITS_S[what] * rows / 1e6 + 5
        else []
    )
    over += [f"over {MEMORY_GIB} GiB"] if figures["gib"] > MEMORY_GIB else []
    per_row = 1e6 * figures["seconds"] / rows
    print(
        f"{rows:9,}  {what:9} {figures['seconds']:8.1f} {figures['cpu_s']:8.1f} {per_row:9.1f} {figures['gib']:5.2f}"
        f"  {', '.join(over)}",
        flush=True,
    )
    return not over


# ---- measured in a process of its own


def measure(what: str, rows: int, folder: Path) -> dict[str, float]:
    """spec: its five rules; checks: all row rules and near duplicates; retriever: these and its check; whole: the
    command without that check, which also makes and writes the training files."""
    from insurance_rag.chunks import read_chunks
    from insurance_rag.config import SPEC_RULES, ValidationConfig
    from insurance_rag.validation import validate_parts

    chunks = read_chunks(folder / "chunks.jsonl")
    out = folder / f"out-{what}"
    config = ValidationConfig(retriever_check=what == "retriever")
    if what == "spec":
        config = config.model_copy(update={"rules": SPEC_RULES})
    if what == "whole":
        return timed(lambda: validate_parts([folder], chunks, out, config))
    return timed(lambda: judge(folder, chunks, out, config))


def judge(folder: Path, chunks: Any, out: Path, config: Any) -> None:
    from insurance_rag.validation.check import KEPT, Job, Table
    from insurance_rag.validation.retrievability import rank_report, rank_rows
    from insurance_rag.validation.rows import find_parts
    from insurance_rag.validation.validate import judge_rows

    texts = {chunk.chunk_id: chunk.text for chunk in chunks}
    table = Table(out, texts)
    judge_rows(
        table, find_parts([folder]), Job(config, texts, frozenset(), frozenset()), {c.chunk_id: c for c in chunks}
    )
    print({name: int((table.dropped_by == n).sum()) for n, name in enumerate(config.rules)}, file=sys.stderr)
    if config.retriever_check:
        passed = [i for i in range(len(table)) if table.dropped_by[i] == KEPT]
        print(rank_report(rank_rows(table, passed, chunks, config)), file=sys.stderr)
    table.close()


def timed(work: Callable[[], Any]) -> dict[str, float]:
    peak = 0.0
    stop = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not stop.wait(0.5):
            peak = max(peak, memory_gib())

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    stop.set()
    watcher.join()
    return {"seconds": seconds, "cpu_s": cpu_seconds(), "gib": max(peak, memory_gib())}


def cpu_seconds() -> float:
    """Of this process and its ended children: what the work costs, however busy the machine."""
    mine, theirs = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return mine.ru_utime + mine.ru_stime + theirs.ru_utime + theirs.ru_stime


def memory_gib() -> float:
    """Proportional set size of this process and its children: shared pages count once."""
    import psutil

    me = psutil.Process()
    total = 0
    for process in [me, *me.children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total / 2**30


# ---- made-up rows


def make_rows(rows: int, folder: Path) -> None:
    from insurance_rag.chunks import read_chunks

    sample = read_chunks("sample")
    words = sorted({w for chunk in sample for w in re.findall(r"[가-힣]{2,}", chunk.text)})
    chance = random.Random(rows)
    parts = [(folder / f"dataset_part_{n + 1}.json").open("w", encoding="utf-8") for n in range(SHARDS)]
    with (folder / "chunks.jsonl").open("w", encoding="utf-8") as chunks:
        for n in range(rows // ROWS_A_CLAUSE):
            clause, pairs = _clause(n, words, chance)
            chunks.write(json.dumps(clause, ensure_ascii=False) + "\n")
            part = parts[n * SHARDS * ROWS_A_CLAUSE // rows % SHARDS]
            for pair in pairs:
                part.write((",\n" if part.tell() else "[\n") + json.dumps(pair, ensure_ascii=False))
    for part in parts:
        part.write("\n]\n" if part.tell() else "[]")
        part.close()


def _clause(n: int, words: list[str], chance: random.Random) -> tuple[dict[str, Any], Iterator[dict[str, Any]]]:
    article, product = n % 40 + 1, f"상품{n // 40}호"
    statements = []
    for _ in range(5):
        about = " ".join(chance.choices(words, k=6))
        statements.append(
            (about, f"{about} {chance.randint(1, 9000):,}만원을 {chance.randint(2, 365)}일 이내에 지급합니다.")
        )
    text = f"제{article}조({' '.join(chance.choices(words, k=2))})\n" + "\n".join(s for _, s in statements)
    metadata = {"source": f"{product}.pdf", "company": f"회사{n // 400}", "breadcrumbs": f"{product} > 제{article}조",
                "token_count": 0, "policy_type": f"종류{n // 40 % 20}"}  # fmt: skip
    chunk_id = f"c{n:07d}"
    return {"chunk_id": chunk_id, "text": text, "metadata": metadata}, _pairs(
        chunk_id, text, article, product, statements, chance
    )


def _pairs(
    chunk_id: str, text: str, article: int, product: str, statements: list[tuple[str, str]], chance: random.Random
) -> Iterator[dict[str, Any]]:
    asked = ("얼마를 언제까지 받나요?", "어떤 기준으로 지급되는지 알려 주세요.")
    for k in range(ROWS_A_CLAUSE):
        about, summarize_usage = statements[k % 5]
        question = f"{product}에서 {about}에 대해 {asked[k // 5]}"
        answer = (
            f"제{article}조에 따르면 {summarize_usage}"
            if k < 5
            else f"{summarize_usage} 제{article}조에서 정한 내용이며 {about}에 적용됩니다."
        )
        fault = chance.randrange(120)
        if fault < 8:
            answer = answer[: len(answer) // 2]
        elif fault < 12:
            answer = "네, 됩니다."[:5]
        elif fault < 15:
            answer = "해당 내용은 약관에 명시되어 있지 않습니다."
        elif fault < 18:
            answer = answer.replace("일 이내", "7일 이내")
        elif fault < 20 and k:
            about, summarize_usage = statements[(k - 1) % 5]
            question, answer = (
                f"{product}에서 {about}에 대하여 {asked[(k - 1) // 5]}",
                f"제{article}조에 따르면 {summarize_usage}",
            )
        yield {
            "chunk_id": chunk_id, "type": ("fact", "scenario", "easy")[k % 3], "instruction": question, "input": text,
            "output": answer, "evidence": summarize_usage, "answerable": True,
            "meta": {"model": "bench", "key": f"{chunk_id}-{k}"},
        }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
