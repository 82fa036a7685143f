"""One target per parser of outside data: a strategy for damaged input, and the function that reads it."""

from __future__ import annotations

import argparse
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from pydantic import SecretStr
from tests.fuzz.strategies import encoded, json_files, jsonl_files, mutated_bytes, mutated_json
from tests.generation.runs import chunks, keys
from tests.review.test_exchange import items
from tests.validation.helpers import SETTINGS, row

from insurance_rag.chunks import SAMPLE_CHUNKS, SAMPLE_QUESTIONS, read_chunks, read_questions
from insurance_rag.config import GenerationConfig, PromotionConfig, RunConfig, TrainingConfig, ValidationConfig
from insurance_rag.config.ingest import IngestConfig
from insurance_rag.core.config_base import Config, parse_settings
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.generation.parse import parse_answer, parse_labelled
from insurance_rag.generation.prompt import ChunkRequest
from insurance_rag.generation.teachers.base import TeacherRequest
from insurance_rag.generation.teachers.http_teacher import to_answer
from insurance_rag.ingest.ingest import ingest_documents
from insurance_rag.ingest.sources import read_settings
from insurance_rag.llm import gemini, openai
from insurance_rag.llm.client import Client, Response
from insurance_rag.orchestration.form_values import run_settings
from insurance_rag.planning import load_keys, make_plan, read_plan
from insurance_rag.planning.question_plan import PlannedPair
from insurance_rag.promotion.policy import DEFAULT_POLICY, load_policy
from insurance_rag.review.exchange import export_items, import_decisions
from insurance_rag.review.store import ReviewStore
from insurance_rag.training.recipe import RECIPE_FOLDER, load_recipe
from insurance_rag.validation.validate import validate_parts


@dataclass(frozen=True)
class Target:
    """A parser. `parse` reads the data in an empty folder, where it may write only if it succeeds."""

    name: str
    inputs: st.SearchStrategy[bytes]
    parse: Callable[[bytes, Path], object]
    cost: int = 1
    """How many times slower than a simple parser it is."""


def _saved(data: bytes, folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


# ---- files with records


def _sample(path: Path, n: int = 2) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[:n]]


KEYS = [
    {"id": "k1", "key": "secret-1", "project": "p", "rpm": 10, "tpm": 1000, "rpd": 100},
    {"id": "k2", "key": "secret-2", "project": "p", "rpm": 10},
]
ANSWERS = [
    {"context": "제7조(지급)\n90일이 지난 때 3,000만원을 지급합니다.", "question": "얼마?", "answer": "3,000만원."},
    {"context": "제7조", "question": "며칠?", "answer": "", "answerable": True, "reference_answer": "90일입니다.",
     "required_numbers": ["90일"]},
]  # fmt: skip


def _check_answers(data: bytes, folder: Path) -> object:
    from insurance_rag.cli.check import run

    return run(argparse.Namespace(answers=_saved(data, folder, "answers.jsonl"), out=folder / "out.jsonl"))


def _validate(data: bytes, folder: Path) -> object:
    part = _saved(data, folder, "dataset_part_1.json")
    rules = tuple(name for name in SETTINGS.rules if name != "not_retrieved")
    dataset = SETTINGS.dataset.model_copy(update={"parquet": False})
    return validate_parts(
        [part], None, folder / "out", SETTINGS.model_copy(update={"rules": rules, "dataset": dataset})
    )


def _part_bytes(rows: list[Any]) -> bytes:
    return b"[\n" + b",\n".join(encoded(each) for each in rows) + b"\n]\n"


@cache
def _plan() -> Any:
    return make_plan(chunks(4), keys(2), GenerationConfig()).model_dump(mode="json")


def _read_plan(data: bytes, folder: Path) -> object:
    run = RunFolder(folder / "run").create()
    run.plan.write_bytes(data)
    plan = read_plan(run)
    return [plan.shard(shard.shard) for shard in plan.shards]


# ---- answers of servers

