"""What can be known to fail before a run costs anything, all of it at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from insurance_rag.chunks import read_chunks, read_questions
from insurance_rag.config import RunConfig
from insurance_rag.errors import WrongInput


def problems_of(config: RunConfig) -> list[str]:
    checks: tuple[Callable[[RunConfig], object], ...] = (
        lambda c: read_chunks(c.chunks),
        lambda c: read_questions(c.questions),
        check_keys,
        check_recipes,
        check_base_model,
        check_gold,
        check_gpu_backend,
    )
    problems: list[str] = []
    for check in checks:
        try:
            check(config)
        except WrongInput as e:
            problems += [problem for problem in e.problems if problem not in problems]
    return problems


def check_keys(config: RunConfig) -> None:
    """Every named connection exists and holds a key; no key stands under two connections."""
    from airflow.sdk.exceptions import AirflowNotFoundException

    from insurance_rag.orchestration.gemini_hook import GeminiHook

    problems = []
    owner: dict[str, str] = {}
    if config.dataset or config.adapters:
        return
    if not config.keys:
        problems.append("keys: none given; add connections of type gemini (Admin > Connections) and name them here")
    for name in config.keys:
        try:
            key = GeminiHook(name).get_conn()[0].key.get_secret_value()
        except AirflowNotFoundException:
            problems.append(f"keys: connection {name!r} does not exist; add it as type gemini (Admin > Connections)")
        except WrongInput as e:
            problems += e.problems
        else:
            if owner.setdefault(key, name) != name:
                problems.append(f"keys: {name} and {owner[key]} hold the same API key; remove one")
    if problems:
        raise WrongInput(problems)


def check_recipes(config: RunConfig) -> None:
    from insurance_rag.training import load_recipe

    for version in config.versions:
        load_recipe(version, {"profile": config.profile, **config.training})


def check_base_model(config: RunConfig) -> None:
    """A path must hold a model; a hub name is checked where the GPU job runs, which may have another cache."""
    path = Path(config.base_model)
    looks_like_path = path.is_absolute() or config.base_model.startswith((".", "~"))
    if looks_like_path and not (path.expanduser() / "config.json").is_file():
        raise WrongInput(f"base_model: {path} holds no config.json; give a model's folder or a Hugging Face name")


def check_gold(config: RunConfig) -> None:
    """Every gold clause of the questions is among the clauses, else recall would be measured against nothing."""
    known = {chunk.chunk_id for chunk in read_chunks(config.chunks)}
    unknown = [
        f"{config.questions}: question {q.question_id}: gold chunk {i!r} is not among the clauses of {config.chunks}"
        for q in read_questions(config.questions)
        for i in q.gold_chunk_ids
        if i not in known
    ]
    if unknown:
        raise WrongInput(unknown)


def check_gpu_backend(config: RunConfig) -> None:
    """Of pods: their settings and template, which would otherwise be read when the dataset is paid for."""
    backend = os.environ.get("GPU_BACKEND", "local")
    if backend not in ("local", "kubernetes"):
        raise WrongInput(f"GPU_BACKEND={backend}: choose local or kubernetes")
    if backend == "kubernetes":
        from insurance_rag.orchestration.pods import check_pods

        check_pods()
