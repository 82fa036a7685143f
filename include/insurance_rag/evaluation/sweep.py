"""The decoding sweep: compare combinations of repetition penalty, penalty scope and stop settings for every model.

An arm is one combination or a decoding preset. One half of the questions (tuning) decides which arm is best for each
model. On this half, the best arm looks better than it is. It is therefore measured on the other half (report). A hash
of the question id assigns each question to a half, so adding questions does not move existing ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

from pydantic import JsonValue

from insurance_rag.config import DecodingConfig, EvaluationConfig
from insurance_rag.config.evaluation import DECODING_PRESETS
from insurance_rag.core.artifact_store.locations import public_text
from insurance_rag.core.artifacts import describe
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import write_json
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.metrics import Metric, question_clusters
from insurance_rag.core.records import (
    BeforeAfter,
    Chunk,
    Question,
    Rate,
    ScoredAnswer,
    SweepArtifact,
    SweepHalves,
    SweepSummary,
)
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.core.stats import paired_difference
from insurance_rag.evaluation.answering import answer_samples
from insurance_rag.evaluation.backends import open_backend
from insurance_rag.evaluation.contexts import prompt_budget
from insurance_rag.evaluation.inputs import check_inputs
from insurance_rag.evaluation.metrics import METRICS
from insurance_rag.evaluation.prompts import choose_formats
from insurance_rag.evaluation.requests import BASE
from insurance_rag.evaluation.samples import EvalSample, make_samples
from insurance_rag.evaluation.summary import rates, too_few_questions
from insurance_rag.retrieval import build_retriever

PENALTIES = (1.0, 1.05, 1.1, 1.2)

Answers = Mapping[str, Sequence[ScoredAnswer]]
"""Maps arm names to the scored answers of all models."""


def make_arms(settings: Mapping[str, JsonValue]) -> dict[str, DecodingConfig]:
    """Return the arms by name: the decoding presets and all combinations. `settings` override fields in every arm."""
    off = {"stop_strings": (), "stop_loops": False, "stop_phrases": (), "trim_foreign_tail": False}
    found = {name: DecodingConfig.preset(name) for name in DECODING_PRESETS}
    for penalty, scope, stop in product(PENALTIES, ("generated", "prompt"), (True, False)):
        if penalty == 1.0 and scope == "prompt":
            continue  # without a penalty the scope has no effect
        name = f"penalty {penalty} on {scope}, stop {'on' if stop else 'off'}"
        factors = {"repetition_penalty": penalty, "penalty_scope": scope, **({} if stop else off)}
        found[name] = DecodingConfig.model_validate(factors)
    return {name: DecodingConfig.parse({**arm.model_dump(), **settings}, "decoding") for name, arm in found.items()}


def is_tuning(question_id: str) -> bool:
    """Return whether the question belongs to the tuning half. This half decides which arm is best for each model."""
    return int(sha256_text("sweep", question_id)[:8], 16) % 2 == 0


def sweep(
    questions: Sequence[Question],
    chunks: Sequence[Chunk],
    base_model: str,
    adapters: Mapping[str, Path],
    out: Path,
    config: EvaluationConfig | None = None,
    *,
    settings: Mapping[str, JsonValue] | None = None,
    cache: Path | None = None,
    progress: Path | None = None,
) -> SweepArtifact:
    """Answer the tuning half of the questions with every arm, and the report half with the presets and the best arms.

    Writes sweep.json into `out`. `settings` override fields of DecodingConfig in every arm. Only the first context
    source is used, and every model is asked in its own prompt format. A repeated call generates only missing answers.
    Raises InvalidInputError if the backend cannot restrict the repetition penalty to generated tokens.
    """
    config = config or EvaluationConfig()
    config = config.model_copy(update={"contexts": config.contexts[:1], "prompt": "own"})
    check_inputs(questions, chunks, adapters)
    formats = choose_formats(adapters, config.prompts)
    _check_backend(config)
    RunFolder(out).create()
    models, arms = [BASE, *adapters], make_arms(settings or {})
    retriever = build_retriever(config.retrieval.kind, chunks, cache, config.retrieval)
    with open_backend(base_model, adapters, config) as backend:
        budget = prompt_budget(backend, max(arm.max_new_tokens for arm in arms.values()), formats.all)
        samples = list(make_samples(questions, chunks, retriever, config, budget, backend.count_tokens, formats.all))
        tuning_half, report_half = _halves(samples)

        def answer(half: Sequence[EvalSample], arm: str) -> list[ScoredAnswer]:
            return answer_samples(half, formats.by_model, backend, arms[arm], config, out, progress, label=arm)

        tuning = {arm: _rates_by_model(answer(tuning_half, arm), models) for arm in arms}
        best = {model: min(tuning, key=lambda arm: _rank(tuning[arm][model])) for model in models}
        reported = {arm: answer(report_half, arm) for arm in dict.fromkeys([*DECODING_PRESETS, *best.values()])}
    n = len(report_half)
    result = SweepSummary(
        questions=SweepHalves(tuning=len(tuning_half), report=n),
        notes=[too_few_questions(n, config.warn_below)] if n < config.warn_below else [],
        base_model=public_text(base_model),
        tuning=tuning,
        best=best,
        report={arm: _rates_by_model(rows, models) for arm, rows in reported.items()},
        before_after={model: _before_after(reported, model) for model in models},
    )
    write_json(out / "sweep.json", result.model_dump(mode="json"))
    return describe(out / "sweep.json", SweepArtifact, rows=sum(map(len, reported.values())), best=best)


def _check_backend(config: EvaluationConfig) -> None:
    """Raise InvalidInputError if the backend cannot restrict the repetition penalty to generated tokens."""
    if config.server or config.reference:
        raise InvalidInputError(
            "sweep: half of its arms penalize generated tokens only, which needs a local model; remove --set server "
            "and --set reference"
        )


def _halves(samples: Sequence[EvalSample]) -> tuple[list[EvalSample], list[EvalSample]]:
    """Split the samples into the tuning half and the report half."""
    tuning, report = ([s for s in samples if is_tuning(s.question.question_id) is half] for half in (True, False))
    return tuning, report


def _rates_by_model(rows: Sequence[ScoredAnswer], models: Sequence[str]) -> dict[str, dict[str, Rate]]:
    return {model: rates(row for row in rows if row.model == model) for model in models}


def _rank(figures: Mapping[str, Rate]) -> tuple[float, float]:
    """Return the sort key of an arm, lowest first: its rate of faulty answers, then its hallucination rate.

    The hallucination rate alone would favor arms with many empty answers and false refusals.
    """
    return figures["faulty"].rate or 0.0, figures["hallucination"].rate or 0.0


def _before_after(reported: Answers, model: str) -> BeforeAfter:
    """Return a model's hallucination rate with each preset, and the paired test of `after` against `before`.

    `before`, `after` and `default` are the decoding presets. All values are measured on the report half.
    """
    metric: Metric = METRICS["hallucination"]
    own = {arm: [row for row in reported[arm] if row.model == model] for arm in DECODING_PRESETS}
    before, after = (metric.outcomes(own[arm]) for arm in ("before", "after"))
    return BeforeAfter(
        before=metric.rate(own["before"]),
        after=metric.rate(own["after"]),
        default=metric.rate(own["default"]),
        after_against_before=paired_difference(before, after, question_clusters(own["before"])),
    )
