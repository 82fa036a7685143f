"""Evaluate the base model and its adapters on the same questions: retrieve, answer, check, compare."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from insurance_rag.config import DecodingConfig, EvaluationConfig
from insurance_rag.core.artifacts import describe
from insurance_rag.core.records import Artifact, Chunk, EvaluationArtifact, Question
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.evaluation.answering import answer_samples
from insurance_rag.evaluation.backends import open_backend
from insurance_rag.evaluation.contexts import prompt_budget
from insurance_rag.evaluation.inputs import check_inputs, contaminated_questions
from insurance_rag.evaluation.requests import BASE
from insurance_rag.evaluation.results import EvaluationRun, write_results
from insurance_rag.evaluation.samples import make_samples
from insurance_rag.retrieval import build_retriever, measure_retrieval


def evaluate(
    questions: Sequence[Question],
    chunks: Sequence[Chunk],
    base_model: str,
    adapters: Mapping[str, Path],
    decoding: DecodingConfig,
    out: Path,
    config: EvaluationConfig | None = None,
    *,
    labels: Mapping[str, bool] | None = None,
    cache: Path | None = None,
    progress: Path | None = None,
) -> EvaluationArtifact:
    """Answer every question with the base model and every adapter (name -> folder), and compare the answers.

    For the first context source, writes answers.jsonl and summary.json into `out`. For any other source, writes
    answers_SOURCE.jsonl and summary_SOURCE.json. Also writes retrieval.json, comparison_results.json,
    comparison_results_v2.json, labelling.csv and a manifest. A repeated call reuses stored answers. It generates an
    answer only if the answer is missing, or if its prompt, model or decoding has changed.

    `labels` are human annotations by answer key (see `annotations.read_annotations`). `cache` is a folder that keeps
    the retrieval index between runs, and `progress` is the folder for the progress file. Raises InvalidInputError with
    a list of all problems with the inputs.
    """
    config = config or EvaluationConfig()
    check_inputs(questions, chunks, adapters)
    RunFolder(out).create()
    retriever = build_retriever(config.retrieval.kind, chunks, cache, config.retrieval)
    retrieval = measure_retrieval(retriever, questions, config.retrieval.use_filters)
    contaminated = contaminated_questions(questions, chunks, adapters)
    models = [BASE, *adapters]
    started = time.monotonic()
    with open_backend(base_model, adapters, config) as backend:
        budget = prompt_budget(backend, decoding.max_new_tokens)
        samples = list(make_samples(questions, chunks, retriever, config, budget, backend.count_tokens))
        scored = answer_samples(samples, models, backend, decoding, config, out, progress)
    run = EvaluationRun(
        base_model=base_model,
        models=models,
        adapters={name: describe(folder, Artifact) for name, folder in adapters.items()},
        decoding=decoding,
        config=config,
        retrieval=retrieval,
        contaminated=contaminated,
        labels=labels,
        wall_seconds=round(time.monotonic() - started, 1),
    )
    return write_results(out, scored, run, progress)
