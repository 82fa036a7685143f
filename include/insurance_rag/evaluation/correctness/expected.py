"""What a correct answer to a question must say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from insurance_rag.core.records import Question
from insurance_rag.korean import articles


@dataclass(frozen=True)
class Expected:
    """A question with everything that its answers are compared with."""

    question: str
    answerable: bool
    reference: str | None
    required_numbers: tuple[str, ...]
    gold_texts: tuple[str, ...]
    """Whole texts of the gold chunks, whether or not the model was given them."""
    context: str = ""
    """Text of the chunks that the model was given. An answer may add facts from it."""

    @classmethod
    def of(cls, question: Question, gold_texts: Sequence[str], context: str = "") -> Expected:
        """Return what the question's record expects. `gold_texts` are the texts of its gold chunks."""
        return cls(
            question.question,
            question.answerable,
            question.reference_answer,
            tuple(question.required_numbers),
            tuple(gold_texts),
            context,
        )

    @cached_property
    def citable_articles(self) -> frozenset[tuple[int, int | None]]:
        """Articles that a right answer may rest on: those of the reference and those that are gold chunks themselves.

        An article is a tuple (number, branch), as in 제N조의M.
        """
        headings = [articles(text[:HEADING_CHARACTERS])[:1] for text in self.gold_texts]
        found = [a for heading in headings for a in heading] + articles(self.reference or "")
        return frozenset((a.article, a.branch) for a in found if a.article is not None)


HEADING_CHARACTERS = 40
"""A chunk's own article is named at its beginning."""
