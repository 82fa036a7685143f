"""Read, check and compare the input files of a run: policy chunks and evaluation questions."""

from __future__ import annotations

from insurance_rag.chunks.diff import ChunkDiff, diff_chunks
from insurance_rag.chunks.read import SAMPLE_CHUNKS, SAMPLE_QUESTIONS, read_chunks, read_questions

__all__ = ["SAMPLE_CHUNKS", "SAMPLE_QUESTIONS", "ChunkDiff", "diff_chunks", "read_chunks", "read_questions"]
