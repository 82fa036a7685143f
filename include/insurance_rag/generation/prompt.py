"""Build the prompt for one or several chunks, and the JSON schema for the answer.

A prompt consists of the head, which has the instructions, and one section per chunk. A section lists the requested
pairs and shows the chunk's text with numbered sentences.

Text of documents is data, not part of the instructions: it cannot begin a section of the prompt or contain tokens of a
chat template (`as_quoted_data`), and the head says that orders in it are not to be followed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import get_args

from pydantic import JsonValue

from insurance_rag.chunks.headings import product_name, section_path
from insurance_rag.core.records import REFUSAL, Chunk, QuestionType
from insurance_rag.korean.injection import as_quoted_data
from insurance_rag.korean.numbered import number_sentences
from insurance_rag.planning.prompt_spec import (
    PARAPHRASE_PROMPT,
    REPAIR_PROMPT,
    PromptSpec,
    read_prompt,
)
from insurance_rag.planning.question_plan import PlannedPair

TYPE_DESCRIPTIONS: dict[QuestionType, str] = {
    "fact": "금액, 기간, 조건처럼 조항에 적힌 사실을 묻는 질문",
    "scenario": "고객이 자기 상황을 구체적으로 말하고 어떻게 되는지 묻는 질문",
    "easy": "보험을 잘 모르는 사람이 쉬운 말로 묻는 질문. 답변도 쉬운 말로 씁니다",
    "unanswerable": (
        f"조항과 같은 주제이지만 조항에 없는 구체적인 내용을 묻는 질문. 답변은 정확히 '{REFUSAL}.', 근거는 비웁니다"
    ),
}
"""Question type -> its description in the prompt. The prompt contains only the types that it asks for."""
PAIR_FIELDS = ("chunk", "type", "evidence", "question", "answer")
"""Fields of a pair, in the order in which the teacher writes them. The evidence precedes what is based on it."""


@dataclass(frozen=True)
class ChunkRequest:
    """What one call asks about one chunk."""

    chunk: Chunk
    pairs: tuple[PlannedPair, ...]
    """The requested pairs. In a repair request, `note` describes the fault and may have several lines."""
    other: Chunk | None = None
    """The chunk that pairs of the form `two_chunks` need in addition."""

    @property
    def checked_chunk(self) -> Chunk:
        """The chunk that the pairs are checked against. It includes the text of the other chunk."""
        if self.other is None:
            return self.chunk
        return self.chunk.model_copy(update={"text": f"{self.chunk.text}\n\n{self.other.text}"})


def request_id(n: int) -> str:
    """Return the id of the n-th chunk in a call, counted from 0: `C1` for the first one."""
    return f"C{n + 1}"


def render(
    spec: PromptSpec, requests: Sequence[ChunkRequest], *, repair: bool = False, paraphrase: bool = False
) -> str:
    """Return the prompt for one call.

    With `repair`, the prompt says that only the listed pairs are to be written again. With `paraphrase`, it asks for
    answers in other words than the chunk's. Raises InvalidInputError if the prompt file has no section.
    """
    head, section = spec.head_and_section
    wanted = {pair.type for request in requests for pair in request.pairs}
    parts = [fill(head, {"types": "\n".join(_type_line(kind) for kind in _ordered(wanted))})]
    parts += [read_prompt(REPAIR_PROMPT)] if repair else []
    parts += [read_prompt(PARAPHRASE_PROMPT)] if paraphrase else []
    parts += [_render_section(section, request_id(n), request) for n, request in enumerate(requests)]
    return "\n\n".join(parts) + "\n"


def render_local(spec: PromptSpec, chunk: Chunk, kind: QuestionType) -> str:
    """Return the prompt that asks for one pair of type `kind` as plain text."""
    values = {"types": _type_line(kind), "product": _label(product_name(chunk)), "clause": as_quoted_data(chunk.text)}
    return fill(spec.template, values)


def answer_schema(requests: Sequence[ChunkRequest]) -> dict[str, JsonValue]:
    """Return the JSON schema for the answer to one call: a flat array of pairs.

    `propertyOrdering` is Gemini's extension: without it, Gemini may write the fields in alphabetical order.
    """
    pairs = [pair for request in requests for pair in request.pairs]
    properties: dict[str, JsonValue] = {
        "chunk": {"type": "string", "enum": [request_id(n) for n in range(len(requests))]},
        "type": {"type": "string", "enum": [*_ordered({pair.type for pair in pairs})]},
        "evidence": {"type": "array", "items": {"type": "integer"}},
        "question": {"type": "string"},
        "answer": {"type": "string"},
    }
    pair_schema: dict[str, JsonValue] = {
        "type": "object",
        "propertyOrdering": [*PAIR_FIELDS],
        "properties": properties,
        "required": [*PAIR_FIELDS],
    }
    return {"type": "array", "minItems": len(requests), "maxItems": len(pairs), "items": pair_schema}


def fill(template: str, values: dict[str, str]) -> str:
    """Replace each `{name}` in `template` with its value. Unknown names and braces inside values are kept."""
    return re.sub(r"\{(\w+)\}", lambda m: values.get(m[1], m[0]), template)


def _ordered(types: Collection[QuestionType]) -> list[QuestionType]:
    return [kind for kind in get_args(QuestionType) if kind in types]


def _type_line(kind: QuestionType) -> str:
    return f"- {kind}: {TYPE_DESCRIPTIONS[kind]}"


def _render_section(template: str, chunk_id: str, request: ChunkRequest) -> str:
    values = {
        "id": chunk_id,
        "product": _label(product_name(request.chunk)),
        "section": _label(section_path(request.chunk)),
        "items": "\n".join(_item_line(pair) for pair in request.pairs),
        "clause": as_quoted_data(number_sentences(request.chunk.text)),
    }
    lines = [line for line in template.split("\n") if values["section"] or "{section}" not in line]
    section = fill("\n".join(lines), values)
    if request.other is None:
        return section
    return f"{section}\n### 함께 볼 조항\n{as_quoted_data(request.other.text)}"


def _label(text: str) -> str:
    """Return a heading of a document on one line, so that it cannot add lines to the prompt."""
    return as_quoted_data(" ".join(text.split()))


def _item_line(pair: PlannedPair) -> str:
    """Return the line for one pair. Further lines of its note are indented, so that they do not look like pairs."""
    note = "\n  ".join(line.strip() for line in as_quoted_data(pair.note.strip()).split("\n"))
    return f"- {pair.type}: {note}".rstrip()
