"""Records of the style of a dataset: how its questions and answers are worded."""

from __future__ import annotations

from pydantic import Field

from insurance_rag.core.records.data import Record


class StyleFigures(Record):
    """How the kept rows are worded: all of them, or those of one question type."""

    rows: int = 0
    copied_share: float | None = None
    """Mean fraction of a question's character bigrams that occur in the chunk. The product's name does not count. None
    without rows."""
    refusals: int = 0
    """Number of answers that only refuse."""
    yes_answers: int = 0
    """Number of answers that begin with a yes."""
    no_answers: int = 0
    """Number of answers that begin with a no."""
    formatted: int = 0
    """Number of answers that contain a preamble, such as a greeting, or Markdown."""
    evidence_characters: float | None = None
    """Mean length of the evidence, among the rows with evidence. None without such rows."""


class StyleSummary(StyleFigures):
    """How all kept rows are worded, by question type and by planned style."""

    by_type: dict[str, StyleFigures] = Field(default_factory=dict)
    calculations: int = 0
    """Number of rows that were planned as calculations and are answerable."""
    calculations_with_steps: int = 0
    """Number of `calculations` whose answer shows its steps."""
    openings: int = 0
    """Number of different first two words of the questions. The product's name does not count."""
    top_opening_share: float | None = None
    """Fraction of the questions with the most frequent first two words. None without rows."""
    personas: dict[str, int] = Field(default_factory=dict)
    """Persona -> number of rows, most frequent first. Rows without a planned persona are left out. Only the 20 most
    frequent values are listed; the same holds for the fields below."""
    registers: dict[str, int] = Field(default_factory=dict)
    difficulties: dict[str, int] = Field(default_factory=dict)
    forms: dict[str, int] = Field(default_factory=dict)
    """`yes`, `no`, `calculation`, `two_chunks` or `near_miss` -> number of rows that were planned in this form."""
