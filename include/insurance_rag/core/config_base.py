"""Base class of all configurations. It suggests a fix for unknown keys and reports all problems at once."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self, TypeGuard, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.yaml_text import parse_yaml

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


class Config(BaseModel):
    """Base class of all configurations. Instances are immutable, and unknown keys are an error.

    The docstring below a field becomes the field's description in help texts and in the reference documentation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @classmethod
    def parse(cls, values: Mapping[str, object], where: str = "configuration") -> Self:
        """Validate `values` and return the configuration.

        Raises an InvalidInputError that lists every problem as `<where>: <key>: <what is wrong>`.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as e:
            raise InvalidInputError([f"{where}: {_explain(cls, error)}" for error in e.errors()]) from None

    def as_settings(self) -> list[str]:
        """Return a command-line argument `--set=key=value` for every value that differs from its default."""
        return [f"--set={key}={json.dumps(value, ensure_ascii=False)}" for key, value in self._changed()]

    def _changed(self) -> Iterator[tuple[str, object]]:
        for key, value in self.model_dump(mode="json", exclude_defaults=True).items():
            own = getattr(self, key)
            if isinstance(own, Config):
                yield from ((f"{key}.{inner}", v) for inner, v in own._changed())
            else:
                yield key, value


def _explain(model: type[BaseModel], error: ErrorDetails) -> str:
    key = ".".join(str(part) for part in error["loc"] if part != "[key]")  # pydantic marks the key of a mapping
    message = error["msg"].removeprefix("Value error, ")
    if not key:  # the error is about several keys together
        return message
    if error["type"] == "missing":
        return f"{key}: {message}; set it"
    if error["type"] != "extra_forbidden":
        return f"{key}: {message} (got {error['input']!r})"
    known = _keys_at(model, error["loc"][:-1])
    near = difflib.get_close_matches(str(error["loc"][-1]), known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else "known keys: " + ", ".join(known)
    return f"{key}: unknown key; {hint}"


def _keys_at(model: type[BaseModel], path: Iterable[int | str]) -> list[str]:
    """Return the keys of the nested model at `path`, or of the innermost model on the way if a mapping is between."""
    for part in path:
        field = model.model_fields.get(str(part))
        models = [model, *(t for t in (field.annotation, *get_args(field.annotation)) if _is_model(t))] if field else []
        model = models[-1] if models else model
    return list(model.model_fields)


def _is_model(annotation: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """Return the values of `--set` as a nested dict: `["max_steps=20", "lora.r=8"]` -> `{max_steps: 20, lora: {r: 8}}`.

    The text after the equals sign is read as YAML. Raises an InvalidInputError that lists every unreadable value.
    """
    result: dict[str, Any] = {}
    problems = []
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key.strip():
            problems.append(f"--set {setting}: not of the form key=value; e.g. seed=1")
            continue
        *parents, leaf = key.strip().split(".")
        target: Any = result
        for parent in parents:
            target = target.setdefault(parent, {}) if isinstance(target, dict) else None
        try:
            target[leaf] = parse_yaml(value)
        except yaml.YAMLError:
            problems.append(f"--set {setting}: {value!r} is not valid YAML; quote it")
        except TypeError:
            problems.append(f"--set {setting}: {'.'.join(parents)} already has a value; set one of the two")
    if problems:
        raise InvalidInputError(problems)
    return result
