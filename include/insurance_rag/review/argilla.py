"""Writes items and decisions as records of Argilla 2, one JSON object per line, and reads such records.

The fields of a record are the item's texts and its chunk. The questions are `action` (approve, edit, reject), `reason`,
and one `edited_NAME` per editable text. A decision in the store is exported as a suggestion, because a response must
name a user of the Argilla server. An import reads the responses of Argilla's users, or the suggestions if there are
none. Argilla's own export, a JSON array, can be read, too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from insurance_rag.core.errors import InvalidInputError, LineProblem
from insurance_rag.review.edits import effective_fields
from insurance_rag.review.imported import ImportedLine, parse_line
from insurance_rag.review.records import ReviewItem
from insurance_rag.review.spreadsheet import TEXT_NAMES
from insurance_rag.review.store import ItemState

EDITED = "edited_"

JsonObject = dict[str, JsonValue]


def write_argilla(items: Sequence[ReviewItem], states: Mapping[str, ItemState]) -> bytes:
    """Return a JSON Lines file with one record per item."""
    records = (_record(item, states.get(item.key, ItemState())) for item in items)
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode("utf-8", "replace")


def _record(item: ReviewItem, state: ItemState) -> JsonObject:
    fields: JsonObject = {name: text for name, text in effective_fields(item, state.decision).items()}
    fields["chunk"] = "\n\n".join("\n".join(filter(None, [chunk.header, chunk.text])) for chunk in item.chunks)
    metadata: JsonObject = {
        "kind": item.kind,
        "version": state.version,
        "type": item.type,
        "shard": item.shard,
        "rules": ", ".join(finding.rule for finding in item.findings),
        "status": "dropped" if item.dropped else "kept",
        "chunk_ids": " ".join(chunk.chunk_id for chunk in item.chunks),
    }
    suggestions: JsonObject = {}
    if decision := state.decision:
        values = {"action": decision.action, "reason": decision.reason}
        values |= {EDITED + name: text for name, text in decision.fields.items()}
        suggestions = {
            name: {"value": value, "score": None, "agent": decision.reviewer} for name, value in values.items() if value
        }
    return {
        "id": item.key,
        "fields": fields,
        "metadata": metadata,
        "suggestions": suggestions,
        "responses": {},
        "vectors": {},
    }


def read_argilla(content: bytes, name: str) -> list[ImportedLine]:
    """Return the decisions in the records of a file. Raises an InvalidInputError that lists every unreadable line."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise InvalidInputError(f"{name}: byte {e.start} is not UTF-8; save the file as UTF-8") from None
    return [_line(number, record) for number, record in _records(text, name)]


def _records(text: str, name: str) -> list[tuple[int, JsonValue]]:
    if text.lstrip().startswith("["):
        try:
            records = json.loads(text)
        except (ValueError, RecursionError) as e:
            raise InvalidInputError(f"{name}: invalid JSON ({e}); export the records again") from None
        return list(enumerate(records, 1))
    found: list[tuple[int, JsonValue]] = []
    problems = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                found.append((number, json.loads(line)))
            except (ValueError, RecursionError):
                problems.append(LineProblem(name, number, "is not JSON; export the records again"))
    if problems:
        raise InvalidInputError(problems)
    return found


def _line(number: int, record: JsonValue) -> ImportedLine:
    if not isinstance(record, dict):
        return ImportedLine(number, problem="is not a record; export the records again")
    metadata = record.get("metadata")
    answers, problem = _answers(record)
    if problem:
        return ImportedLine(number, str(record.get("id") or ""), problem=problem)
    texts = {name: answers[EDITED + name] for name in TEXT_NAMES if EDITED + name in answers}
    version = metadata.get("version", 0) if isinstance(metadata, dict) else 0
    action, reason = answers.get("action"), answers.get("reason")
    return parse_line(number, record.get("id"), version, action, reason, texts if action == "edit" else {})


def _answers(record: JsonObject) -> tuple[dict[str, str], str]:
    """Return question -> answer, and what is wrong with the answers."""
    given: dict[str, str] = {}
    responses = record.get("responses")
    for question, values in responses.items() if isinstance(responses, dict) else ():
        found = [v["value"] for v in values if isinstance(v, dict) and "value" in v] if isinstance(values, list) else []
        if len({json.dumps(value) for value in found}) > 1:
            return {}, f"{len(found)} people gave different answers to {question!r}; keep one of them"
        given |= {question: str(found[0])} if found else {}
    suggestions = record.get("suggestions")
    if "action" not in given and isinstance(suggestions, dict):
        given = {
            question: str(s["value"]) for question, s in suggestions.items() if isinstance(s, dict) and "value" in s
        }
    return given, ""
