"""The retrievers: terms, filters, duplicate chunks, the stored index, dense and hybrid, scores on the sample."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from insurance_rag.chunks import read_chunks, read_questions
from insurance_rag.cli.main import main
from insurance_rag.config import RetrievalConfig
from insurance_rag.core.errors import InvalidInputError, ServerUnavailableError
from insurance_rag.core.records import Chunk, Question, RetrievalResult
from insurance_rag.retrieval import Retriever, bm25_index, build_retriever, measure_retrieval
from insurance_rag.retrieval.base import Scores
from insurance_rag.retrieval.embedders import check_korean, load_embedder
from insurance_rag.retrieval.retrievers.hybrid import HybridRetriever
from insurance_rag.retrieval.tokens import terms


@pytest.fixture(scope="module")
def retriever() -> Retriever:
    return build_retriever("bm25", read_chunks("sample"))


def chunk(chunk_id: str, text: str, company: str = "가나생명", crumbs: str = "") -> Chunk:
    metadata = {"source": "s", "company": company, "breadcrumbs": crumbs, "token_count": 1, "policy_type": "암보험"}
    return Chunk.model_validate({"chunk_id": chunk_id, "text": text, "metadata": metadata})


FEW = [
    chunk("a", "제1조 암진단급여금은 3,000만원을 지급합니다.", crumbs="든든 암보험"),
    chunk("b", "제2조 보험료 납입이 연체되면 계약을 해지합니다.", crumbs="든든 암보험"),
    chunk("c", "제2조  보험료 납입이 연체되면 계약을 해지합니다.", "다라생명", "튼튼 암보험"),
]


def test_terms_join_inflections_and_compounds() -> None:
    first, second = terms(["보험금을 지급합니다.", "지급하는 보험금"])
    assert {"지급", "보험금", "보험", "험금"} <= set(first) & set(second)
    assert terms(["", " \n ", "!!"]) == [[], [], []]


def value(result: RetrievalResult, score: str) -> float:
    found = result.scores[score].value
    assert found is not None
    return found


def test_the_scores_on_the_sample(retriever: Retriever) -> None:
    questions = read_questions("sample")
    figures = measure_retrieval(retriever, questions)
    assert figures.n == 276  # the others have no gold chunk
    assert value(figures, "hit@5") >= 0.90
    assert value(figures, "mrr@10") >= 0.80
    interval = figures.scores["recall@1"].interval
    assert interval is not None
    assert interval[0] < value(figures, "recall@1") < interval[1]
    unfiltered = measure_retrieval(retriever, questions, use_filters=False)
    assert value(unfiltered, "hit@5") >= 0.90


def test_breadcrumbs_name_the_product(retriever: Retriever) -> None:
    hits = retriever.search("새봄 노후 실손의료보험의 목적", k=5)
    assert all(hit.chunk_id.startswith("saebom_senior") for hit in hits[:3])


def test_duplicate_chunks_are_found_once_and_count_as_gold() -> None:
    found = build_retriever("bm25", FEW).search("튼튼 암보험 보험료 연체", k=10)
    assert [hit.chunk_id for hit in found] == ["c", "a"] or [hit.chunk_id for hit in found] == ["c"]
    assert found[0].duplicates == ("b",)
    assert found[0].is_any_of(["b"])


def test_filters_choose_the_product_of_a_duplicate_chunk() -> None:
    few = build_retriever("bm25", FEW)
    (hit,) = few.search("튼튼 암보험 보험료 연체", k=10, filters={"company": "다라생명"})
    assert hit.chunk_id == "c"
    assert few.search("튼튼 암보험 보험료 연체", k=1, filters={"company": "가나생명"})[0].chunk_id == "b"
    assert few.search("보험료", filters={"company": "없는회사"}) == []
    assert few.search_many(["보험료", "암진단급여금"], k=1)[1][0].chunk_id == "a"


@pytest.mark.parametrize("query", ["", "   ", "zzz qqq", "\x00", "?" * 5000])
def test_a_query_without_a_known_term_finds_nothing(query: str) -> None:
    assert build_retriever("bm25", FEW).search(query) == []


def test_the_index_is_stored_under_the_hash_of_the_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build_retriever("bm25", FEW, tmp_path).search("보험료 연체")
    (folder,) = tmp_path.iterdir()
    monkeypatch.setattr(bm25_index.Bm25Index, "build", None)  # a second build would fail
    assert build_retriever("bm25", FEW, tmp_path).search("보험료 연체") == first
    monkeypatch.undo()
    next(folder.glob("params*")).write_text("{")
    assert build_retriever("bm25", FEW, tmp_path).search("보험료 연체") == first  # a damaged index is built again
    build_retriever("bm25", [*FEW, chunk("d", "제9조 새 조항입니다.")], tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_cache_that_cannot_be_written_is_ignored(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert build_retriever("bm25", FEW, blocked).search("암진단급여금", k=1)[0].chunk_id == "a"


class Embeddings(BaseHTTPRequestHandler):
    """An embeddings API. The model `korean` counts character bigrams, `english` sees only the length of a text."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        rows = [{"index": i, "embedding": embed(body["model"], text)} for i, text in enumerate(body["input"])]
        payload = json.dumps({"data": rows[::-1]}).encode()
        self.send_response(200 if body["model"] != "broken" else 500)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_: object) -> None: ...


