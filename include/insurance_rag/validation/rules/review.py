"""The rule that applies the decisions of reviewers."""

from __future__ import annotations

from insurance_rag.validation.row import Row
from insurance_rag.validation.rules.registry import RuleContext, rule


@rule("rejected_by_reviewer", title="Rejected by a reviewer", title_ko="검수자가 거부한 행", repairable=False)
def rejected_by_reviewer(row: Row, context: RuleContext) -> str | None:
    """A person rejected the row on the review page. The text at fault is the reason that the person gave."""
    decision = context.decision(row)
    return decision.reason if decision and decision.action == "reject" else None
