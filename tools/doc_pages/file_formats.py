"""Makes docs/file-formats.md: the files that people write or other programs read, with the fields of their records."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NotRequired, get_args, get_origin, get_type_hints, is_typeddict

from pydantic import SecretStr, TypeAdapter
from tools.doc_pages import records
from tools.doc_pages.markdown import GENERATED, table

from insurance_rag.core.records import (
    ApiKey,
    Chunk,
    EvaluationSummary,
    FormattedRow,
    QAPair,
    Question,
    RejectedRow,
    ScoredAnswer,
    ValidationReport,
)
from insurance_rag.core.records.dataset import DatasetManifest, PreferenceRow, VerifierRow
from insurance_rag.core.records.evaluation import AnswerVerdict
from insurance_rag.core.records.generation import AnswerRecord, PartManifest
from insurance_rag.core.records.ingest import EditionChanges, IngestManifest
from insurance_rag.core.records.live_questions import LiveQuestion, LiveRecord, LiveReport
from insurance_rag.core.records.planning import GenerationEstimate
from insurance_rag.core.records.promotion import Champion, Decision, DecisionLogEntry
from insurance_rag.core.records.questions import FrozenManifest, QuestionCandidate, QuestionsReport
from insurance_rag.core.records.training import LossRow, TrainingManifest
from insurance_rag.evaluation.external_answers import ExternalAnswer

HEAD = """\
All files are UTF-8. `.jsonl` files have one JSON object per line, part files and training files one JSON array with a
row per line. Unless a field has a default, it is required; an unknown field is an error, except in chunks, which keep
it. A file with a manifest or a report next to it is complete if that exists and its hash is right. Journals (answers,
rate limits, decisions) end each line with a checksum, `"crc32"`.

