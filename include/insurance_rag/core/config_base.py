"""What all configurations share: unknown keys are refused with a suggestion, all problems come at once."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from insurance_rag.core.errors import InvalidInputError


class Config(BaseModel):
    """Base of every configuration: immutable, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str = "configuration") -> Self:
        """Validate `values`; InvalidInputError lists every problem as `where: key: what is wrong`, with a suggestion."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as e:
            raise InvalidInputError([f"{where}: {_explain(cls, error)}" for error in e.errors()]) from None

    def as_settings(self) -> list[str]:
        """What differs from the defaults, as `--set` words of the command line."""
        return [f"--set={key}={json.dumps(value, ensure_ascii=False)}" for key, value in self._changed()]

    def _changed(self) -> Iterator[tuple[str, Any]]:
        for key, value in self.model_dump(mode="json", exclude_defaults=True).items():
            own = getattr(self, key)
            if isinstance(own, Config):
                yield from ((f"{key}.{inner}", v) for inner, v in own._changed())
            else:
                yield key, value


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
        target: Any = result
        for parent in parents:
            target = target.setdefault(parent, {}) if isinstance(target, dict) else None
        try:
            target[leaf] = yaml.safe_load(value)
        except yaml.YAMLError:
            problems.append(f"--set {setting}: {value!r} cannot be read as YAML")
        except TypeError:
            problems.append(f"--set {setting}: {'.'.join(parents)} was given a value already")
    if problems:
        raise InvalidInputError(problems)
    return result
