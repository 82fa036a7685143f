"""Cut the chunks into one shard per API key, in proportion to the quota, and prove that each chunk is in exactly one.

Writes RUN/plan.json and RUN/chunked_data.jsonl. Keys: --keys keys.json, a list of {"id", "key", "project"?, "rpm"?,
"tpm"?, "rpd"?}, or GEMINI_API_KEYS=k1,k2. With --previous the answers of earlier runs are taken over by content.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

EXAMPLE = "python -m insurance_rag plan --chunks sample --keys keys.json --out runs/first"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--chunks", required=True, help='chunk file (JSON lines), or "sample"')
    parser.add_argument("--keys", type=Path, help="keys.json; without it GEMINI_API_KEYS")
    parser.add_argument("--out", required=True, type=Path, help="run folder")
    parser.add_argument(
        "--previous", type=Path, nargs="+", metavar="RUN", help="earlier runs, newest first: ask only for what is new"
    )
    add_teacher_arguments(parser)


def add_teacher_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--teacher", choices=("gemini", "openai", "local"))
    parser.add_argument("--model", help="teacher's model; without it GEMINI_MODEL, then the configuration's")
    parser.add_argument("--base-url", help="server address without /v1beta; without it GEMINI_BASE_URL, then Google's")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="any field of GenerationConfig")


def configured(args: argparse.Namespace, base: dict[str, Any] | None = None) -> Any:
    """GenerationConfig: `base` (a plan's), then --set, then the flags; GEMINI_MODEL where a plan is only being made."""
    import os

    from insurance_rag.config import GenerationConfig
    from insurance_rag.core.config_base import parse_settings

    flags = {"teacher": args.teacher, "model": args.model, "base_url": args.base_url}
    values = {**(base or {}), **parse_settings(args.set), **{k: v for k, v in flags.items() if v is not None}}
    if base is None and values.get("teacher", "gemini") == "gemini" and (model := os.environ.get("GEMINI_MODEL")):
        values.setdefault("model", model)
    return GenerationConfig.parse(values, "settings")


def _collect(problems: list[str], step: Callable[[], T]) -> T | None:
    """The step's result; None, and its problems noted, where the input is wrong: all problems are shown at once."""
    from insurance_rag.core.errors import InvalidInputError

    try:
        return step()
    except InvalidInputError as e:
        problems += e.problems
        return None


def run(args: argparse.Namespace) -> dict[str, Any]:
    from insurance_rag.chunks import read_chunks
    from insurance_rag.core.artifacts import artifact
    from insurance_rag.core.errors import InvalidInputError
    from insurance_rag.core.run_folder import RunFolder
    from insurance_rag.planning.keys import load_keys
    from insurance_rag.planning.plan import make_plan, write_plan
    from insurance_rag.planning.reuse import reuse_answers

    problems: list[str] = []
    config = _collect(problems, lambda: configured(args))
    chunks = _collect(problems, lambda: read_chunks(args.chunks))
    keys = _collect(problems, lambda: load_keys(args.keys, config.teacher if config else "gemini"))
    folder = _collect(problems, RunFolder(args.out).create)
    problems += [
        f"--previous {path}: holds no plan.json; give folders of earlier runs"
        for path in args.previous or []
        if not RunFolder(path).plan.is_file()
    ]
    if problems or config is None or chunks is None or keys is None or folder is None:
        raise InvalidInputError(problems)
    plan = write_plan(make_plan(chunks, keys, config, args.keys), folder, chunks)
    if args.previous:
        plan = reuse_answers(folder, [RunFolder(path) for path in args.previous])
    shards = [{"shard": s.shard, "label": s.label, "chunks": len(s.chunk_ids)} for s in plan.shards]
    facts: dict[str, Any] = {"plan_id": plan.plan_id, "rows": plan.chunks, "shards": shards, "proof": plan.proof}
    if plan.refresh:
        facts["refresh"] = plan.refresh.model_dump()
    return artifact(folder.plan, **facts)
