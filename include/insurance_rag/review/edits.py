"""Which texts an item has after a decision, and which decision follows from the texts that a reviewer entered."""

from __future__ import annotations

from collections.abc import Mapping

from insurance_rag.review.records import EDITABLE_FIELDS, Decision, ReviewAction, ReviewItem


def effective_fields(item: ReviewItem, decision: Decision | None) -> dict[str, str]:
    """Return the texts of the item, with the changes of a decision that edited it."""
    return {**item.fields, **(decision.fields if decision else {})}


def changed_fields(item: ReviewItem, decision: Decision | None, texts: Mapping[str, str]) -> dict[str, str]:
    """Return the entered texts that differ from the item's present texts. Differences in line endings do not count."""
    present = effective_fields(item, decision)
    entered = {name: normal(texts[name]) for name in EDITABLE_FIELDS[item.kind] if name in texts}
    return {name: text for name, text in entered.items() if text != normal(present.get(name, ""))}


def new_decision(
    item: ReviewItem,
    before: Decision | None,
    action: ReviewAction,
    *,
    reviewer: str,
    reason: str = "",
    texts: Mapping[str, str] | None = None,
) -> Decision:
    """Return the decision to record. `before` is the decision that the reviewer saw.

    Approving an item that was edited confirms the edit. Editing it again keeps the changes of the earlier edit.
    """
    edited = before.fields if before and before.action == "edit" else {}
    if action == "approve" and edited:
        action = "edit"
    fields = {**edited, **changed_fields(item, before, texts or {})} if action == "edit" else {}
    return Decision(
        kind=item.kind, key=item.key, action=action, reason=reason.strip(), fields=fields, reviewer=reviewer
    )


def normal(text: str) -> str:
    """Return the text with `\\n` line endings and without whitespace at its ends. Forms and Excel change both."""
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()
