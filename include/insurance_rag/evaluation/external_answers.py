"""Answers from any model, outside an evaluation: read them, check them, and compare them with their references."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, JsonValue, StrictBool, StrictStr, ValidationError, field_validator

from insurance_rag.core.errors import InvalidInputError, LineProblem
from insurance_rag.core.files import parse_jsonl
from insurance_rag.core.prompt_templates import CHUNK_SEPARATOR
from insurance_rag.core.records import AnswerVerdict, Correctness
from insurance_rag.evaluation.checks import check_answer
from insurance_rag.evaluation.correctness import Expected, assess
from insurance_rag.evaluation.correctness.content import f_score, lemmas
from insurance_rag.korean import articles, refusal
from insurance_rag.korean.text import replace_surrogates

HEADING_CHARACTERS = 40


class ExternalAnswer(BaseModel):
    """One line of the input file. Further fields are allowed."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    context: StrictStr
    """Texts of the chunks that the model was given, separated by empty lines."""
    question: StrictStr = ""
    answer: StrictStr = ""
    answerable: StrictBool | None = None
    """Whether the context answers the question. None: unknown, or derived from the reference."""
    reference_answer: StrictStr | None = None
    required_numbers: tuple[StrictStr, ...] = ()

    @field_validator("question", "answer", mode="before")
    @classmethod
    def _empty(cls, value: object) -> object:
        return "" if value is None else value

    @field_validator("required_numbers", mode="before")
    @classmethod
    def _none_required(cls, value: object) -> object:
        return () if value is None else value


def read_answers(path: Path) -> list[tuple[dict[str, JsonValue], ExternalAnswer]]:
    """Return every row as it is in the file, and as a record. Raises InvalidInputError with all invalid lines."""
    numbered, problems = parse_jsonl(path)
    rows = []
    for line, row in numbered:
        if not isinstance(row, dict):
            problems.append(LineProblem(path, line, "not a JSON object; write {context, question, answer}"))
            continue
        cleaned = {replace_surrogates(key): _encodable(value) for key, value in row.items()}
        cleaned |= {key: cleaned.get(key) or "" for key in ("question", "answer")}
        try:
            rows.append((cleaned, ExternalAnswer.model_validate(cleaned)))
        except ValidationError as e:
            problems += [
                LineProblem(path, line, f"{_field(p['loc'])} {_MESSAGES[_field(p['loc'])]}") for p in e.errors()
            ]
    if problems:
        raise InvalidInputError(problems)
    return rows


def _encodable(value: JsonValue) -> JsonValue:
    """Return the value with lone surrogates replaced, because the verdicts are written next to it."""
    if isinstance(value, str):
        return replace_surrogates(value)
    if isinstance(value, list):
        return [_encodable(inner) for inner in value]
    return {replace_surrogates(k): _encodable(v) for k, v in value.items()} if isinstance(value, dict) else value


_STRING = "is not a string; write it as a JSON string"
_MESSAGES = {
    "context": _STRING,
    "question": _STRING,
    "answer": _STRING,
    "answerable": "is not true, false or null; write one of these",
    "reference_answer": "is not a string or null; write one of these",
    "required_numbers": 'is not a list of strings; write e.g. ["3,000만원"]',
}


def _field(location: tuple[int | str, ...]) -> str:
    return str(location[0])


def verdict(row: ExternalAnswer) -> AnswerVerdict:
    """Return what the checks find in an answer, and whether it is correct.

    Without a reference, it cannot be judged whether the answer to an answerable question is correct.
    """
    found = check_answer(row.answer, row.context, row.question, _answerable(row))
    correctness = _correctness(row)
    return AnswerVerdict(
        **dict(found),
        correct=correctness.correct,
        problems=correctness.problems,
        cannot_judge=correctness.cannot_judge,
    )


def _answerable(row: ExternalAnswer) -> bool | None:
    if row.answerable is None and row.reference_answer:
        return refusal(row.reference_answer) != "full"
    return row.answerable


def _correctness(row: ExternalAnswer) -> Correctness:
    answerable = _answerable(row)
    if answerable is None:
        return Correctness(correct=None, cannot_judge="the question has no reference answer")
    gold = _gold_chunks(row) if row.reference_answer else ()
    expected = Expected(row.question, answerable, row.reference_answer, row.required_numbers, gold, row.context)
    return assess(row.answer, expected)


def _gold_chunks(row: ExternalAnswer) -> tuple[str, ...]:
    """Return the chunks of the context that the reference rests on.

    These are the chunks of the article that the reference cites, or else the chunk with the most lemmas in common.
    """
    chunks = [chunk for chunk in row.context.split(CHUNK_SEPARATOR) if chunk.strip()]
    reference = row.reference_answer or ""
    cited = {a.article for a in articles(reference) if a.article is not None}
    own = [c for c in chunks if {a.article for a in articles(c[:HEADING_CHARACTERS])[:1]} & cited]
    if own or not chunks:
        return tuple(own)
    words = lemmas(reference)
    return (max(chunks, key=lambda chunk: f_score(lemmas(chunk), words)),)
