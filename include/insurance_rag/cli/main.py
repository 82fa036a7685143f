"""The command-line interface `insurance-rag COMMAND`, used by people, DAG tasks and pods.

Only the module of the given command is imported, so that `--help` remains fast. Each command module defines `EXAMPLE`,
`add_arguments(parser)` and `run(args)`. The result of `run` is a record or a dict. A command sees only local paths; see
`store_arguments` for the URIs of object stores.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from insurance_rag.cli.store_arguments import localize, workspace_of
from insurance_rag.core.errors import PipelineError

if TYPE_CHECKING:
    from pydantic import BaseModel, JsonValue

#: Command -> one-line help text. The module of a command has the same name as the command.
COMMANDS: dict[str, str] = {
    "ingest": "turn documents into chunks, and report what changed since the previous edition",
    "questions": "make, check, review and freeze a set of evaluation questions",
    "plan": "split the chunks into one shard per API key",
    "generate": "generate QA pairs with the teacher; resumes from the journal",
    "validate": "check the generated pairs and merge them into training datasets",
    "review": "export and import decisions about rows and questions, and count them",
    "pretrain": "train the demo's tiny base model from scratch",
    "train": "train a QLoRA adapter from a recipe",
    "verifier": "calibrate a verifier on held-out answers, and measure how many faults it finds",
    "evaluate": "answer the questions with the base model and the adapters, and compare the answers",
    "rescore": "score the answers of an evaluation again, without a model",
    "sweep": "choose decoding settings on half of the questions and measure them on the other half",
    "retrieve": "measure how often the retriever finds the gold chunk",
    "check": "find hallucinations in answers from any model, given their context",
    "promote": "decide by the promotion policy whether an adapter replaces the champion",
    "registry": "show the champion and all adapters, promote one by hand, or roll back",
    "report": "write the report about a run as a self-contained HTML file",
    "export": "write an adapter for a server: for vLLM, merged 16-bit weights, or GGUF",
    "push": "upload a dataset or an evaluated adapter to the Hugging Face Hub",
    "smoke": "ask a served model the questions of an evaluation, and compare its answers",
    "prune": "remove old runs that nothing in use rests on",
    "simulate": "serve a Gemini-compatible API with quotas and faults",
}


def build_parser(commands: Sequence[str] = tuple(COMMANDS)) -> argparse.ArgumentParser:
    """Build the parser. Only `commands` get their arguments, because adding arguments imports the command's module."""
    description = (__doc__ or "").split("\n")[0]
    parser = argparse.ArgumentParser(prog="insurance-rag", description=description)
    sub = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, help_text in COMMANDS.items():
        command = sub.add_parser(name, help=help_text, formatter_class=argparse.RawDescriptionHelpFormatter)
        if name in commands:
            module = importlib.import_module(f"insurance_rag.cli.{name}")
            command.description = module.__doc__
            command.epilog = f"example:\n  {module.EXAMPLE}"
            module.add_arguments(command)
            command.set_defaults(execute=module.run)  # not named `run`, because several commands have an option --run
        command.add_argument("--json", action="store_true", help="print the result as JSON on the last line")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0 means success, 2 invalid input, 3 resumable, 4 rejected by a gate, and 1 any other error.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    named = [word for word in argv if word in COMMANDS][:1]
    try:
        argv, stored = localize(argv)
    except PipelineError as e:
        return _fail(e)
    args = build_parser(named).parse_args(argv)

    # Imported after parsing, so that `--help` does not load pydantic.
    from insurance_rag.cli.library_messages import hide_library_messages
    from insurance_rag.core.files import WRITE_ERRNOS, write_error
    from insurance_rag.core.progress import is_main_process

    level = logging.INFO if is_main_process() else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    hide_library_messages()

    try:
        with workspace_of(stored if getattr(args, "fetches_arguments", True) else []):
            result = args.execute(args)
    except PipelineError as e:
        return _fail(e)
    except OSError as e:
        if e.errno not in WRITE_ERRNOS:
            raise
        return _fail(write_error(Path(e.filename or "a file of the command"), e))
    except KeyboardInterrupt:
        print("Interrupted; run the same command again to resume", file=sys.stderr)
        return 3
    if is_main_process():
        _deliver(result, as_json=args.json)
    return 0


def _fail(error: PipelineError) -> int:
    """Print an error, and return the exit code of its class."""
    from insurance_rag.core.artifact_store.locations import public_text

    print(f"{type(error).__name__}: {public_text(str(error))}", file=sys.stderr)
    return error.exit_code


def _deliver(result: BaseModel | Mapping[str, object], *, as_json: bool) -> None:
    """Print the result. If $RESULT_JSON names a file, also write the result to this file for the GPU task to read."""
    from insurance_rag.cli.result_text import result_lines
    from insurance_rag.core.artifact_store.locations import public_value
    from insurance_rag.core.files import write_json

    plain = dict(result) if isinstance(result, Mapping) else result.model_dump(mode="json")
    values = {key: public_value(cast("JsonValue", value)) for key, value in plain.items()}
    if target := os.environ.get("RESULT_JSON"):
        write_json(Path(target), values)
    if as_json:
        print(json.dumps(values, ensure_ascii=False))
    else:
        print("\n".join(result_lines(values)))
