"""Checks a run's configuration before the run costs anything."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from insurance_rag.chunks import read_chunks, read_questions
from insurance_rag.config import RunConfig
from insurance_rag.core.adapter_folder import AdapterFolder, expand_seeds
from insurance_rag.core.artifact_store.locations import public_text
from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.errors import (
    InvalidInputError,
    KeyRejectedError,
    LineProblem,
    PipelineError,
    ServerUnavailableError,
)
from insurance_rag.core.records import ApiKey
from insurance_rag.core.records.generation import TeacherInfo
from insurance_rag.core.registry import registry

log = logging.getLogger(__name__)

MODEL_CHECK_TIMEOUT_S = 15.0


def validate_run_config(
    config: RunConfig, *, generates: bool = True, compares: bool = True, asks: bool = True
) -> list[str]:
    """Return every problem that would make the run fail.

    With `generates=False`, for DAGs that only compare adapters, the adapters are checked instead of the API keys. With
    `compares=False`, for DAGs that neither train nor evaluate, the settings for that are not checked. With
    `asks=False`, the DAG needs no evaluation questions.

    Raises ServerUnavailableError if the only problem is a teacher's server that cannot be reached, because this may be
    temporary.
    """
    from_file = not config.documents
    asks = asks and not config.make_questions
    checks: tuple[Callable[[RunConfig], object], ...] = (
        (lambda c: read_chunks(c.chunks)) if from_file else check_documents,
        *([lambda c: read_questions(c.questions)] if asks else []),
        *([check_keys, check_models] if generates and not config.dataset else []),
        *([] if generates else [check_adapters]),
        check_dataset,
        *([check_recipes, check_base_model, check_registry, check_policy, check_evaluation] if compares else []),
        *([check_gold_chunks] if asks and from_file else []),
        check_gpu_backend,
    )
    problems: list[str] = []
    unavailable: ServerUnavailableError | None = None
    for check in checks:
        try:
            check(config)
        except InvalidInputError as e:
            problems += [problem for problem in e.problems if problem not in problems]
        except ServerUnavailableError as e:
            unavailable = e
    if unavailable and not problems:
        raise unavailable
    return [*problems, *([str(unavailable)] if unavailable else [])]


def warnings_of(config: RunConfig, *, generates: bool = True) -> list[str]:
    """Return warnings about settings with which the run works, but not as the user may expect."""
    from insurance_rag.llm.catalog import retirement_warning

    if not generates or config.dataset or config.generation.teacher != "gemini":
        return []
    warning = retirement_warning(config.generation.model)
    return [f"generation.model: {warning}"] if warning else []


def check_documents(config: RunConfig) -> None:
    """Check that there is a file at each of the documents' locations."""
    from insurance_rag.orchestration.documents import missing_documents

    if problems := missing_documents(config.documents):
        raise InvalidInputError(problems)


def check_evaluation(config: RunConfig) -> None:
    """Check the files and the retriever of the evaluation. Otherwise, errors would appear only after the training."""
    evaluation = config.evaluation
    problems = [
        f"evaluation.{name}: {path} does not exist; give the path of {what}, or leave the field empty"
        for name, path, what in (
            ("verifier", evaluation.verifier, "a calibrated verifier"),
            ("general_text", evaluation.general_text, "a text file"),
        )
        if path and not Path(path).expanduser().exists()
    ]
    if evaluation.retrieval.kind in ("dense", "hybrid") and not evaluation.retrieval.embedder:
        problems.append(
            f"evaluation.retrieval.embedder: the retriever {evaluation.retrieval.kind} needs an embedding model; give "
            "sentence-transformers:NAME or openai:MODEL@BASE_URL, or choose bm25"
        )
    if evaluation.judge and "@" not in evaluation.judge:
        problems.append(f"evaluation.judge: {evaluation.judge} has no server; give MODEL@BASE_URL")
    if problems:
        raise InvalidInputError(problems)


