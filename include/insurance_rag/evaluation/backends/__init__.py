"""The backends that generate answers: a local model, a server, or the reference design's procedure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from insurance_rag.config import EvaluationConfig
from insurance_rag.evaluation.backends.base import ModelBackend, OnAnswer

__all__ = ["ModelBackend", "OnAnswer", "open_backend"]


def open_backend(base_model: str, adapters: Mapping[str, Path], config: EvaluationConfig) -> ModelBackend:
    """Return the backend that `config` selects. `adapters` maps names to folders.

    Raises InvalidInputError if the backend cannot serve these models, and ServerUnavailableError if the server is down.
    """
    if config.server:
        from insurance_rag.evaluation.backends.server import ServerBackend

        return ServerBackend(base_model, adapters, config)
    if config.reference:
        from insurance_rag.evaluation.backends.reference import ReferenceBackend

        return ReferenceBackend(base_model, adapters)
    from insurance_rag.evaluation.backends.local.backend import LocalBackend

    return LocalBackend(base_model, adapters, config)
