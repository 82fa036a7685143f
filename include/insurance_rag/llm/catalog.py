"""The model catalog: prices, limits, thinking, temperature and retirement of the teacher's models.

The facts are in catalog.yaml, each with its source. The functions below combine them with the settings of a run, which
have precedence.
"""

from __future__ import annotations

import functools
import logging
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, JsonValue, ValidationError, model_validator

from insurance_rag.config import GenerationConfig, Price
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.records import Record

log = logging.getLogger(__name__)

CATALOG = Path(__file__).with_name("catalog.yaml")
DEFAULT_TEMPERATURE = 0.7
"""Temperature for models without a recommended one."""
RETIREMENT_NOTICE_DAYS = 30
"""A warning appears this many days before a model's retirement."""


class Source(Record):
    """Where facts come from."""

    text: str
    read: Annotated[str, BeforeValidator(str)] = Field(pattern=r"^\d{4}-\d{2}(-\d{2})?$")
    """Day or month in which the source was read."""


class Fact(Record):
    """Base class of facts about a model. `source` is the name of an entry in `Catalog.sources`."""

    source: str


class StableSince(Fact):
    """Date of the model's stable release."""

    date: date


class ModelPrice(Fact):
    """Prices in US dollars per million tokens. Thinking tokens are billed as output."""

    input: float = Field(ge=0)
    cached_input: float | None = Field(default=None, ge=0)
    output: float = Field(ge=0)


class BatchPrice(Fact):
    """Price of batch mode as a fraction of the regular price."""

    price_fraction: float = Field(ge=0, le=1)


class TokenLimits(Fact):
    """Maximum numbers of tokens in the context and in an answer."""

    context_tokens: int = Field(gt=0)
    output_tokens: int = Field(gt=0)


class Thinking(Fact):
    """How to limit the model's thinking: a level, or a budget in tokens."""

    levels: tuple[str, ...] = ()
    """Available levels in ascending order; empty if they are not known, or if the model has a budget instead."""
    default: str | None = None
    """Level that the server uses if a request names none."""
    budget: int | None = Field(default=None, ge=0)
    """Smallest budget in tokens; 0 turns thinking off."""

    @model_validator(mode="after")
    def _default_is_a_level(self) -> Thinking:
        if self.levels and self.default is not None and self.default not in self.levels:
            raise ValueError(f"the default level {self.default!r} is not among {', '.join(self.levels)}")
        return self


class RecommendedTemperature(Fact):
    """Sampling temperature that the model's provider recommends."""

    value: float = Field(ge=0, le=2)


class Retirement(Fact):
    """When the model retires. The successor answers requests from then on."""

    date: date
    successor: str


class ModelEntry(Record):
    """What is known about one model. A fact that is None is unknown, or does not apply."""

    name: str
    provider: str
    stable_since: StableSince | None = None
    price: ModelPrice | None = None
    batch: BatchPrice | None = None
    limits: TokenLimits | None = None
    thinking: Thinking | None = None
    temperature: RecommendedTemperature | None = None
    retirement: Retirement | None = None

    def facts(self) -> dict[str, Fact]:
        """Return the known facts by field name."""
        return {name: value for name in type(self).model_fields if isinstance(value := getattr(self, name), Fact)}


class Catalog(Record):
    """Content of the catalog file."""

    sources: dict[str, Source]
    models: dict[str, ModelEntry]


def model_entry(name: str) -> ModelEntry | None:
    """Return the catalog's entry for a model, or None if the catalog does not contain the model."""
    return load_catalog().models.get(name)