REQUESTS = [ChunkRequest(chunk, (PlannedPair("fact"), PlannedPair("easy"))) for chunk in chunks(2)]
PAIRS = [{"chunk": "C1", "type": "fact", "evidence": [2], "question": "얼마인가요?", "answer": "1만원입니다."}]
GEMINI = [
    {
        "candidates": [{"content": {"parts": [{"text": json.dumps(PAIRS)}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 4, "thoughtsTokenCount": 1},
        "modelVersion": "gemini-3.5-flash",
    },
    {"promptFeedback": {"blockReason": "SAFETY"}},
    {
        "error": {
            "code": 429,
            "message": "quota",
            "status": "RESOURCE_EXHAUSTED",
            "details": [
                {"@type": "QuotaFailure", "violations": [{"quotaId": "PerMinute", "quotaValue": "10"}]},
                {"@type": "RetryInfo", "retryDelay": "42.5s"},
            ],
        }
    },
]
OPENAI = [
    {
        "choices": [{"message": {"content": json.dumps(PAIRS)}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 4},
        "model": "m",
    },
    {"error": {"message": "no credit", "code": "insufficient_quota"}},
]


@cache
def _client() -> Client:
    return Client("http://127.0.0.1:9", SecretStr("secret"), {}, 1.0)


def _read_response(api: Any, data: bytes, folder: Path) -> object:
    """Read a body as the body of an answer, and as that of every kind of error."""
    import httpx

    from insurance_rag.llm.client import _decode

    body = _decode(httpx.Response(200, content=data)).body
    headers = {"retry-after": data[:20].decode("latin-1")}
    for status in (400, 403, 429, 500):
        error = api.read_error(_client(), Response(status, body, headers))
        assert "secret" not in str(error)
    return to_answer(api.read_completion(body), TeacherRequest(tuple(REQUESTS))) if isinstance(body, dict) else None


def _parse_answer(data: bytes, folder: Path) -> object:
    return parse_answer(data.decode("utf-8", "replace"), REQUESTS).pairs


def _parse_labelled(data: bytes, folder: Path) -> object:
    return parse_labelled(data.decode("utf-8", "replace"))


# ---- settings

SETTING_TEXTS = [b"max_steps=20", b"lora.r=8", b"rules=[malformed, cut_off]", b"seed=1", b"dataset.caps={product: 0.3}",
                 b"learning_rate=1e-4", b"target_modules=all-linear", b"limits={correct: 0.5}"]  # fmt: skip
CONFIGS: tuple[type[Config], ...] = (TrainingConfig, ValidationConfig, PromotionConfig, RunConfig, GenerationConfig)
FORM = [
    {"generation.model": "gemini-3.5-flash", "keys": "a, b", "generation.types": ["fact"], "adapters": "v2: /path"},
    {"generation": {"model": "m"}, "evaluation": {"judge": "m@http://127.0.0.1:1/v1"}, "validation.min_korean": 0.5},
]


def _settings(data: bytes, folder: Path) -> object:
    values = parse_settings([data.decode("utf-8", "replace"), "seed=1"])
    return [_parsed(config, values) for config in CONFIGS]


def _parsed(config: type[Config], values: dict[str, Any]) -> object:
    from insurance_rag.core.errors import InvalidInputError

    try:
        return config.parse(values)
    except InvalidInputError as e:
        return str(e)


def _form(data: bytes, folder: Path) -> object:
    from insurance_rag.orchestration.allowed_hosts import check_addresses

    given = json.loads(data)
    if not isinstance(given, dict):
        return None
    config = RunConfig.parse(run_settings(given, {"chunks": "sample"}), "parameters")
    check_addresses(config)
    return config


# ---- decisions of reviewers


def _import(name: str, data: bytes, folder: Path) -> object:
    store = ReviewStore(folder / "reviews", "row")
    return import_decisions(data, name, items(), store, "kim")


@cache
def _exported(form: Any) -> bytes:
    content = export_items(items(), ReviewStore(Path("/nonexistent"), "row"), form)
    return content.replace(b'"key0","0"', b'"key0","0"').replace(b'"","",', b'"reject","why",', 1)


ARGILLA = [
    {"id": f"key{n}", "metadata": {"version": 0}, "suggestions": {}, "responses": responses}
    for n, responses in enumerate([
        {"action": [{"value": "reject"}], "reason": [{"value": "틀림"}]},
        {"action": [{"value": "edit"}], "edited_answer": [{"value": "고친 답변입니다."}]},
    ])
]  # fmt: skip


# ---- documents

ARTICLES = "".join(
    f"제{n}조(보험금의 지급)\n① 회사는 제{n}급 상해에 {n}백만원을 지급합니다.\n1. 진단서\n가. 사본\n"
    f"② 청구는 {n}일 안에 합니다.\n\n"
    for n in range(1, 5)
)
TABLE = "<table><tr><th>급수</th><th colspan=2>금액</th></tr><tr><td rowspan=2>1급</td><td>10만원</td></tr></table>"


def _html() -> bytes:
    body = "".join(f"<h2>{line}</h2>" if line.startswith("제") else f"<p>{line}</p>" for line in ARTICLES.split("\n"))
    return (
        f"<html><head><meta charset=utf-8></head><body>{body}{TABLE}<ol start=3><li>가</li></ol></body></html>".encode()
    )


def _docx() -> bytes:
    import docx

    word, buffer = docx.Document(), io.BytesIO()
    for line in ARTICLES.split("\n"):
        word.add_paragraph(line)
    table = word.add_table(2, 2)
    table.cell(0, 0).text = "급수"
    word.save(buffer)
    return buffer.getvalue()


def _hwpx() -> bytes:
    paragraphs = "".join(f"<hp:p><hp:run><hp:t>{line}</hp:t></hp:run></hp:p>" for line in ARTICLES.split("\n"))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("mimetype", "application/hwp+zip")
        archive.writestr("Contents/section0.xml", f'<hs:sec xmlns:hs="s" xmlns:hp="p">{paragraphs}</hs:sec>')
    return buffer.getvalue()


def _pdf() -> bytes:
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont
    from reportlab.pdfgen.canvas import Canvas

    pdfmetrics.registerFont(UnicodeCIDFont("HYSMyeongJo-Medium"))
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pageCompression=0)
    canvas.setFont("HYSMyeongJo-Medium", 10)
    for n, line in enumerate(ARTICLES.split("\n")):
        canvas.drawString(80, 780 - 14 * n, line)
    canvas.rect(70, 100, 200, 50)
    canvas.save()
    return buffer.getvalue()


@st.composite
def _damaged_zip(draw: st.DrawFn, seed: bytes) -> bytes:
    """Return the archive with one file damaged inside, or damaged as a whole."""
    if draw(st.integers(0, 3)) == 0:
        return draw(mutated_bytes([seed]))
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(seed)) as source:
        names = source.namelist()
        chosen = draw(st.sampled_from([n for n in names if n.endswith((".xml", ".rels"))]))
        with zipfile.ZipFile(buffer, "w") as archive:
            for name in names:
                content = source.read(name)
                archive.writestr(name, draw(mutated_bytes([content])) if name == chosen else content)
    return buffer.getvalue()


def _ingest(suffix: str, data: bytes, folder: Path) -> object:
    document = _saved(data, folder, f"policy.{suffix}")
    return ingest_documents([document], folder / "out" / "chunks.jsonl", IngestConfig(page_pictures=False))


def _yaml(path: Path) -> bytes:
    return path.read_bytes()


def _read_file(read: Callable[[Path], object], name: str) -> Callable[[bytes, Path], object]:
    return lambda data, folder: read(_saved(data, folder, name))


def targets() -> Iterator[Target]:
    """Yield all targets."""
    yield Target("chunks", jsonl_files(_sample(SAMPLE_CHUNKS)), _read_file(read_chunks, "c.jsonl"))
    yield Target("questions", jsonl_files(_sample(SAMPLE_QUESTIONS)), _read_file(read_questions, "q.jsonl"))
    yield Target("keys", json_files([KEYS]), _read_file(load_keys, "keys.json"))
    rows = [row(1), row(2)]
    parts = st.one_of(json_files([rows]), jsonl_files(rows), st.lists(mutated_json(rows), max_size=3).map(_part_bytes))
    yield Target("parts", parts, _validate, cost=20)
    yield Target("plan", json_files([_plan()]), _read_plan)
    yield Target("answers", jsonl_files(ANSWERS), _check_answers, cost=5)
    yield Target("gemini bodies", json_files(GEMINI), partial(_read_response, gemini))
    yield Target("openai bodies", json_files(OPENAI), partial(_read_response, openai))
    yield Target("teacher's JSON", json_files([PAIRS]), _parse_answer)
    yield Target("teacher's text", mutated_bytes(["질문: 얼마인가요?\n답변: 1만원입니다.\n".encode()]), _parse_labelled)
    yield Target("--set", mutated_bytes(SETTING_TEXTS), _settings, cost=2)
    recipes = [_yaml(path) for path in sorted(RECIPE_FOLDER.glob("*.yaml"))]
    yield Target("recipe", mutated_bytes(recipes), _read_file(load_recipe, "recipe.yaml"), cost=5)
    yield Target("policy", mutated_bytes([_yaml(DEFAULT_POLICY)]), _read_file(load_policy, "policy.yaml"), cost=5)
    yield Target("form", mutated_json(FORM).map(lambda value: json.dumps(value).encode()), _form, cost=2)
    yield Target("reviews.csv", mutated_bytes([_exported("csv")]), partial(_import, "r.csv"))
    argilla = st.one_of(jsonl_files(ARGILLA), json_files([ARGILLA]))
    yield Target("reviews.jsonl", argilla, partial(_import, "r.jsonl"))
    settings = b"policy.txt: {company: A, product: B, policy_type: C, id: d}\n"
    yield Target("documents.yaml", mutated_bytes([settings]), _read_file(read_settings, "documents.yaml"))
    for suffix, seed in (("txt", ARTICLES.encode()), ("md", f"# 약관\n\n{ARTICLES}".encode()), ("html", _html())):
        yield Target(f"ingest {suffix}", mutated_bytes([seed]), partial(_ingest, suffix), cost=10)
    for suffix, seed in (("docx", _docx()), ("hwpx", _hwpx())):
        yield Target(f"ingest {suffix}", _damaged_zip(seed), partial(_ingest, suffix), cost=10)
    yield Target("ingest pdf", mutated_bytes([_pdf()]), partial(_ingest, "pdf"), cost=10)
