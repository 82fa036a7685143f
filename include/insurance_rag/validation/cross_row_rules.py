"""Applies the rules that compare rows with each other to the table of all rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from insurance_rag.config import ValidationConfig
from insurance_rag.validation.rules.registry import RULES, CrossRowContext, CrossRowRule
from insurance_rag.validation.table import RowTable


def apply_cross_row_rules(table: RowTable, config: ValidationConfig, product: Callable[[str], str]) -> None:
    """Apply the cross-row rules. Each rule sees only the rows that passed the rules before it in the configured order.

    `product` maps a chunk id to the name of the chunk's product.
    """
    context = CrossRowContext(config, product)
    for position, name in enumerate(config.rules):
        rule = RULES[name]
        if isinstance(rule, CrossRowRule):
            rows = np.flatnonzero(table.dropped_by > position)
            for i, span in rule.check(table, rows, context).items():
                table.drop(i, position, span)
