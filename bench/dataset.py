"""Measure how long validation takes and how much memory it needs for 10,000 to 1,000,000 rows.

    python -m bench.dataset                       all three sizes; about twenty minutes on two cores
    python -m bench.dataset --rows 10000 100000   other numbers of rows
    python -m bench.dataset --what retriever      measure the retriever check instead; about twenty minutes

Each measurement runs in a separate process. The rows are made from words in the sample chunks, ten rows per chunk.
About one row in six has a defect or is a near duplicate. The time to make the rows is not included. The reported memory
is the peak of the process and its children together. Memory pages that they share count only once.
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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from insurance_rag.config import ValidationConfig
    from insurance_rag.core.records import Chunk

ROWS_PER_CHUNK = 10
SHARDS = 7
LIMITS_S = {"reference": 60, "rules": 240, "retriever": 1200}
"""Kind of work -> maximum time in seconds for a million rows on two cores."""
MEMORY_GIB = 2.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--what", nargs="+", default=["reference", "rules", "whole"], choices=[*LIMITS_S, "whole"])
    parser.add_argument("--measure", nargs=3, metavar=("WHAT", "ROWS", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        what, _, folder = args.measure
        print(json.dumps(measure(what, Path(folder))))
        return 0
    print(f"{'rows':>9}  {'what':9} {'seconds':>8} {'CPU s':>8} {'us/row':>9} {'GiB':>5}")
    within_limits = True
    for rows in args.rows:
        with tempfile.TemporaryDirectory() as folder:
            make_rows(rows, Path(folder))
            for what in args.what:
                within_limits &= _show(what, rows, _measure_in_process(what, rows, folder))
    return 0 if within_limits else 1


def _measure_in_process(what: str, rows: int, folder: str) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.dataset", "--measure", what, str(rows), folder]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def _show(what: str, rows: int, figures: dict[str, float]) -> bool:
    """Print one table row and return whether time and memory are within their limits."""
    exceeded = []
    if what in LIMITS_S and figures["seconds"] > LIMITS_S[what] * rows / 1e6 + 5:
        exceeded.append(f"over {LIMITS_S[what]} s")
    if figures["gib"] > MEMORY_GIB:
        exceeded.append(f"over {MEMORY_GIB} GiB")
    per_row = 1e6 * figures["seconds"] / rows
    print(
        f"{rows:9,}  {what:9} {figures['seconds']:8.1f} {figures['cpu_s']:8.1f} {per_row:9.1f} {figures['gib']:5.2f}"
        f"  {', '.join(exceeded)}",
        flush=True,
    )
    return not exceeded


# ---- the measured work, which runs in a separate process


def measure(what: str, folder: Path) -> dict[str, float]:
    """Measure one kind of work on the rows in `folder`.

    reference: apply the five rules of the reference design.
    rules: apply all row rules and the near-duplicate rule.
    retriever: apply the same rules as `rules`, and the retriever check.
    whole: run the complete validation, including the training files but not the retriever check.
    """
    from insurance_rag.chunks import read_chunks
    from insurance_rag.config import REFERENCE_RULES, ValidationConfig
    from insurance_rag.validation.validate import validate_parts

    chunks = read_chunks(folder / "chunks.jsonl")
    out = folder / f"out-{what}"
    config = ValidationConfig(retriever_check=what == "retriever")
    if what == "reference":
        config = config.model_copy(update={"rules": REFERENCE_RULES})
    if what == "whole":
        return timed(lambda: validate_parts([folder], chunks, out, config))
    return timed(lambda: apply_rules(folder, chunks, out, config))


def apply_rules(folder: Path, chunks: Sequence[Chunk], out: Path, config: ValidationConfig) -> None:
    """Apply the rules without building or writing the training files."""
    from insurance_rag.validation.parts import find_parts
    from insurance_rag.validation.retrievability import rank_rows, rank_summary
    from insurance_rag.validation.row_checks import CheckSetup
    from insurance_rag.validation.table import RowTable
    from insurance_rag.validation.validate import fill_table

    texts = {chunk.chunk_id: chunk.text for chunk in chunks}
    table = RowTable(out, texts)
    fill_table(table, find_parts([folder]), CheckSetup(config, texts), {c.chunk_id: c for c in chunks})
    print({name: int((table.dropped_by == n).sum()) for n, name in enumerate(config.rules)}, file=sys.stderr)
    if config.retriever_check:
        print(rank_summary(rank_rows(table, table.passed(), chunks, config).ranks), file=sys.stderr)
    table.close()


def timed(work: Callable[[], object]) -> dict[str, float]:
    """Run `work`. Return its wall time in seconds, the peak memory in GiB, and this process's CPU time in seconds."""
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
    """Return the CPU time of this process and its ended children in seconds.

    Unlike wall time, CPU time hardly depends on other processes on the machine.
    """
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def memory_gib() -> float:
    """Return the memory of this process and its children. Shared pages count once (proportional set size)."""
    import psutil

    own = psutil.Process()
    total = 0
    for process in [own, *own.children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return float(total / 2**30)


# ---- generated rows


@dataclass(frozen=True)
class ComposedChunk:
    """A generated chunk with five statements."""

    chunk_id: str
    text: str
    article: int
    product: str
    statements: Sequence[tuple[str, str]]
    """Pairs of topic words and a statement. Every statement begins with its topic words."""


def make_rows(rows: int, folder: Path) -> None:
    """Write `rows` rows to part files in `folder` and their chunks to chunks.jsonl.

    The same number of rows always gives the same files.
    """
    from insurance_rag.chunks import read_chunks

    sample = read_chunks("sample")
    words = sorted({w for chunk in sample for w in re.findall(r"[가-힣]{2,}", chunk.text)})
    rng = random.Random(rows)
    parts = [(folder / f"dataset_part_{n + 1}.json").open("w", encoding="utf-8") for n in range(SHARDS)]
    with (folder / "chunks.jsonl").open("w", encoding="utf-8") as chunks:
        for n in range(rows // ROWS_PER_CHUNK):
            chunk = _compose_chunk(n, words, rng)
            chunks.write(json.dumps(_chunk_row(n, chunk), ensure_ascii=False) + "\n")
            part = parts[n * SHARDS * ROWS_PER_CHUNK // rows % SHARDS]
            for pair in _compose_pairs(chunk, rng):
                part.write((",\n" if part.tell() else "[\n") + json.dumps(pair, ensure_ascii=False))
    for part in parts:
        part.write("\n]\n" if part.tell() else "[]")
        part.close()


def _compose_chunk(n: int, words: list[str], rng: random.Random) -> ComposedChunk:
    article, product = n % 40 + 1, f"상품{n // 40}호"
    statements = []
    for _ in range(5):
        about = " ".join(rng.choices(words, k=6))
        statements.append((about, f"{about} {rng.randint(1, 9000):,}만원을 {rng.randint(2, 365)}일 이내에 지급합니다."))
    text = f"제{article}조({' '.join(rng.choices(words, k=2))})\n" + "\n".join(s for _, s in statements)
    return ComposedChunk(f"c{n:07d}", text, article, product, statements)


def _chunk_row(n: int, chunk: ComposedChunk) -> dict[str, object]:
    metadata = {
        "source": f"{chunk.product}.pdf",
        "company": f"회사{n // 400}",
        "breadcrumbs": f"{chunk.product} > 제{chunk.article}조",
        "token_count": 0,
        "policy_type": f"종류{n // 40 % 20}",
    }
    return {"chunk_id": chunk.chunk_id, "text": chunk.text, "metadata": metadata}


QUESTION_ENDINGS = ("얼마를 언제까지 받나요?", "어떤 기준으로 지급되는지 알려 주세요.")


def _compose_pairs(chunk: ComposedChunk, rng: random.Random) -> Iterator[dict[str, object]]:
    for k in range(ROWS_PER_CHUNK):
        about, statement = chunk.statements[k % 5]
        question = f"{chunk.product}에서 {about}에 대해 {QUESTION_ENDINGS[k // 5]}"
        answer = (
            f"제{chunk.article}조에 따르면 {statement}"
            if k < 5
            else f"{statement} 제{chunk.article}조에서 정한 내용이며 {about}에 적용됩니다."
        )
        defect = rng.randrange(120)
        if defect < 8:
            answer = answer[: len(answer) // 2]
        elif defect < 12:
            answer = "네, 됩니다."[:5]
        elif defect < 15:
            answer = "해당 내용은 약관에 명시되어 있지 않습니다."
        elif defect < 18:
            answer = answer.replace("일 이내", "7일 이내")
        elif defect < 20 and k:
            about, statement = chunk.statements[(k - 1) % 5]
            question = f"{chunk.product}에서 {about}에 대하여 {QUESTION_ENDINGS[(k - 1) // 5]}"
            answer = f"제{chunk.article}조에 따르면 {statement}"
        yield {
            "chunk_id": chunk.chunk_id,
            "type": ("fact", "scenario", "easy")[k % 3],
            "instruction": question,
            "input": chunk.text,
            "output": answer,
            "evidence": statement,
            "answerable": True,
            "meta": {"model": "bench", "key": f"{chunk.chunk_id}-{k}"},
        }


if __name__ == "__main__":
    sys.exit(main())
