"""Rules about whether a search for a row's question finds the row's chunk."""

from __future__ import annotations

from insurance_rag.config import ValidationConfig
from insurance_rag.validation.rules.registry import rank_rule


@rank_rule("not_retrieved", title="Question does not find its chunk", title_ko="검색되지 않는 질문")
def not_retrieved(rank: int, config: ValidationConfig) -> str | None:
    """The row's chunk ranks below position `max_rank` in a search for the row's question."""
    return f"rank {rank}" if config.max_rank and rank > config.max_rank else None
