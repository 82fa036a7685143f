"""The registry of document formats. A format is registered by decorating its reader function with `reader`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from insurance_rag.core.registry import Registry
from insurance_rag.ingest.document import Line, Removed, Table


@dataclass(frozen=True)
class Source:
    """The file to read."""

    path: Path
    """Used in messages only; readers use `data`."""
    data: bytes

    @property
    def suffix(self) -> str:
        return self.path.suffix.lower()


@dataclass(frozen=True)
class Content:
    """What a reader found in a file. For the fields, see `Document`."""

    blocks: tuple[Line | Table, ...]
    n_pages: int = 0
    removed: tuple[Removed, ...] = ()
    warnings: tuple[str, ...] = ()


Read = Callable[[Source], Content]


@dataclass(frozen=True)
class ReaderEntry:
    """A document format, as shown in messages and in the reference docs."""

    name: str
    title: str
    description: str
    suffixes: tuple[str, ...]
    """File name extensions of the format, e.g. `.htm`."""
    recognizes: Callable[[bytes], bool] | None
    """Returns whether a file has this format, whatever its name is. None if only the extension shows the format."""
    read: Read


READERS: Registry[ReaderEntry] = Registry("document format", "insurance_rag.ingest.readers")


def reader(
    name: str,
    *,
    title: str,
    description: str,
    suffixes: tuple[str, ...],
    recognizes: Callable[[bytes], bool] | None = None,
) -> Callable[[Read], Read]:
    """Return a decorator that registers a reader under `name`. It raises ValueError if the name is taken."""

    def register(read: Read) -> Read:
        READERS.add(name, ReaderEntry(name, title, description, suffixes, recognizes, read))
        return read

    return register
