"""Groups live records that ask the same, word for word or nearly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from insurance_rag.core.records.live_questions import LiveRecord
from insurance_rag.korean.personal_data import without_placeholders
from insurance_rag.questions.duplicates import LENGTH, same_numbers
from insurance_rag.validation.near_duplicates import SLACK, candidates
from insurance_rag.validation.shingles import jaccard, normalize, shingles, signatures
from insurance_rag.validation.similar_texts import SimilarTexts


@dataclass(frozen=True)
class Group:
    """Records with nearly the same question about the same company and policy type. The first one represents them."""

    records: tuple[LiveRecord, ...]

    @property
    def first(self) -> LiveRecord:
        return self.records[0]


@dataclass(frozen=True)
class Distinct:
    """The groups, and how many records repeat another one."""

    groups: tuple[Group, ...]
    exact: int
    near: int


def group_records(records: Iterable[LiveRecord], min_similarity: float) -> Distinct:
    """Return the groups in the order of their first records. A question with other numbers is another question."""
    same: dict[tuple[str, str, str], list[LiveRecord]] = {}
    for record in records:
        text = normalize(without_placeholders(record.question))
        same.setdefault((text, record.company, record.policy_type), []).append(record)
    members = [*same.values()]
    n = sum(map(len, members))
    leader = _near(list(same), [without_placeholders(own[0].question) for own in members], min_similarity)
    merged: dict[int, list[LiveRecord]] = {}
    for place, own in enumerate(members):
        merged.setdefault(leader.get(place, place), []).extend(own)
    groups = tuple(Group(tuple(own)) for own in merged.values())
    return Distinct(groups, n - len(members), len(members) - len(groups))


def _near(keys: Sequence[tuple[str, str, str]], questions: Sequence[str], min_similarity: float) -> dict[int, int]:
    """Return the places of questions that repeat an earlier one, each with the earlier place."""
    bands, sketches = signatures(questions, LENGTH)
    pieces = lru_cache(maxsize=50_000)(lambda place: shingles(questions[place], LENGTH))
    leader: dict[int, int] = {}
    for later, earlier in candidates(bands, sketches, min_similarity - SLACK).tolist():
        if later in leader or earlier in leader or keys[later][1:] != keys[earlier][1:]:
            continue
        if jaccard(pieces(later), pieces(earlier)) >= min_similarity and same_numbers(
            questions[later], questions[earlier]
        ):
            leader[later] = earlier
    return leader


class KnownQuestions:
    """Questions of the frozen set and of the training rows, to recognize live questions that repeat them."""

    def __init__(self, questions: Iterable[str], min_similarity: float) -> None:
        self._texts = [*dict.fromkeys(questions)]
        self._similar = SimilarTexts(self._texts, LENGTH, min_similarity)

    def __contains__(self, question: object) -> bool:
        text = str(question)
        return any(same_numbers(text, self._texts[place]) for place in self._similar.find(text))
