"""Embedders for dense retrieval: a local sentence-transformers model, or an API.

An embedder is configured as `sentence-transformers:NAME`, or as `openai:MODEL@BASE_URL` for any OpenAI-compatible
embeddings API. The API key is read from EMBEDDING_API_KEY.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import SecretStr

from insurance_rag.config import RetrievalConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.retrieval.local_models import PREFIX, content_id, load_sentence_transformer

Vectors = npt.NDArray[np.float32]
"""Array of shape [texts, dimensions]; every row is a unit vector."""

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

_E5 = re.compile(r"(?:^|[^a-z])(?:ko)?e5(?:[^a-z0-9]|$)")
_PASSAGE_PROMPTS = ("passage", "document", "corpus")


@dataclass(frozen=True)
class Embedder:
    """Turns questions and passages into unit vectors."""

    encode: Callable[[list[str]], Vectors]
    query_prefix: str
    """Put before every question. Some models, such as E5, are trained with prefixes and are worse without them."""
    passage_prefix: str
    content_id: Callable[[], str]
    """Returns a string that changes when the model changes. It can take seconds, because files are hashed."""

    def queries(self, texts: Sequence[str]) -> Vectors:
        """Return one vector per question."""
        return self.encode([self.query_prefix + text for text in texts])

    def passages(self, texts: Sequence[str]) -> Vectors:
        """Return one vector per passage."""
        return self.encode([self.passage_prefix + text for text in texts])


def check_korean(embedder: Embedder, name: str) -> None:
    """Raise InvalidInputError unless the embedder matches at least five of the six Korean questions to their answers.

    An English embedder finds the right chunk for only one Korean question in thirty. Its scores do not reveal this
    problem.
    """
    questions, answers = zip(*KOREAN_PAIRS, strict=True)
    similarity = embedder.queries(questions) @ embedder.passages(answers).T
    right = int((np.argmax(similarity, axis=1) == np.arange(len(KOREAN_PAIRS))).sum())
    if right < len(KOREAN_PAIRS) - 1:
        raise InvalidInputError(
            f"embedder {name}: pairs only {right} of {len(KOREAN_PAIRS)} Korean questions with their answer, so it "
            "does not understand Korean; choose a multilingual one (BAAI/bge-m3, nlpai-lab/KoE5)"
        )


def load_embedder(name: str, config: RetrievalConfig | None = None) -> Embedder:
    """Return the embedder with this name. `config` has its prefixes, batch size and device.

    Raises InvalidInputError if the name is malformed, the package is missing or the model cannot be loaded. If the
    embedder is an API, `encode` raises ServerUnavailableError when the server is down.
    """
    config = config or RetrievalConfig()
    kind, _, rest = name.partition(":")
    if f"{kind}:" == PREFIX and rest:
        return _sentence_transformer(rest, config)
    if kind == "openai" and "@" in rest:
        model, _, base_url = rest.partition("@")
        return _embedding_api(model, base_url, config)
    raise InvalidInputError(f"embedder {name!r}: unknown form; use sentence-transformers:NAME or openai:MODEL@BASE_URL")


def model_prefixes(name: str, prompts: Mapping[str, str] | None = None) -> tuple[str, str]:
    """Return the prefixes of questions and passages that a model was trained with.

    `prompts` are those in the model's own configuration. If it has none, E5 models are recognized by their names, which
    also holds for a local folder (Wang et al. 2022 and 2024: "query: " and "passage: ", or an instruction).
    """
    prompts = prompts or {}
    own = prompts.get("query", ""), next((text for key in _PASSAGE_PROMPTS if (text := prompts.get(key))), "")
    if any(own):
        return own
    base = name.rstrip("/").rpartition("/")[2].lower()
    if not _E5.search(base):
        return "", ""
    if "instruct" in base:
        task = "Given a web search query, retrieve relevant passages that answer the query"
        return f"Instruct: {task}\nQuery: ", ""
    return "query: ", "passage: "


def _sentence_transformer(name: str, config: RetrievalConfig) -> Embedder:
    model = load_sentence_transformer(name, config)

    def encode(texts: list[str]) -> Vectors:
        vectors = model.encode(
            texts, prompt="", batch_size=config.batch_size, normalize_embeddings=True, show_progress_bar=False
        )
        return np.asarray(vectors, dtype=np.float32)

    return _with_prefixes(encode, model_prefixes(name, model.prompts), config, lambda: content_id(name))


def _embedding_api(model: str, base_url: str, config: RetrievalConfig) -> Embedder:
    from insurance_rag.llm import openai
    from insurance_rag.llm.client import Client

    key = SecretStr(os.environ.get("EMBEDDING_API_KEY", ""))
    client = Client(base_url, key, openai.bearer(key), API_TIMEOUT_S, "retrieval.embedder")

    def encode(texts: list[str]) -> Vectors:
        vectors = np.asarray(openai.embed(client, model, texts), dtype=np.float32)
        unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit

    return _with_prefixes(encode, model_prefixes(model), config, lambda: f"{model}@{base_url}")


def _with_prefixes(
    encode: Callable[[list[str]], Vectors], own: tuple[str, str], config: RetrievalConfig, identity: Callable[[], str]
) -> Embedder:
    """Return the embedder. Configured prefixes replace the model's own."""
    configured = (config.query_prefix, config.passage_prefix)
    query, passage = (mine if given is None else given for given, mine in zip(configured, own, strict=True))
    return Embedder(encode, query, passage, identity)
