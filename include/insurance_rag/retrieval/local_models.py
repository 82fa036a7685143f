"""Load models with the package sentence-transformers, and identify their weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from insurance_rag.config import RetrievalConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.hashing import sha256_tree

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder, SentenceTransformer

PREFIX = "sentence-transformers:"
"""Start of the configured name of a model that this package loads. Optional for rerankers."""


def load_sentence_transformer(name: str, config: RetrievalConfig) -> SentenceTransformer:
    """Load an embedding model. Raises InvalidInputError if the package is missing or the model cannot be loaded."""
    try:
        from safetensors import SafetensorError
        from sentence_transformers import SentenceTransformer
    except ImportError as e:
        raise _missing(f"embedder {name}") from e
    try:
        return SentenceTransformer(name, device=_device(config), trust_remote_code=False)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as e:
        raise _unloadable(f"embedder {name}", e) from e


def load_cross_encoder(name: str, config: RetrievalConfig) -> CrossEncoder:
    """Load a reranker. Raises InvalidInputError if the package is missing or the model is not a reranker."""
    try:
        from safetensors import SafetensorError
        from sentence_transformers import CrossEncoder
    except ImportError as e:
        raise _missing(f"reranker {name}") from e
    try:
        model = CrossEncoder(name, device=_device(config), trust_remote_code=False)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as e:
        raise _unloadable(f"reranker {name}", e) from e
    # For an embedding model, the package adds an output layer with random weights and only logs a warning.
    architectures = list(getattr(model.config, "architectures", None) or [])
    without_output = architectures and all(a.endswith(("Model", "ForMaskedLM")) for a in architectures)
    if without_output or model.num_labels != 1:
        what = f"a model without a score ({', '.join(architectures)})" if without_output else "a classifier"
        raise InvalidInputError(
            f"reranker {name}: this is {what}, not a cross-encoder with one score per pair; choose a reranker such as "
            "BAAI/bge-reranker-v2-m3"
        )
    return model


def content_id(name: str) -> str:
    """Return a string that changes when the content of the model changes.

    For a local folder, this is a hash of all files; for a Hugging Face name, the name and the downloaded commit.
    """
    folder = Path(name)
    if folder.is_dir():
        return sha256_tree(folder)
    from huggingface_hub import try_to_load_from_cache

    for repository in (name, f"sentence-transformers/{name}"):
        found = try_to_load_from_cache(repository, "config.json") if repository.count("/") <= 1 else None
        if isinstance(found, str):
            return f"{name}@{Path(found).parent.name}"
    return name


def _device(config: RetrievalConfig) -> str | None:
    return None if config.device == "auto" else config.device


def _missing(what: str) -> InvalidInputError:
    return InvalidInputError(
        f"{what}: the package sentence-transformers is missing; run pip install 'insurance-rag[dense]'"
    )


def _unloadable(what: str, error: Exception) -> InvalidInputError:
    return InvalidInputError(f"{what}: cannot be loaded ({error}); check the name, the folder and the network")
