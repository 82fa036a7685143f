"""The decoding sweep: penalty x scope x stop x model on the same questions, tuned on one half, reported on the other.

The winner on the tuning half looks better there than it is; only the other half's figures count. Questions are halved
by the hash of their id, so that the halves stay the same when questions are added.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from insurance_rag.config import DecodingConfig, EvaluationConfig
from insurance_rag.core.artifacts import artifact
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import write_json
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records import Chunk, Question
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.evaluation.requests import BASE
from insurance_rag.evaluation.run import answer_samples, check_inputs, open_backend, prompt_budget
from insurance_rag.evaluation.samples import make_samples
from insurance_rag.evaluation.scoring import ScoredAnswer
from insurance_rag.evaluation.summary import paired, rates, too_few
from insurance_rag.retrieval import build_retriever

PENALTIES = (1.0, 1.05, 1.1, 1.2)
PRESETS = ("before", "after", "default")


def make_arms(settings: Mapping[str, Any]) -> dict[str, DecodingConfig]:
    """Every setting of the factorial and the three presets, by a name that says what it is; all with `settings`."""
    off = {"stop_strings": (), "stop_loops": False, "stop_phrases": (), "trim_foreign_tail": False}
    found = {name: DecodingConfig.preset(name) for name in PRESETS}
    for penalty, scope, stop in product(PENALTIES, ("generated", "prompt"), (True, False)):
        if penalty == 1.0 and scope == "prompt":
            continue  # no penalty has no scope
        name = f"penalty {penalty} on {scope}, stop {'on' if stop else 'off'}"
        factors = {"repetition_penalty": penalty, "penalty_scope": scope, **({} if stop else off)}
        found[name] = DecodingConfig.model_validate(factors)
    return {name: DecodingConfig.parse({**arm.model_dump(), **settings}, "decoding") for name, arm in found.items()}


def is_tuning(question_id: str) -> bool:
    return int(sha256_text("sweep", question_id)[:8], 16) % 2 == 0


def sweep(
    questions: Sequence[Question],
    chunks: Sequence[Chunk],
    base_model: str,
    adapters: Mapping[str, Path],
    out: Path,
    config: EvaluationConfig | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    cache: Path | None = None,
    progress: Path | None = None,
) -> dict[str, Any]:
    """Answer every question of the tuning half with every arm, and of the other half with the presets and the winners.

    Writes sweep.json: {tuning: {ARM: {MODEL: rates}}, best: {MODEL: ARM}, report: {MODEL: {ARM: rates}},
    before_after: {MODEL: paired test}}. `settings` (of DecodingConfig) hold for every arm. Resumes by content like
    `evaluate`. Uses the first context source only.
    """
    config = (config or EvaluationConfig()).model_copy(update={"contexts": (config or EvaluationConfig()).contexts[:1]})
    check_inputs(questions, chunks, adapters)
    if config.server or config.reference:
        raise InvalidInputError(
            "sweep: half of its settings count the generated tokens alone, which needs a local model"
        )
    RunFolder(out).create()
    models, arms = [BASE, *adapters], make_arms(settings or {})
    retriever = build_retriever(config.retrieval.kind, chunks, cache, config.retrieval)
    with open_backend(base_model, adapters, config) as answerer:
        longest = max(arm.max_new_tokens for arm in arms.values())
        room = prompt_budget(answerer, longest)
        cases = list(make_samples(questions, chunks, retriever, config, room, answerer.count_tokens))
        halves = [[c for c in cases if is_tuning(c.question.question_id) == half] for half in (True, False)]

        def ask(half: int, arm: str) -> list[ScoredAnswer]:
            return answer_samples(halves[half], models, answerer, arms[arm], config, out, progress, label=arm)

        tuning = {arm: _by_model(ask(0, arm), models) for arm in arms}
        best = {model: min(tuning, key=lambda arm: _key(tuning[arm][model])) for model in models}
        reported = {arm: ask(1, arm) for arm in dict.fromkeys([*PRESETS, *best.values()])}
    result = {
        "questions": {"tuning": len(halves[0]), "report": len(halves[1])},
        "notes": [too_few(len(halves[1]), config.warn_below)] if len(halves[1]) < config.warn_below else [],
        "base_model": base_model,
        "tuning": tuning,
        "best": best,
        "report": {arm: _by_model(rows, models) for arm, rows in reported.items()},
        "before_after": {model: _before_after(reported, model, config.draws) for model in models},
    }
    write_json(out / "sweep.json", result)
    return artifact(out / "sweep.json", rows=sum(map(len, reported.values())), best=best)


def _by_model(rows: Sequence[ScoredAnswer], models: Sequence[str]) -> dict[str, Any]:
    return {model: rates(row for row in rows if row.model == model) for model in models}


def _key(figures: dict[str, Any]) -> tuple[float, float]:
    """Fewest faulty answers, then fewest hallucinations: silence and refusing everything must not win."""
    return figures["faulty"]["rate"] or 0.0, figures["hallucination"]["rate"] or 0.0


def _before_after(reported: Mapping[str, Sequence[ScoredAnswer]], model: str, draws: int) -> dict[str, Any]:
    """The source's table for one model on the reported half, and whether `after` differs from `before`."""
    flagged = {
        arm: {row.question_id: row.hallucinated for row in rows if row.model == model} for arm, rows in reported.items()
    }
    figures = {arm: rates(r for r in reported[arm] if r.model == model)["hallucination"] for arm in PRESETS}
    return {**figures, "after_against_before": paired(flagged["before"], flagged["after"], draws)}
