"""What can be known to fail before a run costs anything, all of it at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from insurance_rag.chunks import read_chunks, read_questions
from insurance_rag.config import RunConfig
from insurance_rag.core.errors import InvalidInputError


def validate_run_config(config: RunConfig, *, generates: bool = True) -> list[str]:
    """`generates`: pairs are asked for, unless a finished dataset is given; else adapters that exist are compared."""
    checks: tuple[Callable[[RunConfig], object], ...] = (
        lambda c: read_chunks(c.chunks),
        lambda c: read_questions(c.questions),
        check_keys if generates and not config.dataset else check_adapters,
        check_dataset,
        check_recipes,
        check_base_model,
        check_registry,
        check_gold,
        check_gpu_backend,
    )
    problems: list[str] = []
    for check in checks:
        try:
            check(config)
        except InvalidInputError as e:
            problems += [problem for problem in e.problems if problem not in problems]
    return problems


def check_keys(config: RunConfig) -> None:
    """Every named connection exists and holds a key; no key stands under two connections."""
    from airflow.sdk.exceptions import AirflowNotFoundException

    from insurance_rag.orchestration.gemini_hook import GeminiHook

    problems = []
    owner: dict[str, str] = {}
    if config.generation.teacher == "local" and find_spec("torch") is None:
        problems.append("generation.teacher: local needs torch where the tasks run; use gemini or openai here")
    if not config.keys:
        problems.append("keys: none given; add connections of type gemini (Admin > Connections) and name them here")
    for name in config.keys:
        try:
            key = GeminiHook(name).get_conn()[0].key.get_secret_value()
        except AirflowNotFoundException:
            problems.append(f"keys: connection {name!r} does not exist; add it as type gemini (Admin > Connections)")
        except InvalidInputError as e:
            problems += e.problems
        else:
            if owner.setdefault(key, name) != name:
                problems.append(f"keys: {name} and {owner[key]} hold the same API key; remove one")
    if problems:
        raise InvalidInputError(problems)


def check_adapters(config: RunConfig) -> None:
    """Of a run that generates nothing: adapters stand where they are said to, on a base model that exists."""
    if config.dataset:
        return
    problems = [
        f"adapters: {name}: {folder} holds no adapter_config.json; give the folder that `train` wrote"
        for name, folder in config.adapters.items()
        if not (Path(folder) / "adapter_config.json").is_file()
    ]
    if not config.adapters:
        problems.append('adapters: none given; name some, e.g. {"v2": "/artifacts/.../llama-3-ko-insurance-lora-v2"}')
    if config.base_model == "demo":
        problems.append("base_model: `demo` is made by finetune_pipeline; give the folder base_model of its run")
    if problems:
        raise InvalidInputError(problems)


def check_dataset(config: RunConfig) -> None:
    if config.dataset and not (Path(config.dataset) / "report.json").is_file():
        raise InvalidInputError(f"dataset: {config.dataset} holds no report.json; give a folder that `validate` wrote")


def check_recipes(config: RunConfig) -> None:
    from insurance_rag.training import load_recipe

    for version in config.versions:
        load_recipe(version, {"profile": config.profile, **config.training})


def check_base_model(config: RunConfig) -> None:
    """A path must hold a model; a hub name is checked where the GPU job runs, which may have another cache."""
    path = Path(config.base_model)
    looks_like_path = path.is_absolute() or config.base_model.startswith((".", "~"))
    if looks_like_path and not (path.expanduser() / "config.json").is_file():
        raise InvalidInputError(
            f"base_model: {path} holds no config.json; give a model's folder or a Hugging Face name"
        )


def check_registry(config: RunConfig) -> None:
    """The champion can only be compared on the base model that it was trained on."""
    from insurance_rag.promotion.registry import Registry

    if not config.registry:
        return
    if config.base_model == "demo":
        raise InvalidInputError(
            "registry: `demo` is another base model in every run; name one that stays, or leave it empty"
        )
    champion = Registry(Path(config.registry)).champion
    if champion and champion["base_model"] != config.base_model:
        raise InvalidInputError(
            f"registry: the champion of {config.registry} belongs to the base model {champion['base_model']}, "
            f"this run to {config.base_model}; choose that one, or a registry of its own"
        )


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
        raise InvalidInputError(unknown)


def check_gpu_backend(config: RunConfig) -> None:
    """Of pods: their settings and template, which would otherwise be read when the dataset is paid for."""
    backend = os.environ.get("GPU_BACKEND", "local")
    if backend not in ("local", "kubernetes"):
        raise InvalidInputError(f"GPU_BACKEND={backend}: choose local or kubernetes")
    if backend == "kubernetes":
        from insurance_rag.orchestration.pods import check_pods

        check_pods()
