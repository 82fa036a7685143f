"""The reranker: better hits, cached scores, warnings if it makes hits worse, and models that cannot be used."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tests.retrieval.tiny_models import Pair, save_embedder, save_reranker

from insurance_rag.cli.main import main
from insurance_rag.config import RetrievalConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.records import Chunk, Question
from insurance_rag.retrieval import build_retriever, measure_retrieval, reranking

RIGHT: list[Pair] = [
    ("가입을 무르고 싶어요 보험 돈 안내", "제1조 보험 청약의 철회 계약자는 15일 안에 철회합니다."),
    ("술 마시고 사고 내면 보험 돈 안내", "제2조 보험 음주운전 사고부담금을 납입합니다."),
    ("못 내면 어떻게 보험 돈 안내", "제3조 보험 납입 연체로 계약을 해지합니다."),
    ("의사 말고 누가 보험 돈 안내", "제4조 보험 진단확정은 병리 전문의가 합니다."),
    ("아기 낳을 때 보험 돈 안내", "제5조 보험 출산 의료비는 보상하지 않습니다."),
    ("언제까지 달라고 보험 돈 안내", "제6조 보험 청구권의 소멸시효는 3년입니다."),
]
"""Questions in everyday words, and their chunks, which have almost none of these words."""
DECOYS = [f"제{n}조 보험 돈 안내 {topic} 보험 돈 안내" for n, topic in enumerate(("첫째", "둘째", "셋째", "넷째"), 7)]
"""Chunks that share several words with every question."""


def chunk(chunk_id: str, text: str) -> Chunk:
    metadata = {"source": "s", "company": "가나생명", "breadcrumbs": "", "token_count": 1, "policy_type": "암보험"}
    return Chunk.model_validate({"chunk_id": chunk_id, "text": text, "metadata": metadata})


CHUNKS = [
    *(chunk(f"c{n}", text) for n, (_, text) in enumerate(RIGHT)),
    *(chunk(f"d{n}", text) for n, text in enumerate(DECOYS)),
]
QUESTIONS = [
    Question(question_id=f"q{n}", question=text, type="easy", answerable=True, gold_chunk_ids=[f"c{n}"])
    for n, (text, _) in enumerate(RIGHT)
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_reranker(tmp_path_factory.mktemp("models") / "trained", RIGHT, DECOYS, steps=150)


@pytest.fixture(scope="module")
def misled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reranker that prefers the wrong chunks."""
    wrong = [(question, DECOYS[n % len(DECOYS)]) for n, (question, _) in enumerate(RIGHT)]
    return save_reranker(tmp_path_factory.mktemp("models") / "misled", wrong, [p for _, p in RIGHT], steps=60)


def config(model: Path, **settings: object) -> RetrievalConfig:
    return RetrievalConfig.parse({"reranker": str(model), "device": "cpu", **settings})


def test_a_reranker_finds_chunks_in_other_words_than_the_question(trained: Path) -> None:
    measured = measure_retrieval(build_retriever("bm25", CHUNKS, None, config(trained)), QUESTIONS)
    without = measured.parts["without reranker"]["hit@3"].value
    assert measured.scores["hit@3"].value == 1.0
    assert without is not None and without < 0.5
    assert measured.warnings == [] and measured.summary.parts == measured.parts


def test_only_the_first_hits_are_sorted_and_filters_still_apply(trained: Path) -> None:
    reranked = build_retriever("bm25", CHUNKS, None, config(trained, rerank_depth=2))
    plain = build_retriever("bm25", CHUNKS).search(QUESTIONS[0].question, k=2)
    assert {hit.chunk_id for hit in reranked.search(QUESTIONS[0].question, k=2)} == {hit.chunk_id for hit in plain}
    assert reranked.search(QUESTIONS[0].question, filters={"company": "없는회사"}) == []


def test_a_reranker_that_makes_hits_worse_is_reported_with_figures(
    misled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chunks, questions = tmp_path / "c.jsonl", tmp_path / "q.jsonl"
    chunks.write_text("\n".join(c.model_dump_json() for c in CHUNKS))
    # Each question also has the words of its chunk, so that BM25 finds all chunks.
    easy = [q.model_copy(update={"question": f"{q.question} {RIGHT[n][1]}"}) for n, q in enumerate(QUESTIONS)]
    questions.write_text("\n".join(q.model_dump_json() for q in easy))
    command = ["retrieve", "--chunks", str(chunks), "--questions", str(questions), "--json"]
    assert main([*command, "--set", f"reranker={misled}", "--set", "device=cpu"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    (warning,) = figures["warnings"]
    assert warning.startswith("hit@3 of 6 questions: bm25 with reranker 0.")
    assert "without reranker 1.00" in warning and warning.endswith("leave out the reranker, or use another one")
    assert figures["scores"]["hit@3"]["value"] < figures["parts"]["without reranker"]["hit@3"]["value"]


def test_scores_are_stored_until_the_weights_change(
    trained: Path, misled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, cache, question = tmp_path / "model", tmp_path / "cache", QUESTIONS[0].question
    copy(trained, model)
    first = build_retriever("bm25", CHUNKS, cache, config(model)).search(question)
    monkeypatch.setattr(reranking, "load_cross_encoder", None)  # loading the model again would fail
    assert build_retriever("bm25", CHUNKS, cache, config(model)).search(question) == first
    monkeypatch.undo()
    copy(misled, model)
    assert build_retriever("bm25", CHUNKS, cache, config(model)).search(question) != first
    assert len(list(cache.glob("rerank-*.jsonl"))) == 2


def copy(model: Path, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for file in model.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())


def test_models_that_cannot_rerank_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = save_embedder(tmp_path / "embedder", DECOYS)
    with pytest.raises(InvalidInputError, match=r"without a score \(BertModel\), not a cross-encoder"):
        build_retriever("bm25", CHUNKS, None, config(embedder))
    with pytest.raises(InvalidInputError, match="missing: cannot be loaded"):
        build_retriever("bm25", CHUNKS, None, config(tmp_path / "missing"))
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    for settings in ({"reranker": "any"}, {"embedder": "sentence-transformers:any"}):
        with pytest.raises(InvalidInputError, match=r"pip install 'insurance-rag\[dense\]'"):
            build_retriever("dense" if "embedder" in settings else "bm25", CHUNKS, None, RetrievalConfig(**settings))
