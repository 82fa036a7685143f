"""Ask the teacher for QA pairs of every chunk of a plan; the same command again resumes from the journal.

Writes RUN/parts/. Keys: --keys, else the file the plan was made with, else GEMINI_API_KEYS. Without --shard all shards
run, each its own worker, and what a dead key leaves over moves to the healthy ones. Pairs that validation would drop
are asked for once more, unless --no-repair.
"""

# Here and not in `generation`, since it joins generation with validation's judge.

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from insurance_rag.cli.plan import add_teacher_arguments, configured

EXAMPLE = "python -m insurance_rag generate --run runs/first --base-url http://127.0.0.1:8000"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", required=True, type=Path, help="run folder with a plan")
    parser.add_argument("--shard", type=int, help="number of the one shard to work on")
    parser.add_argument("--keys", type=Path, help="keys.json")
    parser.add_argument("--budget", type=float, metavar="USD", help="stop cleanly when the run has cost so much")
    parser.add_argument("--no-repair", action="store_true", help="do not ask again for pairs that the rules would drop")
    add_teacher_arguments(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    from insurance_rag.core.errors import InvalidInputError
    from insurance_rag.core.run_folder import RunFolder
    from insurance_rag.generation.run import generate_run
    from insurance_rag.generation.worker import generate_shard
    from insurance_rag.planning.keys import load_keys
    from insurance_rag.planning.plan import adopt, read_plan
    from insurance_rag.validation.pair_check import row_judge

    folder = RunFolder(args.run)
    plan = read_plan(folder)
    config = configured(args, plan.config.model_dump())
    if args.budget is not None:
        config = config.model_copy(update={"budget_usd": args.budget})
    if args.no_repair:
        config = config.model_copy(update={"repair": False})
    plan = adopt(plan, config, folder)
    remembered = Path(plan.keys_file) if plan.keys_file and Path(plan.keys_file).exists() else None
    keys = load_keys(args.keys or remembered, config.teacher)
    if args.shard is None:
        return generate_run(folder, keys, config, row_judge())
    shard = plan.shard(args.shard)
    key = next((key for key in keys if key.id == shard.key_id), None)
    if key is None:
        raise InvalidInputError(
            f"shard {shard.shard} is planned for key {shard.key_id!r}; there are {', '.join(k.id for k in keys)}"
        )
    return generate_shard(folder, shard, key, config, judge=row_judge())