def check_keys(config: RunConfig) -> None:
    """Check that the teacher is installed, every connection has an API key, and no two API keys are the same."""
    from airflow.sdk.exceptions import AirflowNotFoundException

    from insurance_rag.orchestration.gemini_hook import GeminiHook

    problems = []
    owner: dict[str, str] = {}
    teacher: TeacherInfo = registry("teacher")[config.generation.teacher]
    if missing := [package for package in teacher.required_packages if find_spec(package) is None]:
        problems.append(
            f"generation.teacher: {teacher.name} needs {', '.join(missing)} where the tasks run; install it there or "
            "choose another teacher"
        )
    if not config.keys:
        problems.append(
            "keys: no connection named; add connections of type gemini (Admin > Connections) and name them here"
        )
    for name in config.keys:
        try:
            key = GeminiHook(name).get_conn()[0].key.get_secret_value()
        except AirflowNotFoundException:
            problems.append(f"keys: connection {name!r} does not exist; add it with type gemini (Admin > Connections)")
        except InvalidInputError as e:
            problems += e.problems
        else:
            if owner.setdefault(key, name) != name:
                problems.append(f"keys: {name} and {owner[key]} have the same API key; remove one of them")
    if problems:
        raise InvalidInputError(problems)


def check_models(config: RunConfig) -> None:
    """Check that the teacher's settings fit its model, and that every connection's server has the model.

    Each server is asked once, with the first key that it accepts. Raises ServerUnavailableError if the only problem is
    a server that cannot be reached.
    """
    from insurance_rag.llm.catalog import thinking_config

    if config.generation.teacher != "gemini":
        return
    problems: list[str] = []
    unavailable: list[str] = []
    try:
        thinking_config(config.generation)
    except InvalidInputError as e:
        problems += [f"generation.{problem}" for problem in e.problems]
    for url, keys in _keys_by_server(config).items():
        try:
            _check_server(url, keys, config.generation.model)
        except InvalidInputError as e:
            problems += e.problems
        except ServerUnavailableError as e:
            names = ", ".join(key.id for key in keys)
            unavailable.append(f"keys: {names}: {e}; check the base URL and the network")
        except KeyRejectedError as e:
            problems.append(f"keys: {', '.join(key.id for key in keys)}: {e}")
    if problems:
        raise InvalidInputError([*problems, *unavailable])
    if unavailable:
        raise ServerUnavailableError("\n".join(unavailable))


def _keys_by_server(config: RunConfig) -> dict[str, list[ApiKey]]:
    """Return the keys of the connections by the server's address. Unreadable connections are left out."""
    from airflow.sdk.exceptions import AirflowNotFoundException

    from insurance_rag.orchestration.gemini_hook import GeminiHook, server_url

    keys: dict[str, list[ApiKey]] = {}
    for name in config.keys:
        try:
            key, host = GeminiHook(name).get_conn()
        except (AirflowNotFoundException, InvalidInputError):
            continue  # check_keys reports it
        keys.setdefault(server_url(config.generation.base_url or host), []).append(key)
    return keys


def _check_server(url: str, keys: Sequence[ApiKey], model: str) -> None:
    """Check that the server has the model. Raises KeyRejectedError if the server rejects every key."""
    from insurance_rag.llm.client import Client
    from insurance_rag.llm.gemini import api_key_header
    from insurance_rag.llm.model_list import check_model

    rejected: KeyRejectedError | None = None
    for key in keys:
        try:
            with Client(url, key.key, api_key_header(key.key), MODEL_CHECK_TIMEOUT_S, "base URL") as client:
                check_model(client, model)
            return
        except KeyRejectedError as e:
            rejected = e  # the key's shard will fail, and its chunks move to the other keys
        except (InvalidInputError, ServerUnavailableError):
            raise
        except PipelineError as e:  # the server works, but it does not describe its models now
            log.warning("%s: it is not known whether the server has the model %s (%s)", url, model, e)
            return
    if rejected:
        raise rejected


