"""Training rows as token ids: loss on the answer, the base tokenizer's own end-of-text, and never a cut answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from insurance_rag.config import TrainingConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json
from insurance_rag.core.hashing import model_identity, sha256_file, sha256_text
from insurance_rag.core.prompt_templates import (
    ANSWER_HEADING,
    PLAIN,
    RAG,
    merged_prompt,
    plain_prompt,
    rag_prompt,
)
from insurance_rag.korean import sentences

#: The dataset folder's file for each version.
FILES = {"v1": "train_dataset.json", "v2": "train_dataset_rag.json", "v3": "train_dataset_final_v2.json"}
HELDOUT_FILE = "heldout.json"
IGNORED = -100


@dataclass
class Rows:
    """Encoded rows, and what happened to those over the length limit."""

    encoded: list[dict[str, list[int]]] = field(default_factory=list)
    context_cut: int = 0
    left_out: list[dict[str, Any]] = field(default_factory=list)

    @property
    def lengths(self) -> list[int]:
        return [len(row["input_ids"]) for row in self.encoded]


def dataset_file(dataset: Path, version: str) -> Path:
    """`dataset` itself, or the version's file in it where it is a dataset folder."""
    return dataset / FILES[version] if dataset.is_dir() else dataset


def heldout_file(dataset: Path) -> Path | None:
    """The held-out rows beside the dataset, where there are any."""
    path = (dataset if dataset.is_dir() else dataset.parent) / HELDOUT_FILE
    return path if path.is_file() else None


def heldout_documents(dataset: Path) -> list[str] | None:
    """Documents that the dataset's report says no row was drawn from; None where there is no report."""
    path = dataset / "report.json"
    report = read_json(path) if path.is_file() else {}
    return report.get("split", {}).get("documents") if isinstance(report, dict) else None


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSON array or of JSON lines; InvalidInputError lists every row without a prompt or an answer."""
    rows = [_split_text(row) for row in _parse(path)]
    problems = [] if rows else [f"{path}: holds no rows"]
    for number, row in enumerate(rows, 1):
        lacking = [
            key for key in ("prompt", "completion") if not (isinstance(row, dict) and str(row.get(key, "")).strip())
        ]
        if lacking:
            problems.append(
                f"{path}: row {number} has no {' and no '.join(lacking)}; make the file with `insurance-rag validate`"
            )
    if problems:
        raise InvalidInputError(problems[:20] + [f"... and {len(problems) - 20} more"] * (len(problems) > 20))
    return rows


def read_heldout(path: Path) -> list[dict[str, Any]]:
    """As `read_rows`, but there may be none: without evaluation questions nothing is held out."""
    return read_rows(path) if _parse(path) else []


def _split_text(row: Any) -> Any:
    """A row of formatted text alone, as the published files have them, cut where the answer begins."""
    if not isinstance(row, dict) or "prompt" in row or not isinstance(row.get("text"), str):
        return row
    prompt, heading, completion = row["text"].rpartition(ANSWER_HEADING)
    return {**row, "prompt": prompt + heading, "completion": completion} if heading else row


def _parse(path: Path) -> list[Any]:
    if path.suffix != ".jsonl":
        value = read_json(path)
        return value if isinstance(value, list) else [value]
    from insurance_rag.core.files import read_jsonl

    return read_jsonl(path)


def as_version(row: dict[str, Any], version: str) -> dict[str, Any]:
    """A held-out row in the version's own format, so that its loss speaks of what was trained."""
    if not {"instruction", "input", "output"} <= row.keys():
        return row
    question, clause = row["instruction"], row["input"]
    prompt = {
        "v1": lambda: plain_prompt(question, clause[: PLAIN.max_context_characters]),
        "v2": lambda: rag_prompt(question, clause),
        "v3": lambda: merged_prompt(question, clause),
    }[version]()
    return {**row, "prompt": prompt, "completion": row["output"]}


def encode_rows(rows: Sequence[dict[str, Any]], tokenizer: Any, config: TrainingConfig) -> Rows:
    """Encode rows; one over `max_length` gets its clause cut at a sentence, or is left out, as `overlong` says."""
    result = Rows()
    for number, row in enumerate(rows, 1):
        answer = _answer_ids(row["completion"], tokenizer, config.append_eos)
        prompt = tokenizer(row["prompt"])["input_ids"]
        over = len(prompt) + len(answer) - config.max_length
        if over > 0 and config.overlong == "cut_context" and (shorter := _cut_context(row, tokenizer, over)):
            prompt = shorter
            result.context_cut += 1
        elif over > 0:
            result.left_out.append(
                {"row": number, "tokens": len(prompt) + len(answer), "chunk_id": row.get("chunk_id")}
            )
            continue
        unlearned = [IGNORED] * len(prompt) if config.completion_only else prompt
        result.encoded.append({"input_ids": prompt + answer, "labels": unlearned + answer})
    return result


def _answer_ids(completion: str, tokenizer: Any, append_eos: bool) -> list[int]:
    """The answer as the model has to produce it after the prompt; a literal end-of-text becomes the real one."""
    text = completion
    for literal in (RAG.end_of_text, tokenizer.eos_token):
        text = text.removesuffix(literal)
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return [*ids, tokenizer.eos_token_id] if append_eos else ids


def _cut_context(row: dict[str, Any], tokenizer: Any, over: int) -> list[int] | None:
    """The prompt without the last sentences of its clause, keeping those the answer rests on; None if it won't fit.

    Rows say what their clause (`input`) and their evidence are; one that does not is left out.
    """
    clause, evidence = row.get("input") or "", row.get("evidence") or ""
    prompt: str = row["prompt"]
    clause = clause if clause in prompt else clause[: PLAIN.max_context_characters]
    if not clause or clause not in prompt:
        return None
    full = len(tokenizer(prompt)["input_ids"])
    needed = clause.find(evidence) + len(evidence) if evidence and evidence in clause else 0
    for span in reversed(sentences(clause)):
        kept = clause[: span.start].rstrip()
        if not kept or len(kept) < needed:
            return None
        ids: list[int] = tokenizer(prompt.replace(clause, kept, 1))["input_ids"]
        if full - len(ids) >= over:
            return ids
    return None


def fingerprint(config: TrainingConfig, files: Sequence[Path | None], base: str, revision: str | None) -> str:
    """Identity of a training on these rows, held-out ones included: the same one resumes, another starts afresh."""
    digests = [sha256_file(path) if path else "" for path in files]
    # Where and how fast it runs may change between a run and its resumption; what it learns may not.
    settings = config.model_dump(
        mode="json", exclude={"memory", "gpus", "report_to", "log_every", "save_every", "compile"}
    )
    return sha256_text(json.dumps(settings, sort_keys=True), *digests, model_identity(base), revision or "")[:16]
