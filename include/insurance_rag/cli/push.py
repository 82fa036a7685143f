"""Upload a dataset, or an evaluated adapter, to the Hugging Face Hub, with the gate's decision as a tag.

The card of an adapter gets the rates of the evaluation. With --evaluation, the repositories get the tag DECISION-HASH,
such as promote-9f86d081, where HASH is the beginning of the hash of the answers that the decision is based on. A
dataset alone gets data-HASH. Everything is checked before anything is uploaded. New repositories are private. Needs
HF_TOKEN.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from insurance_rag.core.adapter_folder import AdapterFolder
    from insurance_rag.core.dataset_folder import DatasetFolder
    from insurance_rag.core.records import Decision, EvaluationSummary, TrainingManifest

EXAMPLE = """insurance-rag push --dataset runs/1/dataset --dataset-repo acme/policy-qa
  insurance-rag push --evaluation runs/1/evaluation --adapter-repo acme/policy-v2 \\
    --dataset runs/1/dataset --dataset-repo acme/policy-qa"""
LEFT_OUT = ("training_args.bin", "logs/*", "checkpoints/*")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", type=Path, metavar="DIR", help="dataset folder that `validate` wrote")
    parser.add_argument("--dataset-repo", metavar="OWNER/NAME", help="dataset on the Hub")
    parser.add_argument("--evaluation", type=Path, metavar="DIR", help="evaluation folder with a decision of `promote`")
    parser.add_argument("--adapter-repo", metavar="OWNER/NAME", help="model on the Hub")
    parser.add_argument(
        "--model", metavar="NAME", help="adapter in the evaluation (default: the one that was decided about)"
    )


@dataclass(frozen=True)
class _Adapter:
    """An evaluated adapter, and the decision about it."""

    model: str
    folder: AdapterFolder
    manifest: TrainingManifest
    summary: EvaluationSummary
    decision: Decision


def run(args: argparse.Namespace) -> dict[str, object]:
    """Upload, and return the addresses and the tag. Raises an InvalidInputError if something does not fit together."""
    from insurance_rag.core.dataset_folder import DatasetFolder
    from insurance_rag.core.hub import Upload, upload
    from insurance_rag.dataset.hub import push_to_hub
    from insurance_rag.training.model_card import Evaluated, adapter_card

    _check_arguments(args)
    adapter = _read_adapter(args.evaluation, args.model) if args.evaluation else None
    dataset = DatasetFolder(args.dataset) if args.dataset else None
    data_sha256 = _check_dataset(dataset, adapter) if dataset else ""
    if adapter:
        tag = f"{adapter.decision.decision}-{adapter.decision.answers_sha256[:8]}"
        message = f"{adapter.model}: {adapter.decision.reason}"
    else:
        tag, message = f"data-{data_sha256[:8]}", "Upload the dataset"
    result: dict[str, object] = {"tag": tag}
    if dataset:
        result["dataset"] = push_to_hub(dataset, args.dataset_repo, tag, message)
    if adapter:
        evaluated = Evaluated(adapter.summary, adapter.model, adapter.decision, args.dataset_repo)
        card = {adapter.folder.model_card.name: adapter_card(adapter.manifest, evaluated)}
        root, left_out = adapter.folder.root, LEFT_OUT
        result["adapter"] = upload(Upload(args.adapter_repo, "model", root, left_out, card, tag, message))
    return result


def _check_arguments(args: argparse.Namespace) -> None:
    from insurance_rag.core.errors import InvalidInputError

    problems = []
    pairs = (("--dataset", args.dataset, "--dataset-repo"), ("--evaluation", args.evaluation, "--adapter-repo"))
    for source, folder, target in pairs:
        name: str | None = getattr(args, target[2:].replace("-", "_"))
        if (folder is None) != (name is None):
            problems.append(f"{source if folder is None else target}: missing; give {source} and {target} together")
        if name is not None and name.count("/") != 1:
            problems.append(f"{target} {name}: not of the form OWNER/NAME; e.g. acme/policy-qa")
    if args.model is not None and args.evaluation is None:
        problems.append("--model: names an adapter in an evaluation; give --evaluation and --adapter-repo with it")
    if args.dataset is None and args.evaluation is None:
        problems.append("nothing to upload; give --dataset with --dataset-repo, or --evaluation with --adapter-repo")
    if problems:
        raise InvalidInputError(list(dict.fromkeys(problems)))


def _read_adapter(evaluation: Path, model: str | None) -> _Adapter:
    """Read the decision and the adapter that it is about. Raises InvalidInputError if one of them has changed."""
    from insurance_rag.core.adapter_folder import AdapterFolder
    from insurance_rag.core.artifact_store.workspace import fetched
    from insurance_rag.core.errors import InvalidInputError
    from insurance_rag.core.hashing import sha256_file, sha256_tree
    from insurance_rag.core.record_files import read_record
    from insurance_rag.core.records import Decision, EvaluationSummary

    again = f"run `insurance-rag promote --evaluation {evaluation}` again"
    summary = read_record(evaluation / "summary.json", EvaluationSummary, "a summary", "run `evaluate` again")
    decision = read_record(evaluation / "decision.json", Decision, "a decision", again)
    if sha256_file(evaluation / "answers.jsonl") != decision.answers_sha256:
        raise InvalidInputError(f"{evaluation}: the answers have changed since the decision; {again}")
    name = model or decision.model
    if name not in summary.adapters or name not in {decision.model, *decision.challengers}:
        known = ", ".join(sorted(summary.adapters)) or "none"
        raise InvalidInputError(
            f"{evaluation}: no decision about an adapter {name!r} (adapters: {known}); give --model"
        )
    folder = AdapterFolder(fetched(summary.adapters[name].uri))
    if not folder.root.is_dir() or sha256_tree(folder.root) != summary.adapters[name].sha256:
        raise InvalidInputError(f"{folder.root}: missing, or changed since it was evaluated; evaluate it again")
    manifest = folder.read_manifest()
    if manifest is None:
        raise InvalidInputError(f"{folder.root}: no training.json; upload an adapter that `insurance-rag train` wrote")
    own = decision.challengers.get(name)
    if own and name != decision.model:
        reason = f"the gate decided {own.decision}; the best adapter was {decision.model}"
        update = {"decision": own.decision, "model": name, "reason": reason, "rules": own.rules}
        decision = decision.model_copy(update=update)
    return _Adapter(name, folder, manifest, summary, decision)


def _check_dataset(dataset: DatasetFolder, adapter: _Adapter | None) -> str:
    """Return the hash of the dataset's rows.

    Raises InvalidInputError if the folder is not finished, incomplete or changed, or if the adapter was trained on
    other rows.
    """
    from insurance_rag.core.artifacts import manifest_path
    from insurance_rag.core.errors import InvalidInputError
    from insurance_rag.core.hashing import sha256_file, sha256_tree
    from insurance_rag.core.record_files import read_record
    from insurance_rag.core.records.dataset import DatasetManifest

    advice = "run `insurance-rag validate` again"
    manifest = read_record(manifest_path(dataset.root), DatasetManifest, "a manifest of a dataset", advice)
    if sha256_tree(dataset.root) != manifest.sha256:
        raise InvalidInputError(f"{dataset.root}: files have changed since the dataset was made; {advice}")
    if not manifest.complete:
        raise InvalidInputError(f"{dataset.root}: answers are missing; generate them, then {advice}")
    if adapter:
        file = dataset.root / Path(adapter.manifest.dataset.uri).name
        if not file.is_file() or sha256_file(file) != adapter.manifest.dataset.sha256:
            raise InvalidInputError(
                f"{dataset.root}: {adapter.model} was trained on other rows ({adapter.manifest.dataset.uri}); give the "
                "dataset of its training"
            )
    return manifest.data_sha256