def check_adapters(config: RunConfig) -> None:
    """Check the adapters and the base model, unless the run names a dataset to train on."""
    if config.dataset:
        return
    problems = [
        f"adapters: {name}: {folder} has no adapter_config.json; give a folder that `train` wrote"
        for name, folder in expand_seeds({name: Path(folder) for name, folder in config.adapters.items()}).items()
        if not AdapterFolder(folder).peft_config.is_file()
    ]
    if not config.adapters:
        problems.append('adapters: none named; name some, e.g. {"v2": "/artifacts/.../llama-3-ko-insurance-lora-v2"}')
    if config.base_model == "demo":
        problems.append("base_model: only finetune_pipeline trains `demo`; give the folder base_model of its run")
    if problems:
        raise InvalidInputError(problems)


def check_dataset(config: RunConfig) -> None:
    """If the run names a dataset, check that `validate` wrote this dataset."""
    if config.dataset and not DatasetFolder(Path(config.dataset)).report.is_file():
        raise InvalidInputError(f"dataset: {config.dataset} has no report.json; give a folder that `validate` wrote")


def check_recipes(config: RunConfig) -> None:
    """Check that the recipes exist and accept the training settings."""
    from insurance_rag.training import load_recipe

    for version in config.versions:
        load_recipe(version, {"profile": config.profile, **config.training})


def check_base_model(config: RunConfig) -> None:
    """Check a base model given as a path. The GPU job checks a Hugging Face name later, using its own cache."""
    path = Path(config.base_model)
    looks_like_path = path.is_absolute() or config.base_model.startswith((".", "~"))
    if looks_like_path and not (path.expanduser() / "config.json").is_file():
        raise InvalidInputError(
            f"base_model: {path} has no config.json; give the folder of a model or a Hugging Face name"
        )


def check_registry(config: RunConfig) -> None:
    """Check that the champion in the registry was trained on the run's base model."""
    from insurance_rag.promotion.model_registry import ModelRegistry

    if not config.registry:
        return
    if config.base_model == "demo":
        raise InvalidInputError(
            "registry: `demo` is a different base model in every run; name a permanent one, or leave the registry empty"
        )
    champion = ModelRegistry(Path(config.registry)).champion
    if champion and champion.base_model != public_text(config.base_model):
        raise InvalidInputError(
            f"registry: the champion in {config.registry} was trained on the base model {champion.base_model}, but "
            f"this run uses {config.base_model}; choose the same base model, or another registry"
        )


def check_policy(config: RunConfig) -> None:
    """Check the promotion policy, with the run's own settings applied."""
    from insurance_rag.promotion.policy import load_policy

    load_policy(Path(config.policy) if config.policy else None, config.promotion, "promotion")


def check_gold_chunks(config: RunConfig) -> None:
    """Check that the chunk file contains every gold chunk, because recall is measured against the gold chunks."""
    known = {chunk.chunk_id for chunk in read_chunks(config.chunks)}
    message = f"a gold chunk is not in {config.chunks}; give the chunks that the questions were made from"
    unknown = [
        LineProblem(config.questions, line, message)
        for line, question in enumerate(read_questions(config.questions), 1)
        if not known.issuperset(question.gold_chunk_ids)
    ]
    if unknown:
        raise InvalidInputError(unknown)


def check_gpu_backend(config: RunConfig) -> None:
    """Check $GPU_BACKEND and the pod settings. Otherwise, errors would appear only after the paid generation."""
    backend = os.environ.get("GPU_BACKEND", "local")
    if backend not in ("local", "kubernetes"):
        raise InvalidInputError(f"GPU_BACKEND={backend}: choose local or kubernetes")
    if backend == "kubernetes":
        from insurance_rag.orchestration.pod_spec import check_pods

        check_pods()