@functools.cache
def load_catalog(path: Path = CATALOG) -> Catalog:
    """Read and check the catalog. Raises an InvalidInputError that lists every problem with its model and field."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as e:
        raise InvalidInputError(f"{path}: cannot be read as YAML ({e}); fix or restore the file") from e
    if isinstance(content, dict) and isinstance(models := content.get("models"), dict):
        named = {name: {**entry, "name": name} if isinstance(entry, dict) else entry for name, entry in models.items()}
        content = {**content, "models": named}
    try:
        catalog = Catalog.model_validate(content)
    except ValidationError as e:
        raise InvalidInputError([f"{path}: {_place(x['loc'])}: {x['msg']}; fix it" for x in e.errors()]) from None
    if problems := _broken_references(catalog):
        raise InvalidInputError([f"{path}: {problem}" for problem in problems])
    return catalog


def price_of(config: GenerationConfig) -> Price | None:
    """Return the model's price from the settings, else from the catalog; None if neither has one.

    The first time that a Gemini model turns out to have no price, a warning is logged.
    """
    if configured := config.prices.get(config.model):
        return configured
    entry = model_entry(config.model)
    if entry and entry.price:
        return Price(input=entry.price.input, output=entry.price.output)
    if config.teacher == "gemini" or config.budget_usd is not None:
        _warn_once(
            f"the price of model {config.model} is not known, so its cost counts as 0 and a budget has no effect; set "
            f'`prices`: {{"{config.model}": {{"input": ..., "output": ...}}}}, in US dollars per million tokens'
        )
    return None


def batch_price_fraction(config: GenerationConfig) -> float:
    """Return the price of batch mode as a fraction of the regular price; 1 if it is not known."""
    if config.batch_discount is not None:
        return config.batch_discount
    entry = model_entry(config.model)
    return entry.batch.price_fraction if entry and entry.batch else 1.0


def temperature(config: GenerationConfig) -> float:
    """Return the sampling temperature from the settings, else from the catalog, else 0.7."""
    if config.temperature is not None:
        return config.temperature
    entry = model_entry(config.model)
    return entry.temperature.value if entry and entry.temperature else DEFAULT_TEMPERATURE


def thinking_config(config: GenerationConfig) -> dict[str, JsonValue] | None:
    """Return the value of `generationConfig.thinkingConfig`, or None if the request should not have this field.

    Without a configured level, the request asks for as little thinking as the model allows. Raises InvalidInputError
    if the model does not have the configured level.
    """
    entry = model_entry(config.model)
    thinking = entry.thinking if entry else None
    if config.thinking is None:
        if thinking and thinking.levels:
            return {"thinkingLevel": thinking.levels[0]}
        return {"thinkingBudget": thinking.budget} if thinking and thinking.budget is not None else None
    if thinking and thinking.budget is not None:
        raise InvalidInputError(
            f"thinking: {config.model} has no thinking levels (got {config.thinking!r}); leave the setting empty"
        )
    if thinking and thinking.levels and config.thinking not in thinking.levels:
        raise InvalidInputError(
            f"thinking: {config.model} has no level {config.thinking!r}; available: {', '.join(thinking.levels)}"
        )
    return {"thinkingLevel": config.thinking}


def max_output_tokens(model: str) -> int | None:
    """Return the maximum number of tokens in an answer; None if it is not known."""
    entry = model_entry(model)
    return entry.limits.output_tokens if entry and entry.limits else None


def retirement_warning(model: str, today: date | None = None) -> str | None:
    """Return a warning if the model has retired or retires within 30 days, else None."""
    entry = model_entry(model)
    if entry is None or entry.retirement is None:
        return None
    retirement = entry.retirement
    days = (retirement.date - (today or datetime.now(UTC).date())).days
    if days > RETIREMENT_NOTICE_DAYS:
        return None
    when = f"retires on {retirement.date} (in {days} days)" if days > 0 else f"retired on {retirement.date}"
    return (
        f"model {model} {when}; from then on, {retirement.successor} answers its requests, at its own price. Set "
        f"`model` to {retirement.successor}; to keep the answers of {model}, add it to `keep_answers_of`"
    )


@functools.cache
def _warn_once(message: str) -> None:
    log.warning("%s", message)


def _place(location: tuple[int | str, ...]) -> str:
    """Return the place of a problem in words: `("models", "m", "price", "input")` -> `model m: price.input`."""
    parts = [str(part) for part in location]
    if parts[:1] == ["models"] and len(parts) > 1:
        return ": ".join(filter(None, [f"model {parts[1]}", ".".join(parts[2:])]))
    return ".".join(parts) or "catalog"


def _broken_references(catalog: Catalog) -> list[str]:
    problems = []
    for name, entry in catalog.models.items():
        problems += [
            f"model {name}: {field}.source: unknown source {fact.source!r}; available: {', '.join(catalog.sources)}"
            for field, fact in entry.facts().items()
            if fact.source not in catalog.sources
        ]
        if entry.retirement and entry.retirement.successor not in catalog.models:
            problems.append(
                f"model {name}: retirement.successor: {entry.retirement.successor!r} is not in the catalog; add it"
            )
    return problems
