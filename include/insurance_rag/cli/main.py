"""The command line: `python -m insurance_rag COMMAND`, the same functions that the DAG tasks and the pods run.

Only the module of the command that is called is imported, so that `--help` stays quick.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from insurance_rag.core.progress import is_main_process

#: command -> (module with `EXAMPLE`, `add_arguments(parser)` and `run(args) -> dict`, one line of help)
COMMANDS: dict[str, tuple[str, str]] = {
    "plan": ("insurance_rag.cli.plan", "cut the chunks into one shard per API key"),
    "generate": ("insurance_rag.cli.generate", "ask the teacher for QA pairs, resuming from the journal"),
    "validate": ("insurance_rag.cli.validate", "check and merge the parts into training datasets"),
    "pretrain": ("insurance_rag.cli.pretrain", "train the demo's small base model from scratch"),
    "train": ("insurance_rag.cli.train", "train a QLoRA adapter by a recipe"),
    "evaluate": ("insurance_rag.cli.evaluate", "answer the questions with Base and adapters, and compare them"),
    "sweep": ("insurance_rag.cli.sweep", "try decoding settings on one half of the questions"),
    "retrieve": ("insurance_rag.cli.retrieve", "measure how often the retriever finds the gold clause"),
    "check": ("insurance_rag.cli.check", "look for hallucinations in any answers with their context"),
    "promote": ("insurance_rag.cli.promote", "decide by the policy whether an adapter replaces the champion"),
    "report": ("insurance_rag.cli.report", "write the run's self-contained HTML report"),
    "export": ("insurance_rag.cli.export", "merge an adapter into 16-bit weights"),
    "simulate": ("insurance_rag.cli.simulate", "serve a Gemini look-alike with quotas and faults"),
}


def build_parser(commands: Sequence[str] = tuple(COMMANDS)) -> argparse.ArgumentParser:
    """The parser; only `commands` get their arguments, which costs their modules' import."""
    parser = argparse.ArgumentParser(prog="insurance-rag", description=__doc__.split("\n")[0])
    sub = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module_name, help_text) in COMMANDS.items():
        command = sub.add_parser(name, help=help_text, formatter_class=argparse.RawDescriptionHelpFormatter)
        if name in commands:
            module = importlib.import_module(module_name)
            command.description = module.__doc__
            command.epilog = f"example:\n  {module.EXAMPLE}"
            module.add_arguments(command)
            command.set_defaults(execute=module.run)  # not `run`: that is an option of several commands
        command.add_argument("--json", action="store_true", help="print the result object on the last line")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else list(argv)
    named = [word for word in argv if word in COMMANDS][:1]
    args = build_parser(named).parse_args(argv)
    level = logging.INFO if is_main_process() else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs URLs
    from insurance_rag.core.errors import PipelineError

    try:
        result = args.execute(args)
    except PipelineError as e:
        print(f"{type(e).__name__}: {e}", file=sys.stderr)
        return e.exit_code
    except KeyboardInterrupt:
        print("InterruptedRunError: the same command again resumes", file=sys.stderr)
        return 3
    if is_main_process():
        _deliver(result, as_json=args.json)
    return 0


def _deliver(result: dict[str, Any], *, as_json: bool) -> None:
    """Print the result, and write it to $RESULT_JSON, where a GPU job's caller looks for it."""
    if target := os.environ.get("RESULT_JSON"):
        from insurance_rag.core.files import write_json

        write_json(Path(target), result)
    if as_json:
        print(json.dumps(result, ensure_ascii=False))
    else:
        for key, value in result.items():
            print(f"{key}: {value}")
