"""Dense retrieval and its mixture with BM25: both by choice, since they cost a model or an API.

An embedder is named "sentence-transformers:NAME" or "openai:MODEL@BASE_URL" (any compatible embeddings API; the key is
read from EMBEDDING_API_KEY). Before anything is indexed a probe asks whether it can read Korean: English embedders find
the right Korean clause one time in thirty, and nothing in their numbers says so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from insurance_rag.config import RetrievalConfig
from insurance_rag.core.errors import InvalidInputError, ServerUnavailableError
from insurance_rag.core.files import atomic_write
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records import Chunk
from insurance_rag.retrieval.index import Retriever, Scores, searchable

Embed = Callable[[list[str]], np.ndarray[Any, np.dtype[np.float32]]]

#: Questions and the sentence that answers each: an embedder that reads Korean pairs them without trying hard.
PROBE = (
    ("보험금은 며칠 안에 받나요?", "회사는 서류를 접수한 날부터 3영업일 이내에 보험금을 지급합니다."),
    ("청약을 무를 수 있는 기간은요?", "계약자는 보험증권을 받은 날부터 15일 이내에 청약을 철회할 수 있습니다."),
    ("술 마시고 운전하면 어떻게 되나요?", "음주운전 사고의 경우 사고부담금을 납입하여야 합니다."),
    ("암은 누가 진단해야 하나요?", "진단확정은 병리 전문의 자격을 가진 의사가 조직검사로 합니다."),
    ("보험료를 못 내면 계약이 끝나나요?", "납입최고기간이 지나도록 연체하면 계약은 해지됩니다."),
    ("임신해서 입원한 것도 나오나요?", "임신과 출산으로 인한 의료비는 보상하지 않습니다."),
)


class DenseRetriever(Retriever):
    """Exact cosine search: milliseconds up to 100,000 chunks; beyond that an index server is worth its keep."""

    def __init__(self, chunks: Sequence[Chunk], config: RetrievalConfig, cache: Path | None = None) -> None:
        super().__init__(chunks)
        if not config.embedder:
            raise InvalidInputError(
                "a dense retriever needs an embedder: --set embedder=sentence-transformers:BAAI/bge-m3"
            )
        self._embed = load_embedder(config.embedder)
        probe(self._embed, config.embedder)
        texts = [searchable(chunk) for chunk in self.chunks]
        file = cache / f"dense-{sha256_text(config.embedder, *texts)[:16]}.npy" if cache else None
        self._vectors = _vectors(texts, self._embed, file)

    def scores(self, query: str) -> Scores:
        scores: Scores = (self._vectors @ self._embed([query])[0]).astype(np.float32)
        return scores


class HybridRetriever(Retriever):
    """Weighted reciprocal rank fusion: ranks, unlike scores, of two retrievers can be added."""

    def __init__(self, lexical: Retriever, dense: Retriever, config: RetrievalConfig) -> None:
        super().__init__(lexical.chunks)
        self._parts = ((lexical, 1 - config.dense_weight), (dense, config.dense_weight))
        self._constant = config.rrf_constant

    def scores(self, query: str) -> Scores:
        total = np.full(len(self.chunks), -np.inf, dtype=np.float32)
        for retriever, weight in self._parts:
            scores = retriever.scores(query)
            order = np.argsort(-scores, kind="stable")
            rank = np.empty(len(order), dtype=np.float32)
            rank[order] = np.arange(1, len(order) + 1)
            gain = np.where(scores > -np.inf, weight / (self._constant + rank), 0)
            total = np.where(gain > 0, np.where(total > -np.inf, total, 0) + gain, total)
        return total.astype(np.float32)


def probe(embed: Embed, name: str) -> None:
    """Raise InvalidInputError unless at least five of the six Korean questions lie nearest to their own answer."""
    questions, answers = (embed(list(texts)) for texts in zip(*PROBE, strict=True))
    right = int((np.argmax(questions @ answers.T, axis=1) == np.arange(len(PROBE))).sum())
    if right < len(PROBE) - 1:
        raise InvalidInputError(
            f"embedder {name}: pairs only {right} of {len(PROBE)} Korean questions with their answer, so it cannot "
            "read Korean; choose a multilingual one (BAAI/bge-m3, nlpai-lab/KoE5)"
        )


def load_embedder(name: str) -> Embed:
    """The function that turns texts into unit vectors. Raises InvalidInputError where the package or the name is missing."""
    kind, _, rest = name.partition(":")
    if kind == "sentence-transformers" and rest:
        return _sentence_transformer(rest)
    if kind == "openai" and "@" in rest:
        model, _, base_url = rest.partition("@")
        return _embedding_api(model, base_url)
    raise InvalidInputError(f"embedder {name!r}: want sentence-transformers:NAME or openai:MODEL@BASE_URL")


def _sentence_transformer(name: str) -> Embed:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as e:
        raise InvalidInputError("this embedder needs a package: pip install sentence-transformers") from e
    try:
        model = SentenceTransformer(name)
    except (OSError, ValueError) as e:
        raise InvalidInputError(f"embedder {name}: cannot be loaded ({e})") from e
    return lambda texts: np.asarray(model.encode(texts, normalize_embeddings=True), dtype=np.float32)


def _embedding_api(model: str, base_url: str, batch: int = 64) -> Embed:
    import httpx

    headers = {"Authorization": f"Bearer {os.environ.get('EMBEDDING_API_KEY', 'none')}"}
    client = httpx.Client(base_url=base_url.rstrip("/"), headers=headers, timeout=60)

    def embed(texts: list[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
        rows: list[list[float]] = []
        for start in range(0, len(texts), batch):
            try:
                reply = client.post("/embeddings", json={"model": model, "input": texts[start : start + batch]})
                reply.raise_for_status()
                rows += [row["embedding"] for row in sorted(reply.json()["data"], key=lambda row: row["index"])]
            except (httpx.HTTPError, ValueError, KeyError) as e:
                raise ServerUnavailableError(f"embeddings of {base_url}: {type(e).__name__}; is the server up?") from e
        vectors = np.asarray(rows, dtype=np.float32)
        unit: np.ndarray[Any, np.dtype[np.float32]] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit

    return embed


def _vectors(texts: list[str], embed: Embed, file: Path | None) -> np.ndarray[Any, np.dtype[np.float32]]:
    if file and file.exists():
        kept: np.ndarray[Any, np.dtype[np.float32]] = np.load(file, allow_pickle=False)
        return kept
    vectors = embed(texts)
    if file:
        with atomic_write(file, "wb") as f:
            np.save(f, vectors)
    return vectors
