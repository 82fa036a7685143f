"""The rule against prompt injection: text of a document that gives orders to the model that reads it."""

from __future__ import annotations

from insurance_rag.korean.injection import model_instructions, template_tokens
from insurance_rag.validation.row import Row
from insurance_rag.validation.rules.registry import RuleContext, rule

INJECTION = "injection"
"""Name of the rule against prompt injection."""


@rule(INJECTION, title="Instructions to the model", title_ko="모델에 지시하는 문구", repairable=False)
def injection(row: Row, context: RuleContext) -> str | None:
    """The row's chunk or evidence gives orders to a language model, such as "ignore the instructions above", or the row
    contains special tokens of a chat template.

    All rows of such a chunk are dropped: whoever could write the order could also change the facts. Remove the passage
    from the document, or approve single rows in the review. Questions and answers are not searched for orders, because
    customers write orders, too: 얼마인지 알려 주세요.
    """
    found = context.chunk(row).model_instructions or model_instructions(row.evidence)
    return next(iter(found or template_tokens(f"{row.instruction}\n{row.output}")), None)
