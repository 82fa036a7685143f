"""What a run can be told, one typed model a stage.

Every field is documented where it is declared; the command line, the recipes and Airflow's trigger form all come from
these models. An unknown key is refused with a suggestion, and all problems of a configuration are reported at once.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from insurance_rag.errors import WrongInput
from insurance_rag.records import GENERATED_TYPES, QuestionType


class Config(BaseModel):
    """Base of every configuration: immutable, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str = "configuration") -> Self:
        """Validate `values`; WrongInput lists every problem as `where: key: what is wrong`, with a suggestion."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as e:
            raise WrongInput([f"{where}: {_explain(cls, error)}" for error in e.errors()]) from None


def _explain(model: type[BaseModel], error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"]) or "(whole)"
    if error["type"] != "extra_forbidden":
        return f"{key}: {error['msg']} (got {error['input']!r})"
    near = difflib.get_close_matches(str(error["loc"][-1]), model.model_fields, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else "known keys: " + ", ".join(model.model_fields)
    return f"{key}: unknown key; {hint}"


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """`["max_steps=20", "lora.r=8"]` (from `--set`) as a nested dict; values are read as YAML."""
    result: dict[str, Any] = {}
    problems = []
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key.strip():
            problems.append(f"--set {setting}: want key=value")
            continue
        *parents, leaf = key.strip().split(".")
        target = result
        for parent in parents:
            target = target.setdefault(parent, {})
        target[leaf] = yaml.safe_load(value)
    if problems:
        raise WrongInput(problems)
    return result


class GenerationConfig(Config):
    """How question-answer pairs are asked for."""

    teacher: Literal["gemini", "openai", "local"] = "gemini"
    """gemini: Google's API or the simulator; openai: any compatible server (vLLM, Ollama); local: a 4-bit model here."""
    model: str = "gemini-2.5-flash"
    """The teacher's model name; part of what a pair is keyed by."""
    base_url: str | None = None
    """Server address without /v1beta; None takes GEMINI_BASE_URL, then Google's own."""
    prompt: str = "qa_v1"
    """Name of a file in generation/prompts; its version is part of what a pair is keyed by."""
    types: tuple[QuestionType, ...] = GENERATED_TYPES
    """Question types asked for of every clause."""
    pairs_per_type: int = Field(default=1, ge=1, le=5)
    """Pairs wanted of each type from each clause."""
    temperature: float = Field(default=0.7, ge=0, le=2)
    max_retries: int = Field(default=5, ge=0)
    """Tries after the first, for 429s and passing faults of one clause."""
    request_gap_s: float = Field(default=0.2, ge=0)
    """Least time between two calls on one key."""
    save_every: int = Field(default=10, ge=1)
    """The part file is rewritten from the journal after this many chunks (an answer is on disk at once)."""
    timeout_s: float = Field(default=60.0, gt=0)
    """Of one call."""
