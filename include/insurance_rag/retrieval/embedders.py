"""Embedders for dense retrieval: a local sentence-transformers model, or an API.

An embedder is configured as `sentence-transformers:NAME`, or as `openai:MODEL@BASE_URL` for any OpenAI-compatible
embeddings API. The API key is read from EMBEDDING_API_KEY.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from pydantic import SecretStr

from insurance_rag.core.errors import InvalidInputError

Vectors = npt.NDArray[np.float32]
"""Array of shape [texts, dimensions]; every row is a unit vector."""
Embed = Callable[[list[str]], Vectors]

API_TIMEOUT_S = 60.0

KOREAN_PAIRS = (
    ("보험금은 며칠 안에 받나요?", "회사는 서류를 접수한 날부터 3영업일 이내에 보험금을 지급합니다."),
    ("청약을 무를 수 있는 기간은요?", "계약자는 보험증권을 받은 날부터 15일 이내에 청약을 철회할 수 있습니다."),
    ("술 마시고 운전하면 어떻게 되나요?", "음주운전 사고의 경우 사고부담금을 납입하여야 합니다."),
    ("암은 누가 진단해야 하나요?", "진단확정은 병리 전문의 자격을 가진 의사가 조직검사로 합니다."),
    ("보험료를 못 내면 계약이 끝나나요?", "납입최고기간이 지나도록 연체하면 계약은 해지됩니다."),
    ("임신해서 입원한 것도 나오나요?", "임신과 출산으로 인한 의료비는 보상하지 않습니다."),
)
"""Pairs of a question and the sentence that answers it. An embedder that understands Korean can match them."""


def check_korean(embed: Embed, name: str) -> None:
    """Raise InvalidInputError unless the embedder matches at least five of the six Korean questions to their answers.

    An English embedder finds the right chunk for only one Korean question in thirty. Its scores do not reveal this
    problem.
    """
    questions, answers = (embed(list(texts)) for texts in zip(*KOREAN_PAIRS, strict=True))
    right = int((np.argmax(questions @ answers.T, axis=1) == np.arange(len(KOREAN_PAIRS))).sum())
    if right < len(KOREAN_PAIRS) - 1:
        raise InvalidInputError(
            f"embedder {name}: pairs only {right} of {len(KOREAN_PAIRS)} Korean questions with their answer, so it "
            "does not understand Korean; choose a multilingual one (BAAI/bge-m3, nlpai-lab/KoE5)"
        )


def load_embedder(name: str) -> Embed:
    """Return a function that turns strings into unit vectors.

    Raises InvalidInputError if the name is malformed, the package is missing or the model cannot be loaded. If the
    embedder is an API, the returned function raises ServerUnavailableError when the server is down.
    """
    kind, _, rest = name.partition(":")
    if kind == "sentence-transformers" and rest:
        return _sentence_transformer(rest)
    if kind == "openai" and "@" in rest:
        model, _, base_url = rest.partition("@")
        return _embedding_api(model, base_url)
    raise InvalidInputError(f"embedder {name!r}: unknown form; use sentence-transformers:NAME or openai:MODEL@BASE_URL")


def _sentence_transformer(name: str) -> Embed:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as e:
        raise InvalidInputError(
            f"embedder {name}: the package sentence-transformers is missing; run pip install sentence-transformers"
        ) from e
    try:
        model = SentenceTransformer(name)
    except (OSError, ValueError) as e:
        raise InvalidInputError(f"embedder {name}: cannot be loaded ({e}); check the name and the network") from e
    return lambda texts: np.asarray(model.encode(texts, normalize_embeddings=True), dtype=np.float32)


def _embedding_api(model: str, base_url: str) -> Embed:
    from insurance_rag.llm import openai
    from insurance_rag.llm.client import Client

    key = SecretStr(os.environ.get("EMBEDDING_API_KEY", ""))
    client = Client(base_url, key, openai.bearer(key), API_TIMEOUT_S, "retrieval.embedder")

    def embed(texts: list[str]) -> Vectors:
        vectors = np.asarray(openai.embed(client, model, texts), dtype=np.float32)
        unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit

    return embed
