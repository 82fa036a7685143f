"""The document readers, one per format. To add one, add a module with a function decorated with `reader`."""

from __future__ import annotations

from insurance_rag.ingest.readers.detection import read_document
from insurance_rag.ingest.readers.registry import READERS, reader

__all__ = ["READERS", "read_document", "reader"]
