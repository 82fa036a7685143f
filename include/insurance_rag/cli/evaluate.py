"""Answer the same questions with the base model and its adapters, and compare the answers."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

if TYPE_CHECKING:
    from insurance_rag.config import EvaluationConfig
    from insurance_rag.core.records import Chunk, EvaluationArtifact, Question

EXAMPLE = (
    "insurance-rag evaluate --questions sample --chunks sample --base-model runs/demo/base_model \\\n"
    "      --adapter v1=runs/demo/adapters/llama-3-ko-insurance-lora --out runs/demo/evaluation"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from insurance_rag.config.evaluation import DECODING_PRESETS

    add_shared_arguments(parser)
    parser.add_argument(
        "--reference",
        action="store_true",
        help="merge each adapter into the 4-bit base model and answer one question at a time",
    )
    parser.add_argument(
        "--prompt",
        choices=("own", "rag", "both"),
        help="ask each adapter in its own prompt format, all models in rag, or both (default: own)",
    )
    parser.add_argument(
        "--labels", type=Path, metavar="CSV", help="labelling.csv from an earlier evaluation, filled in by a person"
    )
    parser.add_argument(
        "--verifier",
        type=Path,
        metavar="DIR",
        help="calibrated verifier that marks unsupported sentences of the answers",
    )
    parser.add_argument(
        "--decoding", choices=DECODING_PRESETS, default="default", help="decoding preset (default: %(default)s)"
    )


def add_shared_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that `evaluate` and `sweep` share."""
    parser.add_argument("--questions", required=True, help="questions.jsonl, or `sample`")
    parser.add_argument("--limit", type=int, metavar="N", help="use only the first N questions")
    parser.add_argument("--chunks", required=True, help="chunked_data.jsonl, or `sample`")
    parser.add_argument("--base-model", required=True, help="Hugging Face name or local folder")
    parser.add_argument(
        "--adapter",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="an adapter to compare, or a folder that `train --seeds` wrote; may be repeated",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write the results to")
    parser.add_argument("--cache", type=Path, help="folder in which the retriever's index is kept for later runs")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set a field of EvaluationConfig or DecodingConfig, e.g. decoding.temperature=0.1; may be repeated",
    )


@dataclass(frozen=True)
class SharedArguments:
    """Checked values of the options that `evaluate` and `sweep` share."""

    questions: list[Question]
    chunks: list[Chunk]
    base_model: str
    adapters: dict[str, Path]
    out: Path
    decoding: dict[str, JsonValue]
    """Fields of DecodingConfig that are given as --set decoding.FIELD=VALUE."""
    config: EvaluationConfig
    cache: Path | None
    progress: Path | None


def read_shared_arguments(args: argparse.Namespace) -> SharedArguments:
    """Check the shared options and read the files that they name. Raises InvalidInputError for invalid input."""
    from insurance_rag.chunks import read_chunks, read_questions
    from insurance_rag.config import EvaluationConfig
    from insurance_rag.core.adapter_folder import expand_seeds
    from insurance_rag.core.config_base import parse_settings
    from insurance_rag.core.errors import InvalidInputError

    problems = [
        f"--adapter {a}: not of the form NAME=DIR; e.g. v2=RUN/v2" for a in args.adapter if not all(a.partition("="))
    ]
    if args.limit is not None and args.limit < 1:
        problems.append(f"--limit {args.limit}: too small; give at least 1")
    if problems:
        raise InvalidInputError(problems)
    settings = parse_settings(args.set)
    decoding = settings.pop("decoding", {})
    if not isinstance(decoding, dict):
        raise InvalidInputError(
            "--set decoding: has no value of its own; set its fields, e.g. decoding.temperature=0.1"
        )
    run = args.out.parent  # if this is a run folder, it also contains the progress folder
    return SharedArguments(
        questions=list(read_questions(args.questions)[: args.limit]),
        chunks=list(read_chunks(args.chunks)),
        base_model=args.base_model,
        adapters=expand_seeds({name: Path(folder) for name, _, folder in (a.partition("=") for a in args.adapter)}),
        out=args.out,
        decoding=decoding,
        config=EvaluationConfig.parse(settings, "--set"),
        cache=args.cache,
        progress=run / "progress" if (run / "plan.json").exists() else None,
    )


def run(args: argparse.Namespace) -> EvaluationArtifact:
    import os

    # Spinning OpenMP threads make inference ten times slower if other processes use the same cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from insurance_rag.config import DecodingConfig
    from insurance_rag.evaluation.annotations import read_annotations
    from insurance_rag.evaluation.runner import evaluate

    shared = read_shared_arguments(args)
    decoding = DecodingConfig.preset(args.decoding).model_dump() | shared.decoding
    options: dict[str, object] = {"reference": True} if args.reference else {}
    options |= {"verifier": str(args.verifier)} if args.verifier else {}
    options |= {"prompt": args.prompt} if args.prompt else {}
    config = shared.config.model_copy(update=options)
    return evaluate(
        shared.questions,
        shared.chunks,
        shared.base_model,
        shared.adapters,
        DecodingConfig.parse(decoding, "--set decoding"),
        shared.out,
        config,
        labels=read_annotations(args.labels) if args.labels else None,
        cache=shared.cache,
        progress=shared.progress,
    )
