"""The model catalog, and how settings override it."""

from __future__ import annotations

import logging
from datetime import date
from pathlib import Path

import pytest

from insurance_rag.config import GenerationConfig, Price
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.llm.catalog import (
    batch_price_fraction,
    load_catalog,
    max_output_tokens,
    model_entry,
    price_of,
    retirement_warning,
    temperature,
    thinking_config,
)


def config(**settings: object) -> GenerationConfig:
    return GenerationConfig.parse(settings)


def test_the_default_model_is_known_completely() -> None:
    default = GenerationConfig()
    entry = model_entry(default.model)
    assert entry and entry.price and entry.price.cached_input == 0.03 and entry.limits
    assert price_of(default) == Price(input=0.3, output=2.5)
    assert max_output_tokens(default.model) == 65_536 and max_output_tokens("another") is None


def test_the_entry_of_a_retiring_model() -> None:
    entry = model_entry("gemini-2.5-flash")
    assert entry and entry.retirement and entry.retirement.successor == GenerationConfig().model
    assert model_entry("another") is None


def test_settings_override_the_catalog() -> None:
    own = {"gemini-3.6-flash": {"input": 1, "output": 2}}
    assert price_of(config(model="gemini-3.6-flash", prices=own)) == Price(input=1, output=2)
    assert batch_price_fraction(config()) == 0.5
    assert batch_price_fraction(config(batch_discount=0.8)) == 0.8
    assert batch_price_fraction(config(model="another")) == 1.0
    assert temperature(config()) == 1.0
    assert temperature(config(temperature=0)) == 0
    assert temperature(config(model="another")) == 0.7


def test_a_model_without_a_price_is_warned_about_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert price_of(config(model="gemini-unpriced")) is None
        assert price_of(config(model="gemini-unpriced", timeout_s=1)) is None
        assert price_of(config(model="own-server", teacher="openai")) is None
    (record,) = caplog.records
    assert "the price of model gemini-unpriced is not known" in record.message and "`prices`" in record.message


@pytest.mark.parametrize(
    ("model", "level", "expected"),
    [
        ("gemini-3.5-flash-lite", None, {"thinkingLevel": "minimal"}),
        ("gemini-3.5-flash-lite", "high", {"thinkingLevel": "high"}),
        ("gemini-3.6-flash", None, None),
        ("gemini-3.6-flash", "low", {"thinkingLevel": "low"}),
        ("gemini-2.5-flash-lite", None, {"thinkingBudget": 0}),
        ("gemini-2.5-pro", None, None),
        ("another", None, None),
    ],
)
def test_thinking_is_as_low_as_the_model_allows(model: str, level: str | None, expected: object) -> None:
    assert thinking_config(config(model=model, thinking=level)) == expected


def test_an_unknown_thinking_level_names_the_available_ones() -> None:
    with pytest.raises(InvalidInputError, match="no level 'off'; available: minimal, low, medium, high"):
        thinking_config(config(thinking="off"))
    with pytest.raises(InvalidInputError, match="has no thinking levels"):
        thinking_config(config(model="gemini-2.5-flash", thinking="low"))


def test_a_retirement_is_announced_thirty_days_before() -> None:
    assert retirement_warning("gemini-2.5-flash", date(2026, 10, 31)) is None
    soon = retirement_warning("gemini-2.5-flash", date(2026, 11, 25))
    assert soon and "retires on 2026-12-01 (in 6 days)" in soon and "`model` to gemini-3.5-flash-lite" in soon
    late = retirement_warning("gemini-2.5-flash", date(2027, 1, 1))
    assert late and "retired on 2026-12-01" in late and "`keep_answers_of`" in late
    assert retirement_warning("gemini-3.5-flash-lite", date(2027, 1, 1)) is None


def test_bad_entries_are_reported_with_model_and_field(tmp_path: Path) -> None:
    path = tmp_path / "catalog.yaml"
    path.write_text(
        "sources: {a: {text: a page, read: 2026-11-25}}\n"
        "models:\n"
        "  m: {provider: gemini, price: {input: -1, output: 2, source: a}}\n"
        "  n: {provider: gemini, thinking: {levels: [low], default: high, source: a}, colour: red}\n"
    )
    with pytest.raises(InvalidInputError) as error:
        load_catalog(path)
    text = "\n".join(error.value.problems)
    assert f"{path}: model m: price.input: Input should be greater than or equal to 0" in text
    assert "model n: thinking: Value error, the default level 'high' is not among low" in text
    assert "model n: colour: " in text


def test_every_fact_names_a_listed_source(tmp_path: Path) -> None:
    path = tmp_path / "catalog.yaml"
    path.write_text(
        "sources: {a: {text: a page, read: 2026-11}}\n"
        "models: {m: {provider: gemini, retirement: {date: 2027-01-01, successor: n, source: b}}}\n"
    )
    with pytest.raises(InvalidInputError) as error:
        load_catalog(path)
    assert error.value.problems == [
        f"{path}: model m: retirement.source: unknown source 'b'; available: a",
        f"{path}: model m: retirement.successor: 'n' is not in the catalog; add it",
    ]
