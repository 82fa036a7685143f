"""Hostile text takes time in proportion to its length: ten times the text, about ten times the time."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import pytest
from tests.security.hostile_texts import UNITS, hostile, text_functions
from tests.validation.helpers import SETTINGS, row

from insurance_rag.evaluation.checks import check_answer
from insurance_rag.generation.parse import parse_answer
from insurance_rag.validation.row import parse_row
from insurance_rag.validation.rules.registry import RULES, RowRule, RuleContext

SHORT, LONG = 10_000, 100_000
MAX_RATIO = 30
"""Ten is linear; a quadratic function has a hundred. Measured times vary on a busy machine."""
NO_TIME = 0.3
"""Seconds for the long text below which the ratio is not looked at."""
FUNCTIONS = dict(text_functions())


def seconds(call: Callable[[str], object], text: str) -> float:
    gc.disable()  # a full collection takes a second in a process that ran many tests
    try:
        start = time.process_time()
        call(text)
        return time.process_time() - start
    finally:
        gc.enable()


def superlinear(call: Callable[[str], object], names: tuple[str, ...] = tuple(UNITS)) -> dict[str, tuple[float, float]]:
    """Return (time of the short text, time of the long one) for the texts that take too long."""
    call("제1조 보험금은 3만원입니다.")  # loads what is loaded once
    found = {}
    for name in names:
        short, long = (seconds(call, hostile(name, length)) for length in (SHORT, LONG))
        if long > NO_TIME and long > MAX_RATIO * short:
            found[name] = (round(short, 3), round(long, 3))
    return found


def test_the_functions_are_found() -> None:
    assert len(FUNCTIONS) >= 45
    assert {"quantities.quantities", "injection.model_instructions", "statements.analyze"} <= FUNCTIONS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_analysis_of_text_is_linear(name: str) -> None:
    assert superlinear(FUNCTIONS[name]) == {}


def check_row(text: str) -> object:
    """Apply all row rules to a row whose question, answer, evidence and chunk are this text."""
    config = SETTINGS.model_copy(update={"max_characters": 10 * LONG})
    content = row(1, instruction=text, output=text, evidence=text, input=text)
    parsed = parse_row(content, config.max_characters)
    context = RuleContext(config)
    return [rule.check(parsed, context) for each in config.rules if isinstance(rule := RULES[each], RowRule)]


@pytest.mark.slow
def test_the_rules_for_a_row_are_linear() -> None:
    assert superlinear(check_row) == {}


@pytest.mark.slow
def test_the_checks_of_an_answer_are_linear() -> None:
    assert superlinear(lambda text: check_answer(text, text, text, True)) == {}


@pytest.mark.slow
def test_the_parser_of_the_teachers_answers_is_linear() -> None:
    from tests.fuzz.targets import REQUESTS

    from insurance_rag.core.errors import PipelineError

    def parse(text: str) -> object:
        try:
            return parse_answer(text, REQUESTS)
        except PipelineError as e:
            return str(e)

    assert superlinear(parse) == {}
    for unit in ('{"', '[{"a":', '{"chunk": "C1", "type": "fact", "question": "가", "answer": "나"},', "[1], "):
        texts = [(unit * LONG)[:length] for length in (SHORT, LONG)]
        short, long = (seconds(parse, text) for text in texts)
        assert long < NO_TIME or long < MAX_RATIO * short, unit
