"""Generate the answers of bench/real_weights.py on a GPU, and score them afterwards on a CPU.

Answers are generated and scored on different machines: scoring needs a morphological analyzer, and generating needs a
GPU. Scoring also runs again after a metric has changed. It needs neither the models nor the GPU.
"""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from unittest.mock import patch

from pydantic import JsonValue

from insurance_rag.config import DecodingConfig, EvaluationConfig
from insurance_rag.config.evaluation import DECODING_PRESETS
from insurance_rag.core.adapter_folder import AdapterFolder
from insurance_rag.core.errors import IncompleteError
from insurance_rag.core.files import read_json, write_json
from insurance_rag.core.records import Chunk, EvaluationArtifact, Question, SweepArtifact
from insurance_rag.evaluation.backends import OnAnswer, open_backend
from insurance_rag.evaluation.requests import GenerationRequest
from insurance_rag.retrieval import Hit
from insurance_rag.retrieval.base import Filters, Part

GENERATED, JOURNAL = "generated.json", "answers.journal.jsonl"
IDENTITIES = "identities.json"
SUFFIXES = ("", "_gold", "_rag", "_gold_rag")
"""Suffixes of the result files: retrieved chunks and gold chunks in the own prompt formats, then both in `rag`."""


@dataclass(frozen=True)
class Input:
    """The input of the evaluation and of the sweep."""

    questions: Sequence[Question]
    chunks: Sequence[Chunk]
    base_model: str
    adapters: Mapping[str, Path]


class RecordedRetriever:
    """Returns recorded hits. `prepare` recorded them by searching for each question with the pipeline's retriever."""

    label = "recorded search"
    parts: tuple[Part, ...] = ()

    def __init__(self, hits: Mapping[str, list[Hit]]) -> None:
        self.hits = hits

    def search(self, query: str, k: int = 10, filters: Filters | None = None) -> list[Hit]:
        """Return the first `k` recorded hits. `filters` is ignored, because `prepare` already applied the filters."""
        return self.hits[query][:k]


@contextmanager
def recorded_hits(path: Path) -> Iterator[RecordedRetriever]:
    """Let the evaluation and the sweep use the hits in the file `path` instead of a retriever."""
    retriever = RecordedRetriever({query: [Hit(**hit) for hit in hits] for query, hits in read_json(path).items()})
    with (
        patch("insurance_rag.evaluation.runner.build_retriever", lambda *_: retriever),
        patch("insurance_rag.evaluation.sweep.build_retriever", lambda *_: retriever),
    ):
        yield retriever


def generate_answers(given: Input, out: Path, config: EvaluationConfig, tokens: int | None) -> dict[str, int]:
    """Answer all questions in the prompt formats of `config`. Return the number of different answers.

    Answers have up to `tokens` tokens; None means the default maximum.
    """
    from insurance_rag.evaluation.runner import generate

    decoding = DecodingConfig(max_new_tokens=tokens) if tokens else DecodingConfig()
    generate(given.questions, given.chunks, given.base_model, given.adapters, decoding, out, config)
    return {"answers": _lines(out / JOURNAL)}


def generate_sweep(
    given: Input, retriever: RecordedRetriever, out: Path, config: EvaluationConfig, tokens: int
) -> dict[str, int]:
    """Generate every answer that the decoding sweep may need. Return the number of answers in the journal.

    The best arms are known only after scoring, so all arms answer the report half, too. The answers that every sweep
    needs come first.
    """
    from insurance_rag.evaluation.answering import generate_answers
    from insurance_rag.evaluation.contexts import prompt_budget
    from insurance_rag.evaluation.prompts import choose_formats
    from insurance_rag.evaluation.samples import make_samples
    from insurance_rag.evaluation.sweep import is_tuning, make_arms

    arms, formats = make_arms({"max_new_tokens": tokens}), choose_formats(given.adapters, ["own"])
    config = config.model_copy(update={"contexts": config.contexts[:1], "prompt": "own"})
    out.mkdir(parents=True, exist_ok=True)
    with open_backend(given.base_model, given.adapters, config) as backend:
        write_json(out / IDENTITIES, dict(backend.identities))
        budget = prompt_budget(backend, tokens, formats.all)
        samples = list(
            make_samples(given.questions, given.chunks, retriever, config, budget, backend.count_tokens, formats.all)  # type: ignore[arg-type]  # RecordedRetriever has the only method that is called
        )
        halves = [[s for s in samples if is_tuning(s.question.question_id) is tuning] for tuning in (True, False)]
        others = [arm for arm in arms if arm not in DECODING_PRESETS]
        steps = [*((arm, halves[0]) for arm in arms), *((arm, halves[1]) for arm in (*DECODING_PRESETS, *others))]
        for arm, half in steps:
            generate_answers(half, formats.by_model, backend, arms[arm], out, None)
    return {"answers": _lines(out / JOURNAL)}


