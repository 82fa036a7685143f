"""The evaluation of a sample run: scored answers of up to four models, their summary, decision and sweep."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import JsonValue

import insurance_rag
from insurance_rag.core.files import read_jsonl, write_json, write_jsonl
from insurance_rag.core.records import (
    Artifact,
    Chunk,
    ContextSource,
    Correctness,
    EvaluationSummary,
    Finding,
    PairedDifference,
    Question,
    Rate,
    RetrievalSummary,
    ScoredAnswer,
)
from insurance_rag.core.records.evaluation import BeforeAfter, SweepHalves, SweepSummary
from insurance_rag.core.records.recipes import RecipeAdapters
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.evaluation.recipes import compare_all_recipes, summarize_recipes
from insurance_rag.evaluation.summary import summarize
from insurance_rag.promotion.decide import decide

SAMPLES = Path(insurance_rag.__file__).with_name("samples")
#: Model -> probability that one of its answers is faulty.
MODELS = {"Base": 0.34, "v1": 0.27, "v2": 0.12, "v3": 0.10}


def chunks() -> list[Chunk]:
    return [Chunk.model_validate(row) for row in read_jsonl(SAMPLES / "chunked_data.jsonl")]


def write_evaluation(run: RunFolder, models: tuple[str, ...], n: int) -> None:
    asked = [Question.model_validate(row) for row in read_jsonl(SAMPLES / "questions.jsonl")[:n]]
    texts = {chunk.chunk_id: chunk.text for chunk in chunks()}
    adapter = Artifact(uri="/data/adapter", sha256="0" * 64)
    sources: tuple[ContextSource, ...] = ("retrieved", "gold")
    for source in sources:
        rows = [
            _answer(question, texts, name, source, random.Random(f"{question.question_id}{name}{source}"))
            for question in asked
            for name in models
        ]
        suffix = "" if source == "retrieved" else "_gold"
        write_jsonl(run.evaluation / f"answers{suffix}.jsonl", (row.model_dump(mode="json") for row in rows))
        summary = EvaluationSummary(
            context=source,
            prompt="own",
            prompt_formats=dict.fromkeys(models, "rag"),
            assumed_formats=[],
            **dict(summarize(rows, models)),
            base_model="/data/base_model",
            decoding={"temperature": 0.0, "max_new_tokens": 256},
            config={"warn_below": 200},
            retrieval=_retrieval(n),
            contaminated={},
            adapters={name: adapter for name in models if name != "Base"},
            recipes=summarize_recipes(rows, _recipes(models)),
            recipe_tests=compare_all_recipes(rows, _recipes(models)),
            wall_seconds=81.2,
        )
        write_json(run.evaluation / f"summary{suffix}.json", summary.model_dump(mode="json"))
    decide(run.evaluation)
    write_sweep(run, models, {name: dict(model.rates) for name, model in summary.models.items()})


def _retrieval(n: int) -> RetrievalSummary:
    def scores(value: float) -> dict[str, JsonValue]:
        return {"hit@5": {"value": value, "interval": [value - 0.03, value + 0.03]}}

    return RetrievalSummary.model_validate(
        {
            "n": n,
            "scores": scores(0.87),
            "query_ms": {"p50": 1.0},
            "parts": {"bm25": scores(0.91), "dense": scores(0.64)},
            "warnings": [f"hit@5 of {n} questions: hybrid 0.87, but bm25 0.91 alone; set retriever=bm25"],
        }
    )


def _recipes(models: tuple[str, ...]) -> dict[str, RecipeAdapters]:
    """Group models such as `v2-s42` and `v2-s43` into recipes."""
    recipes: dict[str, RecipeAdapters] = {}
    for model in models:
        name, _, seed = model.partition("-s")
        if name != "Base":
            earlier = recipes.get(name, RecipeAdapters(adapters=[], seeds=[]))
            seeds = [*earlier.seeds, int(seed or 42)]
            recipes[name] = RecipeAdapters(adapters=[*earlier.adapters, model], seeds=seeds)
    return recipes


def write_sweep(run: RunFolder, models: tuple[str, ...], rates: Mapping[str, dict[str, Rate]]) -> None:
    arms = ("before", "after", "default", "penalty 1.05 on generated, stop on")
    difference = PairedDifference(
        n=148, only_a=9, only_b=1, difference=-0.054, low=-0.1, high=-0.01, p=0.031, questions_needed=200
    )
    sweep = SweepSummary(
        questions=SweepHalves(tuning=152, report=148),
        notes=[],
        base_model="/data/base_model",
        tuning={},
        best=dict.fromkeys(models, arms[3]),
        report={arm: {model: rates[model] for model in models} for arm in arms},
        before_after={
            model: BeforeAfter(
                before=rates[model]["hallucination"],
                after=rates[model]["hallucination"],
                default=rates[model]["hallucination"],
                after_against_before=difference,
            )
            for model in models
        },
    )
    write_json(run.evaluation / "sweep.json", sweep.model_dump(mode="json"))


class _Text(NamedTuple):
    """An answer as generated, after post-processing, and what is wrong with it."""

    raw: str
    answer: str
    cut: str | None = None
    findings: tuple[Finding, ...] = ()


FAULTS = (
    ("article", "제99조"),
    ("quantity", "7,700만원"),
    ("foreign_tail", "Este es el seguro que necesita."),
    ("loop", "보험금을 지급합니다. 보험금을 지급합니다. 보험금을 지급합니다."),
)


def _text(question: Question, model: str, rng: random.Random) -> _Text:
    answer = question.reference_answer or "약관에 해당 내용이 없습니다."
    name, _, seed = model.partition("-s")
    if rng.random() < MODELS[name] + 0.05 * (int(seed or 0) % 3):
        check, span = rng.choice(FAULTS)
        answer = f"{answer} 그리고 {span}에 따라 처리합니다."
        finding = Finding(check=check, span=span, evidence="제9조" if check == "article" else None)
        return _Text(answer, answer, None, (finding,))
    if rng.random() < 0.2:
        return _Text(f"{answer} 이번에 새로 나온 상품을 소개합니다.", answer, "이번에 새로 나온")
    return _Text(answer, answer)


PROBLEMS = {"article": "article", "quantity": "contradicting_number", "foreign_tail": "focus", "loop": "focus"}


def _correctness(question: Question, findings: list[Finding], rng: random.Random) -> Correctness:
    """Return a correct answer, one with a problem per finding, or one that says something else without a finding."""
    problems = [{"kind": PROBLEMS[f.check], "text": f.span} for f in findings]
    if findings and not question.answerable:
        problems = [{"kind": "missed_refusal", "text": ""}]
    if not findings and question.answerable and rng.random() < 0.15:
        problems = [{"kind": rng.choice(["polarity", "content"]), "text": "0.05 < 0.20"}]
    if question.answerable and not question.reference_answer:
        return Correctness(correct=None, cannot_judge="the question has no reference answer")
    return Correctness.model_validate({"correct": not problems, "problems": problems})


def _answer(
    question: Question, texts: Mapping[str, str], model: str, source: ContextSource, rng: random.Random
) -> ScoredAnswer:
    gold = question.gold_chunk_ids
    retriever = random.Random(question.question_id)  # every model is given the same chunks
    found = retriever.random() < 0.94
    others = retriever.sample(sorted(texts), 5)
    given = gold if source == "gold" and gold else ([*gold, *others] if found else others)[:5]
    text = _text(question, model, rng)
    findings = list(text.findings)
    fields: dict[str, Any] = {
        name: None for name, field in ScoredAnswer.model_fields.items() if field.is_required()
    }  # metrics of the evaluation that this page does not show
    fields |= {
        "question_id": question.question_id,
        "model": model,
        "question": question.question,
        "type": question.type,
        "answerable": question.answerable,
        "chunk_ids": given,
        "context": "\n\n".join(texts[i] for i in given),
        "raw_answer": text.raw,
        "answer": text.answer,
        "stop_cut": text.cut,
        "new_tokens": 40,
        "seconds": round(rng.uniform(0.4, 2.5), 2),
        "key": f"{question.question_id}{model}{source}",
        "context_source": source,
        "product": " ".join(question.filters.values()),
        "reference_answer": question.reference_answer,
        "gold_chunk_ids": gold,
        "gold_in_context": bool(set(gold) & set(given)) if gold else None,
        "hallucinated": bool(findings),
        "findings": findings,
        "refusal": "none" if question.answerable else "full",
        "raw_hallucinated": text.raw != text.answer or bool(findings),
        "raw_findings": findings,
        "prompt_format": "rag",
        "cluster": "+".join(gold) or question.question_id,
        "document": gold[0].rpartition("_")[0] if gold else question.question_id,
        "correctness": _correctness(question, findings, rng),
        "raw_correctness": Correctness(correct=text.raw == text.answer and not findings),
        "number_accuracy": rng.random() < 0.8 if question.required_numbers else None,
    }
    return ScoredAnswer.model_validate(fields)
