"""The registry of retrievers. A retriever is registered by decorating its builder function with `retriever`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from insurance_rag.config import RetrievalConfig
from insurance_rag.core.records import Chunk
from insurance_rag.core.registry import Registry
from insurance_rag.retrieval.base import Retriever

Builder = Callable[[Sequence[Chunk], RetrievalConfig, Path | None], Retriever]
"""Builds a retriever over chunks. The arguments are the chunks, the configuration, and a cache folder or None."""


@dataclass(frozen=True)
class RetrieverEntry:
    """A kind of retriever, as shown in the configuration, the command line help and the reference docs."""

    name: str
    title: str
    description: str
    build: Builder


RETRIEVERS: Registry[RetrieverEntry] = Registry("retriever", "insurance_rag.retrieval.retrievers")


def retriever(name: str, *, title: str, description: str) -> Callable[[Builder], Builder]:
    """Return a decorator that registers a builder under `name`. It raises ValueError if the name is taken."""

    def register(build: Builder) -> Builder:
        RETRIEVERS.add(name, RetrieverEntry(name, title, description, build))
        return build

    return register
