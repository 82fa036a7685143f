"""The generated answers of an evaluation before scoring, in the file `generated.json`.

The file contains everything that scoring needs besides the questions and the chunks. Answers that were generated on one
machine can therefore be scored on another, and they can be scored again without a model after a metric has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from insurance_rag.config import DecodingConfig, EvaluationConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import write_json
from insurance_rag.core.record_files import read_record
from insurance_rag.core.records import (
    Artifact,
    Chunk,
    ContextSource,
    PromptChoice,
    Question,
    Record,
    RetrievalSummary,
    ScoredAnswer,
)
from insurance_rag.core.records.general_text import GeneralTasks, GeneralText
from insurance_rag.core.records.recipes import RecipeAdapters
from insurance_rag.core.records.verifier import VerifierRun
from insurance_rag.evaluation.requests import GeneratedAnswer, GenerationRequest, build_prompt
from insurance_rag.evaluation.samples import ContextChunk, EvalSample, make_sample
from insurance_rag.evaluation.scoring import Verification, score

FILE = "generated.json"


class EvaluationRun(Record):
    """The models, settings and measurements of an evaluation, without the answers."""

    base_model: str
    models: list[str]
    """The base model and the adapters, in display order."""
    adapters: dict[str, Artifact]
    decoding: DecodingConfig
    config: EvaluationConfig
    prompt_formats: dict[PromptChoice, dict[str, str]]
    """Choice of prompt formats -> model -> prompt format. The results of the first choice are the main results."""
    assumed_formats: list[str]
    """Adapters without a training manifest. Their own format is not known, so they were asked in `rag`."""
    retrieval: RetrievalSummary
    contaminated: dict[str, int]
    """For each adapter, the number of questions about documents that the adapter was trained on."""
    recipes: dict[str, RecipeAdapters]
    """Recipe -> its adapters, which differ only in the seed."""
    general_text: GeneralText | None = None
    """Perplexities on general text; None if they were not measured."""
    general_tasks: GeneralTasks | None = None
    """Scores in general tasks; None if there were none."""
    wall_seconds: float
    verifier: VerifierRun | None = None


class ModelAnswer(Record):
    """One model's answer in one prompt format, as generated."""

    model: str
    prompt_format: str
    key: str
    text: str
    new_tokens: int
    seconds: float


class AnsweredSample(Record):
    """A question with the chunks that the models saw, and all answers to it."""

    question_id: str
    question: str
    gold_chunk_ids: list[str]
    context_source: ContextSource
    chunks: list[ContextChunk]
    gold_in_context: bool | None
    answers: list[ModelAnswer]


class Generated(Record):
    """The content of `generated.json`."""

    run: EvaluationRun
    samples: list[AnsweredSample]


def write_generated(out: Path, run: EvaluationRun, samples: Sequence[AnsweredSample]) -> None:
    """Write `generated.json` into the folder `out`."""
    write_json(out / FILE, Generated(run=run, samples=list(samples)).model_dump(mode="json"))


def read_generated(folder: Path) -> Generated:
    """Read `generated.json` from an evaluation folder. Raises InvalidInputError if it is missing or damaged."""
    path = folder / FILE
    if not path.is_file():
        raise InvalidInputError(f"{path}: no such file; give a folder that `insurance-rag evaluate` wrote")
    return read_record(path, Generated, "generated answers", "run evaluate again")


def score_generated(
    generated: Generated,
    questions: Sequence[Question],
    chunks: Sequence[Chunk],
    verify: Callable[[EvalSample, str], Verification] | None = None,
) -> Iterator[ScoredAnswer]:
    """Yield the score of every answer. References and required numbers come from `questions`. See `score` for `verify`.

    Raises an InvalidInputError that lists every question that is missing, or whose text or gold chunks are not those
    that the models were asked about.
    """
    asked, by_id = {q.question_id: q for q in questions}, {chunk.chunk_id: chunk for chunk in chunks}
    if problems := list(_changed(generated.samples, asked, by_id)):
        raise InvalidInputError(problems)
    run = generated.run
    for row in generated.samples:
        question = asked[row.question_id]
        sample = make_sample(question, row.context_source, row.chunks, row.gold_in_context, by_id)
        for answer in row.answers:
            yield score(
                sample,
                _request(sample, answer),
                GeneratedAnswer(answer.text, answer.new_tokens, answer.seconds),
                run.decoding,
                run.config.min_lexical_support,
                verify,
                verifier_counts=run.config.verifier_counts,
            )


def _request(sample: EvalSample, answer: ModelAnswer) -> GenerationRequest:
    question = sample.question
    prompt = build_prompt(question.question, sample.shown, answer.prompt_format)
    return GenerationRequest(answer.key, answer.model, question.question_id, prompt, answer.prompt_format)


def _changed(
    samples: Sequence[AnsweredSample], asked: Mapping[str, Question], by_id: Mapping[str, Chunk]
) -> Iterator[str]:
    """Yield one problem for each question that does not match its answers."""
    for row in {row.question_id: row for row in samples}.values():
        question = asked.get(row.question_id)
        if question is None:
            yield f"question {row.question_id}: was answered but is not among the questions; pass the same questions"
        elif (question.question, question.gold_chunk_ids) != (row.question, row.gold_chunk_ids):
            yield f"question {row.question_id}: its text or gold chunks differ from what was asked; run evaluate again"
        elif missing := [i for i in row.gold_chunk_ids if i not in by_id]:
            yield f"question {row.question_id}: gold chunk {missing[0]!r} is not among the chunks; pass the same chunks"
