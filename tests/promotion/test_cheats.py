"""Known cheats against the real scoring, summary and gate: none is ever promoted, and the decision says why."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

import pytest
from bench.cheat_answers import CHAMPIONS, CHEATS, HONEST, AnswerFunction, World, is_due, reference, sometimes
from bench.cheats import answers, champion_answers, decide_on, figures, table, world

from insurance_rag.core.records import ScoredAnswer
from insurance_rag.evaluation.samples import EvalSample

QUICK = (
    "first sentence of the chunk + hedge", "always refuses", "copies all chunks", "closest sentence + hedge",
    "reference, negated", "reference, number from elsewhere in the context", "reference + foreign tail",
)  # fmt: skip
"""Cheats that `make test` runs; the others take another minute."""


@cache
def champions() -> dict[str, list[ScoredAnswer]]:
    return champion_answers()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.long) for name in CHEATS]
)
def test_a_cheat_is_never_promoted(name: str) -> None:
    found = figures(name, CHEATS[name], champions())
    assert {verdict.champion for verdict in found.verdicts} == set(CHAMPIONS)
    for verdict in found.verdicts:
        assert verdict.decision != "promote", table([found])
        assert verdict.rules
        assert all(f"{rule} (" in verdict.reason for rule in verdict.rules)


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_model_is_promoted(name: str) -> None:
    found = figures(name, HONEST[name], champions())
    assert [verdict.decision for verdict in found.verdicts] == ["promote", "promote"], table([found])


def inventing(answer: AnswerFunction, wanted: Callable[[int], bool]) -> AnswerFunction:
    """Return a function that adds an invented amount to the answers to the `wanted` questions, by their number."""

    def changed(sample: EvalSample, all_of: World) -> str:
        index = all_of.samples.index(sample)
        return f"{answer(sample, all_of)} 보험금은 9,876만원입니다." if wanted(index) else answer(sample, all_of)

    return changed


def test_a_model_that_hallucinates_as_often_and_is_more_often_correct_is_promoted() -> None:
    """The two models invent something on as many questions, but not on the same ones."""
    due = [i for i, sample in enumerate(world().samples) if is_due(sample)]
    champion = answers("champion", inventing(sometimes(0.5, "mediocre"), lambda i: i in due[:8]))
    challenger = answers("challenger", inventing(reference, lambda i: i in due[100:108]))
    decision = decide_on(challenger, champion)
    rule = next(rule for rule in decision.rules if rule.name == "no_worse.hallucination")
    assert (decision.decision, rule.outcome) == ("promote", "pass"), decision.reason


def test_the_reverse_is_not_promoted() -> None:
    champion, challenger = answers("champion", reference), answers("challenger", sometimes(0.5, "mediocre"))
    decision = decide_on(challenger, champion)
    assert decision.decision == "refuse"
    assert "better (" in decision.reason and "no_worse.false_refusal (" in decision.reason


def test_the_table_names_every_rule_that_failed() -> None:
    found = figures("always refuses", CHEATS["always refuses"], champions())
    row = table([found]).splitlines()[-1]
    assert row.startswith("| always refuses | ")
    assert all(rule in row for verdict in found.verdicts for rule in verdict.rules)


def test_copying_the_chunks_does_not_state_the_required_numbers() -> None:
    copied = [row.number_accuracy for row in answers("copier", CHEATS["copies all chunks"])]
    assert True not in copied
    assert copied.count(False) > 100


def test_answers_of_100_kb_are_scored_and_decided_on_in_seconds() -> None:
    started = time.process_time()
    long = answers("long", lambda sample, _: (f"{sample.context} " * 200)[:100_000], questions=20)
    assert time.process_time() - started < 20
    assert all(row.correctness.correct is False or row.correctness.cannot_judge for row in long)
    started = time.process_time()
    decision = decide_on(long, answers("champion", reference, questions=20))
    assert decision.decision == "refuse"
    assert time.process_time() - started < 10