SYNONYMS = {
    "며칠": "영업일",
    "무를": "철회",
    "술": "음주",
    "누가": "의사",
    "못": "연체",
    "임신해서": "임신",
    "운전": "운전사고",
}


def embed(model: str, text: str) -> list[float]:
    if model == "english":
        return [1.0, 1.0, len(text) / 1000]
    vector = np.zeros(256)
    for word, meaning in SYNONYMS.items():
        text = text.replace(word, f"{word} {meaning * 3}")
    for i in range(len(text) - 1):
        vector[hash_of(text[i : i + 2])] += 1
    return (vector + 1e-6).tolist()


def hash_of(text: str) -> int:
    return sum(ord(c) * 31**i for i, c in enumerate(text)) % 256


@pytest.fixture(scope="module")
def embeddings() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Embeddings)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.mark.parametrize("kind", ["dense", "hybrid"])
def test_dense_and_hybrid_over_an_embeddings_api(embeddings: str, tmp_path: Path, kind: str) -> None:
    config = RetrievalConfig(embedder=f"openai:korean@{embeddings}")
    found = build_retriever(kind, FEW, tmp_path, config).search("암진단급여금 3,000만원", k=2)
    assert found[0].chunk_id == "a"
    assert build_retriever(kind, FEW, tmp_path, config).search("암진단급여금 3,000만원", k=2) == found


def test_an_embedder_that_does_not_understand_korean_is_rejected(embeddings: str) -> None:
    with pytest.raises(InvalidInputError, match="does not understand Korean"):
        build_retriever("dense", FEW, None, RetrievalConfig(embedder=f"openai:english@{embeddings}"))
    check_korean(load_embedder(f"openai:korean@{embeddings}"), "korean")
    with pytest.raises(ServerUnavailableError, match="failed \\(500\\)"):
        load_embedder(f"openai:broken@{embeddings}").passages(["x"])


@pytest.mark.parametrize(
    ("kind", "embedder", "message"),
    [
        ("dense", None, "needs an embedder"),
        ("dense", "word2vec", "use sentence-transformers:NAME"),
        ("dense", "sentence-transformers:BAAI/bge-m3", r"pip install 'insurance-rag\[dense\]'|cannot be loaded"),
        ("sparse", None, "unknown retriever 'sparse'; .*available: bm25, dense, hybrid"),
    ],
)
def test_an_unavailable_retriever_is_named(kind: str, embedder: str | None, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        build_retriever(kind, FEW, None, RetrievalConfig(embedder=embedder))


def test_fusion_adds_ranks_by_weight() -> None:
    class Fixed(Retriever):
        def __init__(self, values: list[float]) -> None:
            super().__init__(FEW)
            self.values = np.array(values, dtype=np.float32)

        def scores(self, query: str) -> Scores:
            return self.values

    lexical, dense = Fixed([3, 2, -np.inf]), Fixed([0.1, 0.2, 0.3])
    even = HybridRetriever(lexical, dense, RetrievalConfig(rrf_constant=1)).scores("")
    assert even == pytest.approx([0.5 / 2 + 0.5 / 4, 0.5 / 3 + 0.5 / 3, 0.5 / 2])
    lexical_only = HybridRetriever(lexical, dense, RetrievalConfig(dense_weight=0)).scores("")
    assert lexical_only[2] == -np.inf


def test_the_command_writes_the_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chunks, questions, out = tmp_path / "c.jsonl", tmp_path / "q.jsonl", tmp_path / "r.json"
    chunks.write_text("\n".join(c.model_dump_json() for c in FEW))
    asked = {"question_id": "q", "question": "보험료 연체", "type": "fact", "answerable": True, "gold_chunk_ids": ["b"]}
    questions.write_text(Question.model_validate(asked).model_dump_json())
    arguments = ["retrieve", "--chunks", str(chunks), "--questions", str(questions), "--json"]
    assert main([*arguments, "--out", str(out)]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["scores"]["hit@1"] == {"value": 1.0, "interval": [1.0, 1.0]}
    assert json.loads(out.read_text())["rows"][0]["rank"] == 1
    assert main([*arguments, "--set", "dense_wieght=1"]) == 2


def test_without_gold_chunks_the_scores_are_none_and_never_nan(retriever: Retriever) -> None:
    figures = measure_retrieval(retriever, [])
    assert (figures.n, figures.scores["mrr@10"].value) == (0, None)
