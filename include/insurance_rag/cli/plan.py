"""Divide the chunks into one shard per API key, in proportion to the quotas, with each chunk in exactly one shard.

Writes RUN/plan.json and RUN/chunked_data.jsonl. API keys are read from --keys, a JSON list of {"id", "key", "project"?,
"rpm"?, "tpm"?, "rpd"?}, or from GEMINI_API_KEYS=k1,k2. With --previous, unchanged chunks reuse answers of earlier runs.
Also writes RUN/estimate.json: the expected calls, tokens and cost of the missing answers.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from insurance_rag.config import GenerationConfig
    from insurance_rag.core.records.planning import PlanArtifact

T = TypeVar("T")

EXAMPLE = "python -m insurance_rag plan --chunks sample --keys keys.json --out runs/first"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--chunks", required=True, help='chunk file (JSON lines), or "sample"')
    parser.add_argument("--keys", type=Path, help="JSON file with the API keys; default: $GEMINI_API_KEYS")
    parser.add_argument("--out", required=True, type=Path, help="run folder to write")
    parser.add_argument(
        "--previous",
        type=Path,
        nargs="+",
        metavar="RUN",
        help="folders of earlier runs to reuse answers from, newest first",
    )
    add_teacher_arguments(parser)


def add_teacher_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that `plan` and `generate` share."""
    from insurance_rag.core.registry import registry

    parser.add_argument("--teacher", choices=sorted(registry("teacher").names), help="type of the teacher")
    parser.add_argument("--model", help="teacher model; default: $GEMINI_MODEL, else the configured model")
    parser.add_argument(
        "--base-url", help="server address without /v1beta; default: $GEMINI_BASE_URL, else Google's server"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="set a field of GenerationConfig"
    )


def generation_config(args: argparse.Namespace, base: Mapping[str, object] | None = None) -> GenerationConfig:
    """Return the configuration. The options override --set. Both override `base`, the configuration in a plan.

    If there is no `base` and no option sets the model, the teacher's environment variable (e.g. GEMINI_MODEL) sets it.
    Raises an InvalidInputError that lists every invalid setting.
    """
    import os

    from insurance_rag.config import GenerationConfig
    from insurance_rag.core.config_base import parse_settings
    from insurance_rag.core.records.generation import TeacherInfo
    from insurance_rag.core.registry import registry

    flags = {"teacher": args.teacher, "model": args.model, "base_url": args.base_url}
    values = {**(base or {}), **parse_settings(args.set), **{k: v for k, v in flags.items() if v is not None}}
    config = GenerationConfig.parse(values, "settings")
    teacher: TeacherInfo = registry("teacher")[config.teacher]
    if base is None and "model" not in values and teacher.model_variable:
        model = os.environ.get(teacher.model_variable) or config.model
        config = config.model_copy(update={"model": model})
    return config


def run(args: argparse.Namespace) -> PlanArtifact:
    """Write the plan and the estimate.

    Raises an InvalidInputError that lists all problems with settings, chunks, keys and folders.
    """
    import logging

    from insurance_rag.chunks import read_chunks
    from insurance_rag.core.artifacts import describe
    from insurance_rag.core.errors import InvalidInputError
    from insurance_rag.core.records.planning import PlanArtifact, ShardSummary
    from insurance_rag.core.run_folder import RunFolder
    from insurance_rag.generation.estimate import describe_estimate, write_estimate
    from insurance_rag.planning.keys import load_keys
    from insurance_rag.planning.plan import make_plan, write_plan
    from insurance_rag.planning.reuse import reuse_answers

    problems: list[str] = []
    config = _collect(problems, lambda: generation_config(args))
    chunks = _collect(problems, lambda: read_chunks(args.chunks))
    keys = _collect(problems, lambda: load_keys(args.keys, config.teacher if config else "gemini"))
    folder = _collect(problems, RunFolder(args.out).create)
    problems += [
        f"--previous {path}: contains no plan.json; give folders of earlier runs"
        for path in args.previous or []
        if not RunFolder(path).plan.is_file()
    ]
    if problems or config is None or chunks is None or keys is None or folder is None:
        raise InvalidInputError(problems)
    log_retirement(config)
    plan = write_plan(make_plan(chunks, keys, config, args.keys), folder, chunks)
    if args.previous:
        plan = reuse_answers(folder, [RunFolder(path) for path in args.previous])
    estimate = write_estimate(folder, plan)
    logging.getLogger(__name__).info("estimate: %s", describe_estimate(estimate))
    shards = [ShardSummary(shard=s.shard, label=s.label, chunks=len(s.chunk_ids)) for s in plan.shards]
    return describe(
        folder.plan,
        PlanArtifact,
        plan_id=plan.plan_id,
        rows=plan.chunks,
        shards=shards,
        partition=plan.partition,
        refresh=plan.refresh,
        estimate=estimate,
    )


def log_retirement(config: GenerationConfig) -> None:
    """Log a warning if the teacher's model has retired or retires soon."""
    import logging

    from insurance_rag.llm.catalog import retirement_warning

    if config.teacher == "gemini" and (warning := retirement_warning(config.model)):
        logging.getLogger(__name__).warning("%s", warning)


def _collect(problems: list[str], step: Callable[[], T]) -> T | None:
    """Return the result of `step`. If `step` raises InvalidInputError, add its problems to `problems`; return None."""
    from insurance_rag.core.errors import InvalidInputError

    try:
        return step()
    except InvalidInputError as e:
        problems += e.problems
        return None
