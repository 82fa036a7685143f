"""Evaluate the base model and its adapters on the same questions: retrieve, answer, check, compare."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from insurance_rag.config import DecodingConfig, EvaluationConfig
from insurance_rag.core.artifact_store.locations import public_text
from insurance_rag.core.artifacts import describe
from insurance_rag.core.files import write_json
from insurance_rag.core.records import Artifact, Chunk, EvaluationArtifact, Question
from insurance_rag.core.records.general_text import GeneralTasks, GeneralText
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.evaluation.annotations import Annotations
from insurance_rag.evaluation.answering import generate_answers
from insurance_rag.evaluation.backends import ModelBackend, open_backend
from insurance_rag.evaluation.contexts import prompt_budget
from insurance_rag.evaluation.general_tasks import run_general_tasks
from insurance_rag.evaluation.general_text import measure_general_text
from insurance_rag.evaluation.generated import EvaluationRun, read_generated, score_generated, write_generated
from insurance_rag.evaluation.inputs import check_inputs, contaminated_questions
from insurance_rag.evaluation.prompts import choose_formats
from insurance_rag.evaluation.recipes import group_recipes
from insurance_rag.evaluation.requests import BASE
from insurance_rag.evaluation.results import write_results
from insurance_rag.evaluation.samples import make_samples
from insurance_rag.evaluation.verifier.scores import open_verifier, score_answers, stored_verification
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
    labels: Annotations | None = None,
    cache: Path | None = None,
    progress: Path | None = None,
) -> EvaluationArtifact:
    """Answer every question with the base model and every adapter (name -> folder), and compare the answers.

    A repeated call reuses stored answers. It generates an answer only if the answer is missing, or if its prompt, model
    or decoding has changed. If no answer is missing, it loads no model.

    See `generate` and `rescore` for the parameters and the files that are written. Raises InvalidInputError with a list
    of all problems with the inputs.
    """
    generate(questions, chunks, base_model, adapters, decoding, out, config, cache=cache, progress=progress)
    return rescore(out, questions, chunks, labels=labels, progress=progress)


def generate(
    questions: Sequence[Question],
    chunks: Sequence[Chunk],
    base_model: str,
    adapters: Mapping[str, Path],
    decoding: DecodingConfig,
    out: Path,
    config: EvaluationConfig | None = None,
    *,
    cache: Path | None = None,
    progress: Path | None = None,
) -> None:
    """Answer every question with the base model and every adapter. Write retrieval.json and generated.json into `out`.

    The answers are not scored, so this step needs no morphological analyzer if the retriever needs none. Only a
    verifier scores them here, because it needs a model; its scores go to verifier.jsonl. `cache` is a folder that keeps
    the retrieval index between runs, and `progress` is the folder for the progress file.
    """
    config = config or EvaluationConfig()
    check_inputs(questions, chunks, adapters, config)
    formats = choose_formats(adapters, config.prompts)
    verifier = open_verifier(Path(config.verifier), base_model) if config.verifier else None
    RunFolder(out).create()
    retriever = build_retriever(config.retrieval.kind, chunks, cache, config.retrieval)
    retrieval = measure_retrieval(retriever, questions, config.retrieval.use_filters)
    contaminated = contaminated_questions(questions, chunks, adapters)
    started = time.monotonic()
    with open_backend(base_model, adapters, config) as backend:
        budget = prompt_budget(backend, decoding.max_new_tokens, formats.all)
        samples = list(make_samples(questions, chunks, retriever, config, budget, backend.count_tokens, formats.all))
        answered = generate_answers(samples, formats.by_model, backend, decoding, out, progress)
        general_text, general_tasks = _measure_forgetting(backend, config, out)
    run = EvaluationRun(
        base_model=public_text(base_model),
        models=[BASE, *adapters],
        adapters={name: describe(folder, Artifact) for name, folder in adapters.items()},
        decoding=decoding,
        config=config,
        prompt_formats={choice: dict(of) for choice, of in formats.by_choice.items()},
        assumed_formats=list(formats.assumed),
        retrieval=retrieval.summary,
        contaminated=contaminated,
        recipes=group_recipes(adapters),
        general_text=general_text,
        general_tasks=general_tasks,
        wall_seconds=round(time.monotonic() - started, 1),
        verifier=verifier,
    )
    if verifier:
        score_answers(samples, answered, verifier, base_model, config.precision, decoding, out, progress)
    write_json(out / "retrieval.json", retrieval.model_dump(mode="json"))
    write_generated(out, run, answered)


def _measure_forgetting(
    backend: ModelBackend, config: EvaluationConfig, out: Path
) -> tuple[GeneralText | None, GeneralTasks | None]:
    """Return the perplexities on general text and the scores of general tasks. None for what is not configured."""
    if not (config.general_text or config.general_tasks):
        return None, None
    from insurance_rag.evaluation.backends.local.backend import LocalBackend

    assert isinstance(backend, LocalBackend)  # otherwise check_inputs has raised
    return (
        measure_general_text(backend, Path(config.general_text), out) if config.general_text else None,
        run_general_tasks(backend, config.general_tasks, out) if config.general_tasks else None,
    )


def rescore(
    out: Path,
    questions: Sequence[Question],
    chunks: Sequence[Chunk],
    *,
    labels: Annotations | None = None,
    progress: Path | None = None,
) -> EvaluationArtifact:
    """Score the generated answers in the evaluation folder `out` again, with the current metrics and checks.

    For the first context source and the first choice of prompt formats, writes answers.jsonl and summary.json. For any
    other combination, writes answers_SOURCE.jsonl, answers_rag.jsonl or answers_SOURCE_rag.jsonl, and likewise for the
    summary. Also writes comparison_results.json, comparison_results_v2.json, labelling.csv and a manifest. No model is
    needed. `labels` are human annotations (see `read_annotations`).

    Raises InvalidInputError if the folder has no generated answers, or if the questions are not those that were
    answered.
    """
    generated = read_generated(out)
    verify = stored_verification(out, generated.run.verifier) if generated.run.verifier else None
    scored = list(score_generated(generated, questions, chunks, verify))
    return write_results(out, scored, generated.run, labels, progress)
