"""Generate question-answer pairs for every chunk in a plan. Run the same command again to resume from the journal.

Writes RUN/parts/. API keys are read from --keys, else from the key file that was given to `plan`, else from the
teacher's environment variable (GEMINI_API_KEYS). Without --shard, all shards run at the same time. If a key
dies, its unanswered chunks move to healthy keys. Pairs that break a validation rule are requested once more, unless
--no-repair is given.
"""

# The command is not in the package `generation`, because it also uses the pair check of `validation`.

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from insurance_rag.cli.plan import add_teacher_arguments, generation_config, log_retirement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from insurance_rag.core.records import ApiKey
    from insurance_rag.core.records.generation import GenerationResult, PartArtifact
    from insurance_rag.planning.plan import Plan

log = logging.getLogger(__name__)

EXAMPLE = "python -m insurance_rag generate --run runs/first --base-url http://127.0.0.1:8000"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", required=True, type=Path, help="run folder with a plan")
    parser.add_argument("--shard", type=int, help="generate only the shard with this number")
    parser.add_argument("--keys", type=Path, help="JSON file with the API keys")
    parser.add_argument("--budget", type=float, metavar="USD", help="stop cleanly before the run costs more than this")
    parser.add_argument(
        "--no-repair", action="store_true", help="do not repeat the request for pairs that break a rule"
    )
    add_teacher_arguments(parser)


def run(args: argparse.Namespace) -> PartArtifact | GenerationResult:
    """Generate one shard, or all of them."""
    from insurance_rag.core.errors import InvalidInputError
    from insurance_rag.core.run_folder import RunFolder
    from insurance_rag.generation import generate_run, generate_shard
    from insurance_rag.planning.keys import load_keys
    from insurance_rag.planning.plan import read_plan, with_config
    from insurance_rag.validation.pair_check import run_pair_check

    folder = RunFolder(args.run)
    plan = read_plan(folder)
    config = generation_config(args, plan.config.model_dump())
    if args.budget is not None:
        config = config.model_copy(update={"budget_usd": args.budget})
    if args.no_repair:
        config = config.model_copy(update={"repair": False})
    log_retirement(config)
    plan = with_config(plan, config, folder)
    planned_keys = Path(plan.keys_file) if plan.keys_file and Path(plan.keys_file).exists() else None
    keys = load_keys(args.keys or planned_keys, config.teacher)
    _warn_of_unplanned_keys(plan, keys)
    if args.shard is None:
        return generate_run(folder, keys, config, run_pair_check(folder))
    shard = plan.shard(args.shard)
    key = next((key for key in keys if key.id == shard.key_id), None)
    if key is None:
        raise InvalidInputError(
            f"shard {shard.shard} is planned for key {shard.key_id!r}, which is not among the keys "
            f"({', '.join(k.id for k in keys)}); add it to the keys, or plan again with the same --out"
        )
    return generate_shard(folder, shard, key, config, pair_check=run_pair_check(folder))


def _warn_of_unplanned_keys(plan: Plan, keys: Sequence[ApiKey]) -> None:
    """Warn of keys that no shard is planned for: without a new plan, they make no call."""
    planned = {shard.key_id for shard in plan.shards}
    if unused := [key.id for key in keys if key.id not in planned]:
        log.warning(
            "not in the plan and therefore not used: %s; to use all keys, plan again with the same --out "
            "(answers are kept)",
            ", ".join(unused),
        )