Each section shows one line, or the required fields of an object, with made-up values."""


@dataclass(frozen=True)
class Format:
    """A file, the record in it, and an example."""

    title: str
    file: str
    text: str
    record: type
    example: Mapping[str, object] | None = None
    """None: the required fields of the record with placeholders."""


CHUNK = {
    "chunk_id": "hanbit_cancer_003",
    "text": "제3조(보험금의 지급)\n회사는 입원한 때에는 1일당 3만원을 지급합니다.",
    "metadata": {
        "source": "policy.pdf",
        "company": "한빛생명",
        "breadcrumbs": "한빛 든든 암보험 > 보통약관 > 제3조(보험금의 지급)",
        "token_count": 30,
        "policy_type": "암보험",
    },
}
ROW = {
    "chunk_id": "hanbit_cancer_003",
    "type": "fact",
    "instruction": "한빛 든든 암보험은 입원하면 하루에 얼마를 주나요?",
    "input": "제3조(보험금의 지급)\n회사는 입원한 때에는 1일당 3만원을 지급합니다.",
    "output": "제3조에 따르면 1일당 3만원을 지급합니다.",
    "evidence": "회사는 입원한 때에는 1일당 3만원을 지급합니다.",
    "answerable": True,
    "meta": {"model": "gemini-3.5-flash-lite"},
}
QUESTION = {
    "question_id": "q001",
    "question": "한빛 든든 암보험은 입원하면 하루에 얼마를 주나요?",
    "type": "fact",
    "answerable": True,
    "gold_chunk_ids": ["hanbit_cancer_003"],
    "reference_answer": "제3조에 따르면 1일당 3만원을 지급합니다.",
    "required_numbers": ["3만원"],
    "filters": {"company": "한빛생명"},
}
CHECKED = {
    "context": "제3조 회사는 입원한 때에는 1일당 3만원을 지급합니다.",
    "question": "입원하면 하루에 얼마를 주나요?",
    "answer": "1일당 5만원을 지급합니다.",
    "reference_answer": "1일당 3만원을 지급합니다.",
}

STAGES: dict[str, tuple[Format, ...]] = {
    "Documents and chunks": (
        Format("Chunks", "chunks.jsonl", "Written by `ingest`, or by you. One article per line.", Chunk, CHUNK),
        Format("Documents of a chunk file", "chunks.documents.json", "Manifest that `ingest` writes.", IngestManifest),
        Format("Changes of an edition", "chunks.changes.json", "Written by `ingest --previous`.", EditionChanges),
    ),
    "Keys": (
        Format(
            "API keys",
            "keys.json",
            "One JSON array, written by you; only you should be able to read it. See [keys](how-to/keys.md).",
            ApiKey,
            {"id": "k1", "key": "...", "project": "team-a", "rpm": 10},
        ),
    ),
    "Evaluation questions": (
        Format(
            "Questions", "questions.jsonl", "Written by `questions make` and `freeze`, or by you.", Question, QUESTION
        ),
        Format("Candidates", "Q.candidates.jsonl", "All questions that were made.", QuestionCandidate),
        Format("Report about the questions", "Q.report.json", "Written by `questions make`.", QuestionsReport),
        Format("Manifest of a frozen set", "FROZEN.manifest.json", "Written by `questions freeze`.", FrozenManifest),
    ),
    "Generation": (
        Format("Estimate of a run", "RUN/estimate.json", "Written by `plan`.", GenerationEstimate),
        Format("Journal of answers", "RUN/parts/journal/*.jsonl", "One line per chunk.", AnswerRecord),
        Format("Pairs", "RUN/parts/dataset_part_N.json", "One JSON array per shard.", QAPair, ROW),
        Format(
            "Manifest of a part", "RUN/parts/dataset_part_N.json.manifest.json", "Counts of the shard.", PartManifest
        ),
    ),
    "Dataset": (
        Format(
            "Training rows", "train_dataset_*.json", "One file per prompt format; `heldout*.json` too.", FormattedRow
        ),
        Format("Preference pairs", "train_dataset_preference.json", "For DPO and ORPO.", PreferenceRow),
        Format("Rows for a verifier", "train_dataset_verifier.json", "Right and faulty answers.", VerifierRow),
        Format("Dropped rows", "rejects.jsonl", "Every dropped row with its reason.", RejectedRow),
        Format("Report about the rows", "report.json", "Written by `validate`.", ValidationReport),
        Format("Manifest of a dataset", "DATASET.manifest.json", "Next to the folder; written last.", DatasetManifest),
    ),
    "Adapters": (
        Format("Manifest of an adapter", "training.json", "Written last by `train`.", TrainingManifest),
        Format("Loss", "loss_history.jsonl", "One line per logged step.", LossRow),
    ),
    "Evaluation and decision": (
        Format("Scored answers", "answers.jsonl", "Every answer of every model with its scores.", ScoredAnswer),
        Format("Summary of an evaluation", "summary.json", "Rates, intervals and tests.", EvaluationSummary),
        Format("Decision of the gate", "decision.json", "Written by `promote`.", Decision),
        Format("Champion of a registry", "REGISTRY/champion.json", "The adapter in service.", Champion),
        Format("Log of decisions", "REGISTRY/decisions.jsonl", "All changes and refusals.", DecisionLogEntry),
    ),
    "Answers of other systems": (
        Format(
            "Answers to check", "answers.jsonl", "Input of `check`; other fields are kept.", ExternalAnswer, CHECKED
        ),
        Format("Verdicts", "verdicts.jsonl", "Output of `check`: the input line and these fields.", AnswerVerdict),
    ),
    "Live questions": (
        Format("Imported records", "journal/records.jsonl", "What `questions import` read, anonymized.", LiveRecord),
        Format("Distinct questions", "live_questions.jsonl", "One line per question.", LiveQuestion),
        Format("Report of an import", "report.json", "How live questions differ.", LiveReport),
    ),
}


def file_formats_page() -> str:
    """Return the page."""
    lines = ["# File formats", "", GENERATED, "", HEAD]
    rows = [(stage, f"`{f.file}`", f"[{f.title}](#{anchor(f.title)})") for stage, all_ in STAGES.items() for f in all_]
    lines += table(("stage", "file", "section"), rows)
    shown: set[type] = set()
    for stage, formats in STAGES.items():
        lines += ["", f"## {stage}"]
        for entry in formats:
            lines += [
                "",
                f"### {entry.title}",
                "",
                f"`{entry.file}`. {entry.text}",
                *record_lines(entry.record, shown, 4),
            ]
            lines += ["", "```json", json.dumps(example(entry), ensure_ascii=False), "```"]
    return "\n".join(lines) + "\n"


def anchor(title: str) -> str:
    """Return the anchor of a heading."""
    return title.lower().replace(" ", "-")


def record_lines(kind: type, shown: set[type], level: int) -> Iterator[str]:
    """Yield the table of a record, and of the records in it that the page has not described yet."""
    waiting = [kind]
    while waiting:
        record = waiting.pop(0)
        if record in shown:
            if record is kind:
                yield from ("", f"The record is {records.type_text(record)}.")
            continue
        shown.add(record)
        summary = " ".join((record.__doc__ or "").strip().split("\n\n")[0].split())
        yield from ("", f"{'#' * level} {records.title(record)}", "", summary)
        rows = ((f"`{name}`", kind_text, meaning) for name, kind_text, meaning in records.fields(record))
        yield from table(("field", "type", "meaning"), rows)
        waiting += records.nested(record)


def example(entry: Format) -> Mapping[str, object]:
    """Return the example of a format. Raises an error if the record does not accept it."""
    value: Mapping[str, object] = entry.example if entry.example is not None else placeholder(entry.record, "")
    if is_typeddict(entry.record):
        missing = {name for name, _ in required_fields(entry.record)} - set(value)
        if missing:
            raise ValueError(f"example of {entry.title}: fields {sorted(missing)} are missing; add them")
    else:
        TypeAdapter[Any](entry.record).validate_python(value)
    return value


def placeholder(hint: Any, name: str) -> Any:
    """Return a value of a type, for the field `name`; a record has its required fields only."""
    origin, args = get_origin(hint), get_args(hint)
    if records.is_record(hint):
        return {key: placeholder(kind, key) for key, kind in required_fields(hint)}
    if origin is Literal:
        return args[0]
    if origin in (dict, Mapping):
        return {placeholder(args[0], "..."): placeholder(args[1], name)}
    if origin is tuple and ... not in args:
        return [placeholder(arg, name) for arg in args]
    if origin in (list, tuple):
        return [placeholder(args[0], name)]
    if args:
        return placeholder(args[0], name)
    text = "9f86d081" if name.endswith("sha256") else "..."
    return {str: text, SecretStr: text, int: 1, float: 0.5, bool: True}.get(hint)


def required_fields(kind: type) -> Iterator[tuple[str, Any]]:
    """Yield name and type of the fields without which a record is invalid."""
    hints = get_type_hints(kind, include_extras=True)
    for name, hint in hints.items():
        if is_typeddict(kind):
            if name in kind.__required_keys__ and get_origin(hint) is not NotRequired:  # type: ignore[attr-defined]
                yield name, hint
        elif name in kind.model_fields and kind.model_fields[name].is_required():  # type: ignore[attr-defined]
            yield name, kind.model_fields[name].annotation  # type: ignore[attr-defined]
