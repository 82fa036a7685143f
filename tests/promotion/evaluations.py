"""Evaluation folders with constructed answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from insurance_rag.config import DecodingConfig, EvaluationConfig
from insurance_rag.core.artifacts import describe
from insurance_rag.core.files import write_json, write_jsonl
from insurance_rag.core.records import (
    Artifact,
    Correctness,
    EvaluationSummary,
    RefusalLevel,
    RetrievalSummary,
    ScoredAnswer,
)
from insurance_rag.evaluation.summary import summarize


def row(model: str, i: int, *, wrong: bool, refusal: RefusalLevel = "none", answerable: bool = True) -> ScoredAnswer:
    """Return the answer of `model` to question number `i`. It is correct if it is not wrong and refuses rightly."""
    correct = not wrong and (refusal == "full") is not answerable
    return ScoredAnswer(
        question_id=f"q{i}",
        model=model,
        question="얼마인가요?",
        type="fact" if answerable else "unanswerable",
        answerable=answerable,
        chunk_ids=["c"],
        context=f"chunk {i}",
        raw_answer="답",
        answer="답",
        key=f"{model} {i}",
        context_source="retrieved",
        prompt_format="rag",
        product="-",
        cluster=f"q{i}",
        document="d",
        reference_answer=None,
        gold_chunk_ids=["c"] if answerable else [],
        gold_in_context=answerable or None,
        hallucinated=wrong,
        findings=[],
        refusal=refusal,
        raw_hallucinated=wrong,
        raw_findings=[],
        number_accuracy=None,
        correctness=Correctness(correct=correct),
        raw_correctness=Correctness(correct=correct),
    )


def rows(model: str, n: int, wrong: int, shift: int = 0, refused: int = 0) -> list[ScoredAnswer]:
    """Return answers to `n` questions, a quarter of them unanswerable and correctly refused.

    `wrong` answers hallucinate, from question `shift` on. The first `refused` ones are refusals. Every answerable
    question requires a number, which the correct answers state.
    """
    found = []
    for i in range(n):
        answerable = i % 4 != 3
        refusal: RefusalLevel = "full" if not answerable or i < refused else "none"
        made = row(model, i, wrong=shift <= i < shift + wrong, refusal=refusal, answerable=answerable)
        number_accuracy = made.correctness.correct if answerable else None
        found.append(made.model_copy(update={"number_accuracy": number_accuracy}))
    return found


def write_evaluation(folder: Path, **models: Sequence[ScoredAnswer]) -> Path:
    """Write summary.json and answers.jsonl of these models, with a folder per adapter; return `folder`."""
    adapters = {}
    for model in models:
        if model != "Base":
            (folder / model).mkdir(parents=True)
            (folder / model / "adapter_config.json").write_text(model)
            adapters[model] = describe(folder / model, Artifact)
    answers = [answer for own in models.values() for answer in own]
    summary = EvaluationSummary(
        **dict(summarize(answers, list(models))),
        context="retrieved",
        prompt="own",
        prompt_formats=dict.fromkeys(models, "rag"),
        assumed_formats=[],
        base_model="tiny",
        decoding=DecodingConfig().model_dump(mode="json"),
        config=EvaluationConfig().model_dump(mode="json"),
        retrieval=RetrievalSummary(n=0, scores={}, query_ms={}),
        contaminated={},
        adapters=adapters,
        wall_seconds=1.0,
    )
    write_json(folder / "summary.json", summary.model_dump(mode="json"))
    write_jsonl(folder / "answers.jsonl", (answer.model_dump(mode="json") for answer in answers))
    return folder
