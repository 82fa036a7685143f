"""Measure on held-out rows whether the model begins its answer with a refusal where it should, and only there.

The held-out loss hardly shows this decision: it depends on the first token of an answer, and the loss is a mean over
all tokens. This module imports torch at import time, so import it inside the function that trains.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

import torch

from insurance_rag.core.records import REFUSAL
from insurance_rag.training.encoding import IGNORE_INDEX, EncodedRow

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DECISION_ACCURACY = "eval_decision_accuracy"
"""Name of the metric that early stopping can watch."""


class DecisionRow(NamedTuple):
    """The prompt of a held-out row, and whether a refusal is the right answer."""

    prompt: list[int]
    refuses: bool


def decision_rows(
    rows: Sequence[EncodedRow], tokenizer: PreTrainedTokenizerBase
) -> tuple[list[DecisionRow], int | None]:
    """Return the rows that can be measured, and the first token of a refusal (None if there are no rows).

    Rows whose prompt counts toward the loss are left out, because the answer's start is not known. Also left out are
    answers that begin with the first token of a refusal without being one.
    """
    refusal: list[int] = tokenizer(REFUSAL, add_special_tokens=False)["input_ids"]
    start = refusal[:-1] or refusal  # the last token may differ if a full stop follows
    found = []
    for row in rows:
        prompt = next((n for n, label in enumerate(row["labels"]) if label != IGNORE_INDEX), 0)
        answer = row["input_ids"][prompt:]
        refuses = answer[: len(start)] == start
        if prompt and answer and (refuses or answer[0] != refusal[0]):
            found.append(DecisionRow(row["input_ids"][:prompt], refuses))
    return found, refusal[0] if found else None


def decision_metrics(
    model: torch.nn.Module, rows: Sequence[DecisionRow], refusal_token: int | None
) -> dict[str, float]:
    """Return the shares of right decisions: on refusals, on answers, and the mean of both (DECISION_ACCURACY).

    A decision is the most probable first token. Kinds without rows are left out; the result is empty without rows.
    """
    device = next(model.parameters()).device
    right: dict[bool, list[bool]] = {True: [], False: []}
    for row in rows:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([row.prompt], device=device), logits_to_keep=1).logits
        refused = int(logits[0, -1].argmax()) == refusal_token
        right[row.refuses].append(refused == row.refuses)
    names = {True: "eval_refusals_right", False: "eval_answers_right"}
    metrics = {names[kind]: fmean(values) for kind, values in right.items() if values}
    return {**metrics, DECISION_ACCURACY: fmean(metrics.values())} if metrics else {}
