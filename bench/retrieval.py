"""Compare the pipeline's BM25 retriever with simple BM25, and time the pipeline's retriever on a large corpus.

    python -m bench.retrieval [--chunks 100000] [--out docs/results/retrieval.json]

Simple BM25 searches whitespace-separated words. The comparison uses the sample questions. The large corpus consists of
copies of the sample chunks. In each copy, the numbers in the text are replaced by random numbers. Exits with 1 if a
limit is not met.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from insurance_rag.chunks import read_chunks, read_questions
from insurance_rag.core.files import write_json
from insurance_rag.core.records import Chunk, Record, RetrievalSummary
from insurance_rag.retrieval import Retriever, build_retriever, measure_retrieval
from insurance_rag.retrieval.base import Scores, searchable_text

MIN_HIT_AT_5, MAX_INDEX_S, MAX_QUERY_MS = 0.90, 300.0, 10.0
DEFAULT = "kiwi + bigrams"
"""Name of the pipeline's retriever in the results of searches that are not filtered by product."""


class LargeCorpusFigures(Record):
    """Measurements on the large corpus."""

    chunks: int
    """Number of chunks."""
    characters: int
    """Mean number of characters per chunk."""
    distinct_lines: float
    """Number of distinct lines divided by the number of lines."""
    index_s: float
    """Seconds to build and store the index."""
    index_cpu_s: float
    load_s: float
    """Seconds to load the stored index."""
    query_cpu_ms_p50: float
    other_load: float
    """Load average of the machine after the measurements. If it is high, other processes lengthened the wall times."""
    query_ms_p50: float
    query_ms_p95: float
    query_ms_p50_filtered: float
    query_ms_p95_filtered: float


class RetrievalFigures(Record):
    """The content of retrieval.json."""

    sample: dict[str, RetrievalSummary]
    """Retriever -> scores on the sample questions."""
    large: LargeCorpusFigures


class WhitespaceRetriever(Retriever):
    """BM25 over whitespace-separated words: the usual default, used for comparison."""

    def __init__(self, chunks: list[Chunk]) -> None:
        import bm25s

        super().__init__(chunks)
        self.index = bm25s.BM25()
        self.index.index([searchable_text(chunk).split() for chunk in chunks], show_progress=False)

    def scores(self, query: str) -> Scores:
        """Return the BM25 score of each chunk, or -inf for chunks that share no word with the query."""
        ids = self.index.get_tokens_ids(query.split())
        scores = self.index.get_scores_from_ids(ids) if ids else np.zeros(len(self.chunks), dtype=np.float32)
        return np.where(scores > 0, scores, -np.inf)


def many_chunks(n: int) -> list[Chunk]:
    """Return `n` chunks: the sample chunks in a cycle, with the numbers in their texts replaced by random numbers."""
    sample, rng = read_chunks("sample"), random.Random(0)
    found = []
    for i in range(n):
        chunk = sample[i % len(sample)]
        text = re.sub(r"\d+", lambda m: str(rng.randint(1, 10 ** min(4, len(m.group())) * 9)), chunk.text)
        found.append(chunk.model_copy(update={"chunk_id": f"{chunk.chunk_id}_{i}", "text": text}))
    return found


def sample_figures() -> dict[str, RetrievalSummary]:
    """Return name of a retriever -> its scores on the sample questions."""
    chunks, questions = read_chunks("sample"), read_questions("sample")
    retrievers: dict[str, tuple[Retriever, bool]] = {
        f"{DEFAULT}, product filter": (build_retriever("bm25", chunks), True),
        DEFAULT: (build_retriever("bm25", chunks), False),
        "whitespace": (WhitespaceRetriever(list(chunks)), False),
    }
    return {
        name: measure_retrieval(retriever, questions, use_filters).summary
        for name, (retriever, use_filters) in retrievers.items()
    }


def large_figures(n: int) -> LargeCorpusFigures:
    """Time building, loading and searching an index of `n` chunks."""
    chunks = many_chunks(n)
    lines = [line for chunk in chunks for line in searchable_text(chunk).split("\n")]
    with tempfile.TemporaryDirectory() as cache:
        started, cpu = time.perf_counter(), time.process_time()
        retriever = build_retriever("bm25", chunks, Path(cache))
        index_s, index_cpu_s = time.perf_counter() - started, time.process_time() - cpu
        started = time.perf_counter()
        retriever = build_retriever("bm25", chunks, Path(cache))
        load_s = time.perf_counter() - started
    plain_ms, plain_cpu_ms = search_times(retriever, use_filters=False)
    filtered_ms, filtered_cpu_ms = search_times(retriever, use_filters=True)
    return LargeCorpusFigures(
        chunks=n,
        characters=sum(len(chunk.text) for chunk in chunks) // n,
        distinct_lines=round(len(set(lines)) / len(lines), 3),
        index_s=round(index_s, 1),
        index_cpu_s=round(index_cpu_s, 1),
        load_s=round(load_s, 1),
        query_cpu_ms_p50=round(float(np.median(plain_cpu_ms + filtered_cpu_ms)), 2),
        other_load=round(os.getloadavg()[0], 1),
        query_ms_p50=percentile(plain_ms, 50),
        query_ms_p95=percentile(plain_ms, 95),
        query_ms_p50_filtered=percentile(filtered_ms, 50),
        query_ms_p95_filtered=percentile(filtered_ms, 95),
    )


def search_times(retriever: Retriever, *, use_filters: bool) -> tuple[list[float], list[float]]:
    """Search for every sample question and return the wall times and the CPU times in milliseconds."""
    wall, cpu_times = [], []
    for question in read_questions("sample"):
        started, cpu = time.perf_counter(), time.process_time()
        retriever.search(question.question, 10, question.filters if use_filters else None)
        wall.append(1000 * (time.perf_counter() - started))
        cpu_times.append(1000 * (time.process_time() - cpu))
    return wall, cpu_times


def percentile(values: list[float], p: int) -> float:
    """Return percentile `p` of the values, rounded to two decimals."""
    return round(float(np.percentile(values, p)), 2)


def missed_limits(figures: RetrievalFigures) -> list[str]:
    """Return one line for each limit that is not met."""
    hit_at_5 = figures.sample[DEFAULT].scores["hit@5"].value or 0.0
    lines = [f"hit@5 {hit_at_5}"] if hit_at_5 < MIN_HIT_AT_5 else []
    lines += [f"index_s {figures.large.index_s}"] if figures.large.index_s > MAX_INDEX_S else []
    lines += [f"query_ms_p50 {figures.large.query_ms_p50}"] if figures.large.query_ms_p50 > MAX_QUERY_MS else []
    return lines


def main() -> int:
    """Print the figures. Return 1 if a limit is not met, otherwise 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=100_000, help="number of chunks in the large corpus")
    parser.add_argument("--out", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    figures = RetrievalFigures(sample=sample_figures(), large=large_figures(args.chunks))
    for name, summary in figures.sample.items():
        print(f"{name:32}", *(f"{s} {summary.scores[s].value or 0:.3f}" for s in ("hit@1", "hit@5", "mrr@10")))
    print(json.dumps(figures.large.model_dump(mode="json")))
    if args.out:
        write_json(args.out, figures.model_dump(mode="json"))
    missed = missed_limits(figures)
    print("\n".join(f"MISSED {line}" for line in missed))
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
