"""Turn documents (PDF, HWPX, DOCX, HTML, Markdown, text) into policy chunks."""

from __future__ import annotations

from insurance_rag.ingest.ingest import ingest_documents

__all__ = ["ingest_documents"]
