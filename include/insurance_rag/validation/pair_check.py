"""Checks new pairs during generation, so that the teacher can be asked to repair those that break a rule."""

from __future__ import annotations

import re
from collections.abc import Sequence

from insurance_rag.chunks import read_chunks
from insurance_rag.config import ValidationConfig
from insurance_rag.core.records import Chunk
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.dataset.contexts import product
from insurance_rag.generation.repair import PairCheck
from insurance_rag.generation.teachers.base import Pair
from insurance_rag.korean.text import clean
from insurance_rag.validation.row import parse_row
from insurance_rag.validation.rules.registry import RULES, ChunkText, RowRule, RuleContext, chunk_labels

_SECOND_CHUNK = re.compile(r"\n\n(?=제\s?\d+\s?조)")


def pair_check(config: ValidationConfig | None = None, *, several_products: bool = False) -> PairCheck:
    """Return a function that applies the configured repairable row rules to the pairs generated for a chunk.

    The function takes the chunk and the pairs. It returns one entry per pair: the name of the first rule that drops the
    pair and the text at fault, or None if the pair passes. If none of the pairs has evidence, none needs it, because
    the teacher was not asked for it. `several_products` says whether every question must name its product.
    """
    config = config or ValidationConfig()
    rules = [rule for name in config.rules if isinstance(rule := RULES[name], RowRule) and rule.repairable]

    def check(chunk: Chunk, pairs: Sequence[Pair]) -> list[tuple[str, str] | None]:
        text = clean(chunk.text)
        analyzed = ChunkText(text, _second_article(text), *chunk_labels(chunk))
        context = RuleContext(config, {chunk.chunk_id: analyzed}, several_products=several_products)
        has_evidence = any(pair.evidence for pair in pairs)
        return [_find_fault(chunk, pair, rules, context, has_evidence) for pair in pairs]

    return check


def run_pair_check(run: RunFolder, config: ValidationConfig | None = None) -> PairCheck:
    """Return the `pair_check` for a planned run. If its chunks are about several products, questions must name them."""
    products = {product(chunk) for chunk in read_chunks(run.chunks)}
    return pair_check(config, several_products=len(products) > 1)


def _second_article(text: str) -> str:
    """Return the text of the second chunk, which generation appends to the first one; empty if there is none."""
    match = _SECOND_CHUNK.search(text)
    return text[match.end() :] if match else ""


def _find_fault(
    chunk: Chunk, pair: Pair, rules: Sequence[RowRule], context: RuleContext, has_evidence: bool
) -> tuple[str, str] | None:
    fields = {"type": pair.type, "instruction": pair.question, "output": pair.answer, "evidence": pair.evidence}
    meta = {"teacher": "this one"} if has_evidence else {}
    row = parse_row({"chunk_id": chunk.chunk_id, **fields, "meta": meta}, context.config.max_characters)
    if row.problem:
        return None  # too long or invalid Unicode (rule `malformed`), which a second answer rarely fixes
    for rule in rules:
        if (span := rule.check(row, context)) is not None:
            return rule.name, span
    return None
