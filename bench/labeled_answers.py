"""The hand-labeled answers, joined with their questions and chunks.

Half of the labeled sample questions belong to the part `tuning`, on which rules and thresholds were chosen. The others
belong to the part `report`, on which metrics and checks are measured. No chunk is a gold chunk in both parts. The part
`tuning` also has questions of its own (labeled_questions.jsonl), about chunks that no question of the other part needs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from insurance_rag.chunks import SAMPLE_QUESTIONS, read_chunks, read_questions
from insurance_rag.config import EvaluationConfig
from insurance_rag.core.prompt_templates import CHUNK_SEPARATOR
from insurance_rag.core.records import Question, Record
from insurance_rag.retrieval import build_retriever

LABELED_ANSWERS = Path(SAMPLE_QUESTIONS).with_name("labeled_answers.jsonl")
LABELED_QUESTIONS = Path(SAMPLE_QUESTIONS).with_name("labeled_questions.jsonl")
Part = Literal["tuning", "report"]


class Label(Record):
    """One line of labeled_answers.jsonl."""

    question_id: str
    half: Part
    correct: bool
    kind: str
    """What is wrong with the answer; for a correct answer, how it differs from the reference."""
    answer: str


@dataclass(frozen=True)
class LabeledAnswer:
    """An answer with its label, its question, and the chunks that a model would be given."""

    label: Label
    question: Question
    gold_texts: Sequence[str]
    context: str
    """Texts of the retrieved chunks."""

    @property
    def cluster(self) -> str:
        """Name of the question's cluster, as in an evaluation."""
        return "+".join(sorted(self.question.gold_chunk_ids)) or self.question.question_id


def read_labels(part: Part | None = None) -> list[Label]:
    """Return the labels of one part, or all of them."""
    lines = LABELED_ANSWERS.read_text("utf-8").splitlines()
    labels = [Label.model_validate(json.loads(line)) for line in lines]
    return [label for label in labels if part in (None, label.half)]


def labeled_answers(part: Part) -> list[LabeledAnswer]:
    """Return the labeled answers of one part with their questions and chunks."""
    chunks = read_chunks("sample")
    questions = {q.question_id: q for q in (*read_questions("sample"), *read_questions(LABELED_QUESTIONS))}
    texts = {chunk.chunk_id: chunk.text for chunk in chunks}
    config = EvaluationConfig().retrieval
    retriever = build_retriever(config.kind, chunks, None, config)
    contexts: dict[str, str] = {}
    found = []
    for label in read_labels(part):
        question = questions[label.question_id]
        if question.question_id not in contexts:
            hits = retriever.search(question.question, config.top_k, question.filters)
            contexts[question.question_id] = CHUNK_SEPARATOR.join(hit.text for hit in hits)
        gold = [texts[i] for i in question.gold_chunk_ids]
        found.append(LabeledAnswer(label, question, gold, contexts[question.question_id]))
    return found