def pack_answers(work: Path, out: Path) -> None:
    """Compress the generated answers in `work` into the results folder `out`."""
    packed = (("evaluation", GENERATED, "generated.json.gz"), ("sweep", JOURNAL, "sweep.journal.jsonl.gz"))
    for folder, name, target in packed:
        if (work / folder / name).exists():
            _write_gzip(out / target, (work / folder / name).read_bytes())
    if (work / "sweep" / IDENTITIES).exists():
        shutil.copy(work / "sweep" / IDENTITIES, out / IDENTITIES)


def score_answers(results: Path, given: Input, scratch: Path) -> EvaluationArtifact:
    """Score the answers in `results`/generated.json.gz. Write summaries and compressed scored answers to `results`."""
    from insurance_rag.evaluation.runner import rescore

    scratch.mkdir(parents=True, exist_ok=True)
    (scratch / GENERATED).write_bytes(gzip.decompress((results / "generated.json.gz").read_bytes()))
    result = rescore(scratch, given.questions, given.chunks)
    for suffix in SUFFIXES:
        shutil.copy(scratch / f"summary{suffix}.json", results)
        _write_gzip(results / f"answers{suffix}.jsonl.gz", (scratch / f"answers{suffix}.jsonl").read_bytes())
    return result


def score_sweep(
    results: Path, given: Input, formats: Mapping[str, JsonValue], config: EvaluationConfig, tokens: int, scratch: Path
) -> SweepArtifact:
    """Run the decoding sweep on the answers in `results`/sweep.journal.jsonl.gz, and write sweep.json to `results`.

    `formats` maps adapters to their training manifests. Raises IncompleteError if an answer is missing.
    """
    from insurance_rag.evaluation.sweep import sweep

    scratch.mkdir(parents=True, exist_ok=True)
    (scratch / JOURNAL).write_bytes(gzip.decompress((results / "sweep.journal.jsonl.gz").read_bytes()))
    adapters = {name: _adapter_without_weights(scratch / name, manifest) for name, manifest in formats.items()}
    backend = StoredAnswers(read_json(results / IDENTITIES))
    with patch("insurance_rag.evaluation.sweep.open_backend", lambda *_: backend):
        settings: dict[str, JsonValue] = {"max_new_tokens": tokens}
        result = sweep(given.questions, given.chunks, given.base_model, adapters, scratch, config, settings=settings)
    shutil.copy(scratch / "sweep.json", results)
    return result


class StoredAnswers:
    """A backend without models, for an evaluation whose answers are all in the journal."""

    context_limit = 1_000_000
    """Larger than any prompt, as the limit of Gemma 3. A chunk that was truncated on the GPU would be missed here."""

    def __init__(self, identities: Mapping[str, str]) -> None:
        self.identities = identities

    def count_tokens(self, prompt: str, prompt_format: str) -> int:
        """Return the number of characters, because the tokenizer is not available."""
        return len(prompt)

    def answer(self, requests: Sequence[GenerationRequest], decoding: DecodingConfig, on_answer: OnAnswer, /) -> None:
        """Raise IncompleteError, because answers can only be missing if the run did not finish."""
        raise IncompleteError(
            f"{len(requests)} answers of the sweep are missing; run `run` again with a later deadline"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None, /
    ) -> None: ...


def _adapter_without_weights(folder: Path, manifest: JsonValue) -> Path:
    """Write an adapter folder from which the prompt format can be read."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(AdapterFolder(folder).manifest, manifest)
    for path in (AdapterFolder(folder).peft_config, AdapterFolder(folder).weights):
        path.touch()
    return folder


def _lines(path: Path) -> int:
    with path.open("rb") as f:
        return sum(1 for _ in f)


def _write_gzip(path: Path, content: bytes) -> None:
    path.write_bytes(gzip.compress(content, mtime=0))
