"""Reads the rows of all files as live records: checks every row first, then anonymizes one after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from insurance_rag.config.live_questions import LiveQuestionsConfig
from insurance_rag.core.errors import InvalidInputError, LineProblem
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records.live_questions import LiveRecord
from insurance_rag.korean import refusal
from insurance_rag.korean.personal_data import anonymize
from insurance_rag.questions.live import columns, langfuse
from insurance_rag.questions.live.files import FileRow, Row, read_rows
from insurance_rag.questions.live.langfuse import Score

KEY_DIGITS = 24
SCORE, INVALID = "score", "invalid line"


@dataclass
class Sources:
    """Files that were checked: every row can be read, or is left out for a reason."""

    files: Sequence[Path]
    names: Mapping[str, str]
    config: LiveQuestionsConfig
    skip_invalid: bool = False
    scores: dict[str, list[Score]] = field(default_factory=dict)
    """Scores in the files, by trace."""
    left_out: Counter[str] = field(default_factory=Counter)

    def records(self) -> Iterator[LiveRecord]:
        """Yield the records of all files, anonymized. Equal records of a file get different keys."""
        for path in self.files:
            seen: Counter[str] = Counter()
            for row in read_rows(path):
                values = self._values(row)
                if values is not None and not (row.problem or _value_problem(values)):
                    yield _record(values, self.config, seen)

    def check(self) -> None:
        """Read all files once. Raises an InvalidInputError that lists all problems, grouped.

        With `skip_invalid`, invalid lines are counted instead, but a file without any valid line is still a problem.
        """
        problems: list[str | LineProblem] = []
        for path in self.files:
            try:
                problems += self._check_file(path)
            except InvalidInputError as e:
                problems += e.problems
        if problems:
            raise InvalidInputError(problems)

    def _check_file(self, path: Path) -> Sequence[str | LineProblem]:
        problems: list[LineProblem] = []
        found: Counter[str] = Counter()
        before = self.left_out.total()
        for row in read_rows(path):
            found.update(row.values.keys())
            if message := self._problem_of(row):
                problems.append(LineProblem(path, row.line, message))
            else:
                found[""] += 1  # a name that no column has
        if problems and (not self.skip_invalid or not found[""]):
            return problems
        if problems:
            self.left_out[INVALID] += len(problems)
        if not found[""]:
            return [f"{path}: is empty or has only a header; export it again, or leave it out"]
        if missing := [name for name in self.names.values() if not found[name]]:
            return [f"{path}: no column {', '.join(map(repr, missing))} in any row; correct --columns"]
        if self.left_out.total() - before >= found[""] + len(problems) and not self.scores:
            reasons = ", ".join(self.left_out)
            return [f"{path}: has no question of a customer, only: {reasons}; export the traces with their input"]
        return []

    def _problem_of(self, row: FileRow) -> str:
        """Return what is wrong with a row; empty if it can be imported or is left out for a reason."""
        if row.problem:
            return row.problem
        if not self.names and langfuse.is_langfuse(row.values):
            if not self._note_langfuse(row.values):
                return ""
        elif message := columns.question_problem(row.values, self.names):
            return message
        return _value_problem(self._values(row) or {})

    def _note_langfuse(self, values: Row) -> bool:
        """Keep a score, or count why a row is left out. Return whether the row is a question."""
        if langfuse.is_score(values):
            score = langfuse.read_score(values)
            self.scores.setdefault(score.trace_id, []).append(score)
            self.left_out[SCORE] += 1
            return False
        if why := langfuse.why_left_out(values):
            self.left_out[why] += 1
        return not why

    def _values(self, row: FileRow) -> Row | None:
        """Return the row with the names of this project's columns; None if it is no question."""
        if row.problem:
            return None
        if not self.names and langfuse.is_langfuse(row.values):
            if langfuse.is_score(row.values) or langfuse.why_left_out(row.values):
                return None
            return langfuse.to_columns(row.values, self.scores.get(langfuse.trace_id(row.values), []))
        return {c: row.values[name] for c in columns.COLUMNS if (name := self.names.get(c, c)) in row.values}


def _value_problem(values: Row) -> str:
    for column in ("question", "answer", "correction"):
        if isinstance(values.get(column), dict | list):
            return f"{column}: is not a text; name the column with the text with --columns {column}=NAME"
    question = columns.text_of(values.get("question"))
    if not question:
        return "the question is empty; fill it in or remove the row"
    for column in ("question", "answer", "correction"):
        if len(columns.text_of(values.get(column))) > columns.MAX_TEXT:
            return f"{column}: longer than {columns.MAX_TEXT:,} characters; check the column, or shorten it"
    try:
        columns.confidence_of(values.get("confidence"))
    except ValueError:
        return "confidence: is not a number from 0 to 1 or a percentage; correct it, or leave it empty"
    return ""


def _record(values: Row, config: LiveQuestionsConfig, seen: Counter[str]) -> LiveRecord:
    found: Counter[str] = Counter()
    texts = {}
    for column in ("question", "answer", "correction", "company", "policy_type", "id"):
        texts[column], counts = anonymize(columns.text_of(values.get(column)))
        if column != "id":
            found += counts
    date = columns.date_of(values.get("time"))
    outcome = columns.outcome_of(columns.text_of(values.get("status")))
    level = refusal(texts["answer"]) if texts["answer"] else "none"
    if outcome == "answered" and level != "none":
        outcome = "refused" if level == "full" else "uncertain"
    record = LiveRecord(
        key="",
        question=texts["question"],
        answer=texts["answer"],
        correction=texts["correction"] if texts["correction"] != texts["answer"] else "",
        outcome=outcome,
        disliked=columns.is_negative(values.get("feedback"), config.negative_feedback),
        confidence=columns.confidence_of(values.get("confidence")),
        date=date,
        company=texts["company"],
        policy_type=texts["policy_type"],
        personal_data=dict(found),
    )
    return record.model_copy(update={"key": _key(record, texts["id"], seen)})


def _key(record: LiveRecord, name: str, seen: Counter[str]) -> str:
    """Return a hash of the id and the question; without an id, of the content and its number among equal records.

    The content is anonymized, so that nobody can find personal data by trying hashes.
    """
    if name:
        return sha256_text(name, record.question)[:KEY_DIGITS]
    content = sha256_text(record.model_dump_json(exclude={"key"}))
    seen[content] += 1
    return sha256_text(content, str(seen[content]))[:KEY_DIGITS]
