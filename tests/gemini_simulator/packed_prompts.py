"""Prompts and schemas of requests about several chunks, in the form that the generation stage sends."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from gemini_simulator import RunningSimulator
from gemini_simulator.json_types import JsonObject
from gemini_simulator.parsed_request import ParsedRequest
from insurance_rag.core.records import Chunk
from insurance_rag.korean.sentences import sentences

TYPES = ("fact", "scenario", "easy")
REPAIR = "### 다시 작성\n아래 문항은 잘못 쓴 항목만 모은 것입니다.\n\n"
PARAPHRASE = "### 바꿔 쓰기\n자기 말로 풀어 씁니다.\n\n"
URL = "v1beta/models/gemini-3.5-flash-lite:generateContent"


@dataclass(frozen=True)
class SentItem:
    """One item of an answer."""

    chunk: str
    type: str
    evidence: list[int]
    question: str
    answer: str


def marked(text: str) -> str:
    """Insert `[k] ` before each sentence."""
    for number, span in reversed(list(enumerate(sentences(text), 1))):
        text = f"{text[: span.start]}[{number}] {text[span.start :]}"
    return text


def packed_prompt(chunks: Sequence[Chunk], heading: str = "", types: Sequence[str] = TYPES) -> str:
    """Return a prompt that asks for pairs of these types about each chunk, with the ids C1, C2, ..."""
    pairs = "\n".join(f"- {name}: 60대 은퇴자, 편한 구어체\n  이전 질문: - 무엇인가요?" for name in types)
    sections = []
    for n, chunk in enumerate(chunks, 1):
        product, *path = chunk.metadata.breadcrumbs.split(" > ")
        head = f"### 조항 C{n}\n상품: {product}\n위치: {' > '.join(path)}\n문항:\n{pairs}"
        sections.append(f"{head}\n### 보험 약관 내용\n{marked(chunk.text)}\n")
    head = "### 지시\n조항마다 씁니다.\n[유형]\n- fact: 사실을 묻는 질문\n- easy: 쉬운 질문\n\n"
    return head + heading + "\n".join(sections)


def packed_schema(chunks: int, types: Sequence[str] = TYPES, quotes: bool = False) -> JsonObject:
    """Return the schema of an answer about this number of chunks. With `quotes`, the evidence is a string."""
    evidence: JsonObject = {"type": "string"} if quotes else {"type": "array", "items": {"type": "integer"}}
    properties: JsonObject = {
        "answer": {"type": "string"},
        "question": {"type": "string"},
        "chunk": {"type": "string", "enum": [f"C{n}" for n in range(1, chunks + 1)]},
        "type": {"type": "string", "enum": list(types)},
        "evidence": evidence,
    }
    ordering: JsonObject = {"propertyOrdering": ["chunk", "type", "evidence", "question", "answer"]}
    return {"type": "array", "items": {"type": "object", **ordering, "properties": properties}}


def packed_request(
    chunks: Sequence[Chunk], heading: str = "", types: Sequence[str] = TYPES, quotes: bool = False
) -> ParsedRequest:
    return ParsedRequest(packed_prompt(chunks, heading, types), packed_schema(len(chunks), types, quotes))


def send(
    sim: RunningSimulator,
    chunks: Sequence[Chunk],
    heading: str = "",
    url: str = URL,
    quotes: bool = False,
    types: Sequence[str] = TYPES,
    **options: object,
) -> httpx.Response:
    """Send a packed request in Gemini's format. `options` are fields of generationConfig."""
    config = {"responseMimeType": "application/json", "responseSchema": packed_schema(len(chunks), types, quotes)}
    body = {
        "contents": [{"role": "user", "parts": [{"text": packed_prompt(chunks, heading, types)}]}],
        "generationConfig": {**config, **options},
    }
    return httpx.post(f"{sim.url}/{url}", json=body, headers={"x-goog-api-key": "k1"}, timeout=30)


def finish_reason(response: httpx.Response) -> str:
    reason: str = response.json()["candidates"][0]["finishReason"]
    return reason


def items_of(text: str) -> list[SentItem]:
    """Parse an answer. Fields that an item lacks become empty."""
    defaults = {"chunk": "", "type": "", "evidence": [], "question": "", "answer": ""}
    return [SentItem(**{**defaults, **item}) for item in json.loads(text)]


def sent_items(response: httpx.Response) -> list[SentItem]:
    return items_of(response.json()["candidates"][0]["content"]["parts"][0]["text"])
