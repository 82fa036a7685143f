"""Ask a served model the questions of an evaluation, and compare its answers with those in the evaluation.

Run it after a deployment and before customers are sent to the new model. Exits with code 4 if the served model is
correct less often than the evaluated one, beyond the noise. The server is any with an OpenAI-compatible API, such as
vLLM or llama.cpp's llama-server. A key for it goes into EVALUATION_API_KEY.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from insurance_rag.evaluation.smoke import SmokeResult

EXAMPLE = """insurance-rag smoke --evaluation runs/demo/evaluation --questions sample --chunks sample \\
    --model v2 --server http://127.0.0.1:8000/v1 --served-as v2-1a2b3c4d"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--evaluation", type=Path, required=True, help="folder that `evaluate` wrote")
    parser.add_argument("--questions", required=True, help="questions.jsonl of the evaluation, or `sample`")
    parser.add_argument("--chunks", required=True, help="chunked_data.jsonl of the evaluation, or `sample`")
    parser.add_argument("--model", required=True, help="name of the model in the evaluation, e.g. v2 or Base")
    parser.add_argument("--server", required=True, metavar="URL", help="base URL of the server, with /v1")
    parser.add_argument("--served-as", metavar="NAME", help="name of the model on the server (default: --model)")
    parser.add_argument("--n", type=int, default=50, help="number of questions to ask (default: %(default)s)")
    parser.add_argument(
        "--min-equal",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="also fail if a smaller share of the answers is equal, e.g. 0.9 (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, help="file for both answers to every question (JSON Lines)")


def run(args: argparse.Namespace) -> SmokeResult:
    """Return the comparison. Raises GateRejectedError if the served model is worse than the evaluated one."""
    from insurance_rag.chunks import read_chunks, read_questions
    from insurance_rag.core.errors import GateRejectedError, InvalidInputError
    from insurance_rag.evaluation.smoke import ServedModel, smoke_test

    problems = [f"--n {args.n}: too small; give at least 1"] if args.n < 1 else []
    if not 0 <= args.min_equal <= 1:
        problems.append(f"--min-equal {args.min_equal}: not a share; give a number from 0 to 1")
    if problems:
        raise InvalidInputError(problems)
    served = ServedModel(args.server, args.served_as or args.model)
    questions, chunks = read_questions(args.questions), read_chunks(args.chunks)
    result = smoke_test(args.evaluation, questions, chunks, args.model, served, args.n, args.out)
    equal = result.equal.rate or 0.0
    shares = f"{result.equal.count} of {result.equal.n} answers are equal"
    if not result.passed:
        raise GateRejectedError(
            f"{args.server}: {served.name} is correct less often than {args.model} in the evaluation: "
            f"{result.served_correct.count} against {result.evaluated_correct.count} of {result.difference.n} "
            f"questions ({shares}); check the adapter, the prompt format and the chat template of the server"
        )
    if equal < args.min_equal:
        raise GateRejectedError(
            f"{args.server}: only {shares}, and --min-equal is {args.min_equal}; check the adapter, the prompt format "
            "and the decoding settings of the server"
        )
    return result
