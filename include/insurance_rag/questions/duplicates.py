"""Finds questions that repeat another question of the set, or a training question."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json
from insurance_rag.core.prompt_templates import PROMPT_FORMATS
from insurance_rag.core.records.questions import CheckedKind
from insurance_rag.korean import quantities
from insurance_rag.validation.shingles import shingles

NEAR_DUPLICATE, TRAINING_QUESTION = "near_duplicate", "training_question"
LENGTH = 3
"""Number of characters of the n-grams that are compared."""

COMPARISONS = {
    NEAR_DUPLICATE: CheckedKind(
        title="Repeats another question",
        title_ko="다른 질문과 중복",
        description="Another question of the set has nearly the same words and asks about the same numbers.",
        drops=True,
    ),
    TRAINING_QUESTION: CheckedKind(
        title="Repeats a training question",
        title_ko="학습 질문과 중복",
        description="A row of the training dataset asks nearly the same question.",
        drops=True,
    ),
}
"""The comparisons of questions with each other, described like the checks."""


class SimilarQuestions:
    """Questions, indexed by their n-grams, to look up those that are similar to another one."""

    def __init__(self, min_similarity: float, questions: Iterable[str] = ()) -> None:
        self._min = min_similarity
        self._texts: list[str] = []
        self._sizes: list[int] = []
        self._places: defaultdict[str, list[int]] = defaultdict(list)
        for question in questions:
            self.add(question)

    def add(self, question: str) -> None:
        """Add a question to the index."""
        own = shingles(question, LENGTH)
        for piece in own:
            self._places[piece].append(len(self._texts))
        self._texts.append(question)
        self._sizes.append(len(own))

    def find(self, question: str) -> str | None:
        """Return the first question whose similarity is at least the minimum; None if there is none.

        A question with other numbers is another question: `입원 3일째` and `입원 10일째`.
        """
        own = shingles(question, LENGTH)
        common = Counter(place for piece in own for place in self._places.get(piece, ()))
        for place, n in sorted(common.items()):
            is_similar = n >= self._min * (len(own) + self._sizes[place] - n)
            if is_similar and same_numbers(question, self._texts[place]):
                return self._texts[place]
        return None


def same_numbers(a: str, b: str) -> bool:
    """Return whether two questions contain the same quantities."""
    return _numbers(a) == _numbers(b)


@lru_cache(maxsize=50_000)
def _numbers(question: str) -> frozenset[tuple[float, str]]:
    return frozenset(quantity.key for quantity in quantities(question))


def training_questions(dataset: Path | None) -> dict[str, set[str]]:
    """Return the ids of the chunks that a dataset's training rows are about, each with the questions about it.

    Raises InvalidInputError if the folder has no training file.
    """
    if dataset is None:
        return {}
    folder = DatasetFolder(dataset)
    files = [path for name in PROMPT_FORMATS if (path := folder.training(name)).is_file()]
    if not files:
        raise InvalidInputError(f"{dataset}: has no training file; give the dataset folder that `validate` wrote")
    found: dict[str, set[str]] = {}
    for path in files:
        for row in read_json(path):
            if isinstance(row, dict) and row.get("instruction"):
                found.setdefault(str(row.get("chunk_id", "")), set()).add(str(row["instruction"]))
    return found
