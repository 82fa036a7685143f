"""Applies a reviewer's decision to a row before the rules check it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from insurance_rag.korean.text import clean
from insurance_rag.review.records import Decision
from insurance_rag.validation.row import Row
from insurance_rag.validation.rules.registry import RULES, RowRule, RuleContext

REJECTED = "rejected_by_reviewer"
"""Name of the rule that drops the rows that a person rejected."""
REVIEW_META = "review"
"""Key in the `meta` of an edited row. Its value names the action and the key of the row before it was edited."""
BINDING_RULES = frozenset({"malformed", "required_fields", "unknown_chunk", "stale_chunk", "leak", REJECTED})
"""Rules that apply to approved rows, too. Approval is about quality; these rules protect the evaluation and the form of
the data."""
ROW_FIELDS = {"question": "instruction", "answer": "output", "evidence": "evidence"}
"""Field of a review item -> field of a row."""
COUNTED = {"approve": "approved", "edit": "edited", "reject": "rejected"}


@dataclass
class ReviewedRow:
    """A row after the reviewer's decision was applied to it."""

    row: Row
    decision: Decision | None = None
    overruled: set[str] = field(default_factory=set)
    """Rules that found a fault in the row although a person approved it."""

    def overrules(self, rule: str) -> bool:
        """Return whether a person approved the row, so that this rule does not drop it."""
        if self.decision is None or self.decision.action != "approve" or rule in BINDING_RULES:
            return False
        self.overruled.add(rule)
        return True

    def counts(self) -> Counter[str]:
        """Return what to add to the fields of `ReviewCounts`."""
        if self.decision is None:
            return Counter()
        return Counter([COUNTED[self.decision.action], *["overruled"] * bool(self.overruled)])


def apply_decision(row: Row, context: RuleContext) -> ReviewedRow:
    """Return the row with the decision about it. An edited row has its new texts, and is marked in its `meta`."""
    decision = None if row.problem else context.decision(row)
    if decision is None or decision.action != "edit":
        return ReviewedRow(row, decision)
    edited = replace(row, meta={**row.meta, REVIEW_META: {"action": "edit", "key": decision.key}})
    for name, text in decision.fields.items():
        setattr(edited, ROW_FIELDS[name], clean(text).strip())
    return ReviewedRow(edited, decision)


def can_overrule(rule: str) -> bool:
    """Return whether approving a row reverses this rule. Rules that compare rows with each other always apply."""
    return rule not in BINDING_RULES and isinstance(RULES.entries.get(rule), RowRule)
