"""Opens a document: detects its format by content, and reports what cannot be read and what to do."""

from __future__ import annotations

import hashlib
from pathlib import Path

from insurance_rag.core.errors import InvalidInputError, PipelineError
from insurance_rag.ingest.document import Document
from insurance_rag.ingest.readers.foreign_formats import describe_foreign
from insurance_rag.ingest.readers.registry import READERS, Content, ReaderEntry, Source


def read_document(path: Path) -> Document:
    """Read a document. Raises an InvalidInputError that says what to do if it cannot be read."""
    data = _read_bytes(path)
    entry = _format(path, data)
    content = _read(entry, path, data)
    warnings = list(content.warnings)
    suffix = path.suffix.lower()
    if suffix and suffix not in entry.suffixes and any(suffix in other.suffixes for other in READERS.entries.values()):
        warnings.append(f"{path.name}: the file is named {suffix} but its content is {entry.title}; rename it")
    if not content.blocks:
        raise InvalidInputError(f"{path.name}: the document contains no text; check that it is the right file")
    return Document(
        source=path.name,
        sha256=hashlib.sha256(data).hexdigest(),
        kind=entry.name,
        blocks=content.blocks,
        n_pages=content.n_pages,
        removed=content.removed,
        warnings=tuple(warnings),
    )


def _read(entry: ReaderEntry, path: Path, data: bytes) -> Content:
    """Return the content of a document. Raises InvalidInputError whatever is wrong with the file.

    Office documents have hundreds of attributes that may hold anything, and their libraries raise many kinds of errors.
    """
    try:
        return entry.read(Source(path, data))
    except PipelineError:
        raise
    except Exception as e:
        raise InvalidInputError(
            f"{path.name}: the file is damaged, or is {entry.title} of an unknown kind ({type(e).__name__}: {e}); open "
            "it and save it again, or save it as PDF"
        ) from e


def _read_bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InvalidInputError(f"{path}: there is no such file; check the path") from None
    except IsADirectoryError:
        raise InvalidInputError(f"{path}: this is a folder; name a document in it") from None
    except OSError as e:
        raise InvalidInputError(f"{path}: cannot be read ({e.strerror}); check the permissions") from e
    if not data.strip(b"\0 \t\r\n"):
        raise InvalidInputError(f"{path.name}: the file is empty; copy the document again")
    return data


def _format(path: Path, data: bytes) -> ReaderEntry:
    """Return the reader for a file: by its content, else by its name if the content can be text."""
    entries = READERS.entries.values()
    for entry in entries:
        if entry.recognizes is not None and entry.recognizes(data):
            return entry
    if problem := describe_foreign(data):
        raise InvalidInputError(f"{path.name}: {problem}")
    suffix = path.suffix.lower()
    named = next((entry for entry in entries if suffix in entry.suffixes), None)
    if named is not None and (named.recognizes is None or named.name == "html"):
        return named
    if named is not None:
        raise InvalidInputError(
            f"{path.name}: the file is not {named.title}, although it is named {suffix}; it may be damaged, so copy "
            "it again"
        )
    known = ", ".join(suffix for entry in entries for suffix in entry.suffixes)
    raise InvalidInputError(f"{path.name}: unknown document format; the formats that can be read are {known}")
