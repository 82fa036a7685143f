"""Pure functions that analyze Korean policy text, used by generation, validation and evaluation."""

from __future__ import annotations

from insurance_rag.korean.articles import Article, articles, named_levels, unsupported_articles
from insurance_rag.korean.calculations import known_quantities, unsupported, unsupported_quantities
from insurance_rag.korean.degeneration import advertising, foreign_tail, hangul_share, prompt_echo, repetition
from insurance_rag.korean.quantities import Quantity, parse_number, quantities
from insurance_rag.korean.refusals import evasion, is_refusal_sentence, refusal, refusal_sentences
from insurance_rag.korean.sentences import Span, cut_at_sentence, ends_as_sentence, is_open_ended, sentences
from insurance_rag.korean.text import clean, fold_width, is_encodable, remove_whitespace

__all__ = [
    "Article",
    "Quantity",
    "Span",
    "advertising",
    "articles",
    "clean",
    "cut_at_sentence",
    "ends_as_sentence",
    "evasion",
    "fold_width",
    "foreign_tail",
    "hangul_share",
    "is_encodable",
    "is_open_ended",
    "is_refusal_sentence",
    "known_quantities",
    "named_levels",
    "parse_number",
    "prompt_echo",
    "quantities",
    "refusal",
    "refusal_sentences",
    "remove_whitespace",
    "repetition",
    "sentences",
    "unsupported",
    "unsupported_articles",
    "unsupported_quantities",
]
