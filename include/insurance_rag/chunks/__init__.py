"""Read, check and compare the input files of a run: policy chunks and evaluation questions."""

from __future__ import annotations

from insurance_rag.chunks.diff import ChunkDiff, diff_chunks
from insurance_rag.chunks.read import (
    SAMPLE_CHUNKS,
    SAMPLE_QUESTIONS,
    chunk_file,
    question_file,
    read_chunks,
    read_questions,
)

__all__ = [
    "SAMPLE_CHUNKS",
    "SAMPLE_QUESTIONS",
    "ChunkDiff",
    "chunk_file",
    "diff_chunks",
    "question_file",
    "read_chunks",
    "read_questions",
]
