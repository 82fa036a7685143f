"""Dense and hybrid retrieval: prefixes, the cache of vectors, and the comparison of a mix with its halves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.retrieval.tiny_models import save_embedder

from insurance_rag.chunks import read_chunks, read_questions
from insurance_rag.cli.main import main
from insurance_rag.config import RetrievalConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.records import Chunk
from insurance_rag.retrieval import Hit, build_retriever, embedders, measure_retrieval
from insurance_rag.retrieval.embedders import KOREAN_PAIRS, load_embedder, model_prefixes


def chunk(chunk_id: str, text: str) -> Chunk:
    metadata = {"source": "s", "company": "가나생명", "breadcrumbs": "", "token_count": 1, "policy_type": "암보험"}
    return Chunk.model_validate({"chunk_id": chunk_id, "text": text, "metadata": metadata})


FEW = [chunk(f"c{n}", answer) for n, (_, answer) in enumerate(KOREAN_PAIRS)]


@pytest.mark.parametrize(
    ("name", "prompts", "expected"),
    [
        ("nlpai-lab/KoE5", {}, ("query: ", "passage: ")),
        ("/models/multilingual-e5-large/", {"query": "", "document": ""}, ("query: ", "passage: ")),
        ("dragonkue/multilingual-e5-small-ko", None, ("query: ", "passage: ")),
        ("any", {"query": "Q ", "document": "D "}, ("Q ", "D ")),
        ("any-e5", {"query": "search_query: ", "passage": ""}, ("search_query: ", "")),
        ("BAAI/bge-m3", {}, ("", "")),
        ("intfloat/base5", {}, ("", "")),
    ],
)
def test_prefixes_come_from_the_model_or_its_name(
    name: str, prompts: dict[str, str] | None, expected: tuple[str, str]
) -> None:
    assert model_prefixes(name, prompts) == expected


def test_an_instruction_model_gets_an_instruction() -> None:
    query, passage = model_prefixes("intfloat/multilingual-e5-large-instruct")
    assert query.startswith("Instruct: ") and query.endswith("Query: ") and passage == ""


def test_a_folder_uses_its_own_prompts_and_the_configured_ones_first(tmp_path: Path) -> None:
    texts = [text for pair in KOREAN_PAIRS for text in pair] + ["query: passage:"]
    folder = save_embedder(tmp_path / "model", texts, prompts={"query": "query: ", "document": "passage: "})
    name = f"sentence-transformers:{folder}"
    own = load_embedder(name, RetrievalConfig(device="cpu"))
    bare = load_embedder(name, RetrievalConfig(device="cpu", query_prefix="", passage_prefix=""))
    question = KOREAN_PAIRS[0][0]
    assert np.allclose(own.queries([question]), bare.encode([f"query: {question}"]), atol=1e-5)
    assert np.allclose(own.passages([question]), bare.encode([f"passage: {question}"]), atol=1e-5)
    assert not np.allclose(own.queries([question]), bare.queries([question]), atol=1e-3)
    with pytest.raises(InvalidInputError, match="does not understand Korean"):
        build_retriever("dense", FEW, None, RetrievalConfig(embedder=name, device="cpu"))


@pytest.fixture
def random_embedder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A local model that knows no Korean. It passes the check for Korean, which has only one pair here."""
    monkeypatch.setattr(embedders, "KOREAN_PAIRS", KOREAN_PAIRS[:1])
    texts = [c.text for c in read_chunks("sample")[:20]]
    yield save_embedder(tmp_path / "model", texts)


def test_vectors_are_stored_until_the_weights_in_the_folder_change(random_embedder: Path, tmp_path: Path) -> None:
    config = RetrievalConfig(embedder=f"sentence-transformers:{random_embedder}", device="cpu")
    cache, question = tmp_path / "cache", KOREAN_PAIRS[0][0]

    def search(settings: RetrievalConfig = config) -> list[Hit]:
        return build_retriever("dense", FEW, cache, settings).search(question)

    first = search()
    (stored,) = cache.glob("dense-*.npy")
    np.save(stored, np.load(stored)[::-1])
    assert search() != first  # the stored vectors were used
    search(config.model_copy(update={"passage_prefix": "passage: "}))
    assert len(list(cache.iterdir())) == 2
    stored.write_bytes(stored.read_bytes()[:40])
    assert search() == first  # a damaged file is replaced
    for file in save_embedder(tmp_path / "other", ["완전히 다른 글자"]).iterdir():
        (random_embedder / file.name).write_bytes(file.read_bytes())
    assert search() != first
    assert len(list(cache.iterdir())) == 3


def test_a_half_that_pulls_the_mix_down_is_reported_with_figures(
    random_embedder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    embedder = f"embedder=sentence-transformers:{random_embedder}"
    command = ["retrieve", "--chunks", "sample", "--questions", "sample", "--json", "--retriever", "hybrid"]
    out = tmp_path / "r.json"
    assert main([*command, "--set", embedder, "--set", "use_filters=false", "--out", str(out)]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    halves = {name: scores["hit@3"]["value"] for name, scores in figures["parts"].items()}
    assert halves["dense"] < figures["scores"]["hit@3"]["value"] < halves["bm25"]
    (warning,) = figures["warnings"]
    assert f"bm25 {halves['bm25']:.2f}, dense {halves['dense']:.2f} alone" in warning
    assert warning.endswith("use --retriever bm25, or set dense_weight below 0.5") and "chance" not in warning
    assert json.loads(out.read_text())["warnings"] == [warning]


def test_a_difference_that_may_be_chance_is_marked(random_embedder: Path) -> None:
    chunks, questions = read_chunks("sample"), read_questions("sample")
    config = RetrievalConfig(embedder=f"sentence-transformers:{random_embedder}", device="cpu")
    mixed = build_retriever("hybrid", chunks, None, config)
    bm25 = build_retriever("bm25", chunks)
    lost = [
        q
        for q in questions
        if q.gold_chunk_ids
        and any(hit.is_any_of(q.gold_chunk_ids) for hit in bm25.search(q.question, 3, q.filters))
        and not any(hit.is_any_of(q.gold_chunk_ids) for hit in mixed.search(q.question, 3, q.filters))
    ]
    (warning,) = measure_retrieval(mixed, lost[:2]).warnings
    assert "hit@3 of 2 questions: hybrid 0.00, but bm25 1.00" in warning
    assert "p = 0.50, so the difference may be due to chance" in warning
    without_dense = build_retriever("hybrid", chunks, None, config.model_copy(update={"dense_weight": 0.0}))
    assert measure_retrieval(without_dense, lost[:2]).warnings == []
