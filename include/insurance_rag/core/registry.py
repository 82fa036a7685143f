"""Registries of entries that users can add: rules, teachers, metrics, checks, retrievers, prompt formats and faults.

A registry belongs to a package. When the registry is first read, every module of that package is imported. To add a
built-in entry, add one file to the package. Plug-in packages add entries through entry points. Each registry has its
own entry point group (`insurance_rag.rule`, `insurance_rag.prompt_format` ...). The value of an entry point is the name
of a module:

    [project.entry-points."insurance_rag.rule"]
    acme = "acme.rules"

Configuration choices, command-line choices, report labels and the reference documentation are read from the registries.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from insurance_rag.core.errors import InvalidInputError

T = TypeVar("T")

#: kind -> "module:attribute" of its registry. The modules are named, not imported, because the configuration must not
#: import the stages. A registry is loaded only when its entries are needed.
REGISTRIES: dict[str, str] = {
    "rule": "insurance_rag.validation.rules.registry:RULES",
    "teacher": "insurance_rag.generation.teachers.registry:TEACHERS",
    "metric": "insurance_rag.evaluation.metrics.registry:METRICS",
    "check": "insurance_rag.evaluation.checks.registry:CHECKS",
    "question check": "insurance_rag.questions.checks.registry:QUESTION_CHECKS",
    "retriever": "insurance_rag.retrieval.retrievers.registry:RETRIEVERS",
    "prompt format": "insurance_rag.core.prompt_templates.registry:PROMPT_FORMATS",
    "fault": "insurance_rag.dataset.faulty_answers.registry:FAULTS",
    "document format": "insurance_rag.ingest.readers.registry:READERS",
}


class Registry(Generic[T]):
    """Entries of one kind by name, in the order of their registration."""

    def __init__(self, kind: str, package: str) -> None:
        """`kind` is the noun used in messages. `package` contains the modules that register the built-in entries."""
        self.kind = kind
        self._package = package
        self._entries: dict[str, T] = {}

    @property
    def entry_point_group(self) -> str:
        """Name of the entry point group through which plug-in packages add entries to this registry."""
        return f"insurance_rag.{self.kind.replace(' ', '_')}"

    def add(self, name: str, entry: T) -> T:
        """Register `entry` under `name` and return it. Raises ValueError if the name is already taken."""
        if name in self._entries:
            raise ValueError(f"duplicate {self.kind} {name!r}; give each a different name")
        self._entries[name] = entry
        return entry

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers the decorated object under `name`."""
        return lambda entry: self.add(name, entry)

    def __getitem__(self, name: str) -> T:
        """Return the entry called `name`. If there is none, raises an InvalidInputError that lists all names."""
        if name not in self._discovered:
            raise InvalidInputError(self.unknown(name))
        return self._discovered[name]

    def __contains__(self, name: object) -> bool:
        return name in self._discovered

    def __iter__(self) -> Iterator[str]:
        return iter(self._discovered)

    def __len__(self) -> int:
        return len(self._discovered)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._discovered)

    @property
    def entries(self) -> Mapping[str, T]:
        return dict(self._discovered)

    def unknown(self, name: str) -> str:
        """Return the error message for a name that is not registered."""
        near = difflib.get_close_matches(name, self.names, n=1, cutoff=0.6)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return f"unknown {self.kind} {name!r}; {hint}available: {', '.join(self.names)}"

    @cached_property
    def _discovered(self) -> dict[str, T]:
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(package.__path__, f"{self._package}."):
            importlib.import_module(module.name)
        for entry_point in entry_points(group=self.entry_point_group):
            entry_point.load()
        return self._entries


def registry(kind: str) -> Registry[Any]:
    """Return the registry for `kind`, which is a key of `REGISTRIES`."""
    module, _, attribute = REGISTRIES[kind].partition(":")
    found: Registry[Any] = getattr(importlib.import_module(module), attribute)
    return found


class Choice:
    """Pydantic annotation for the name of a registry entry, e.g. `Annotated[str, Choice("teacher")]`."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "enum": list(registry(self.kind).names)}

    def _check(self, name: str) -> str:
        known = registry(self.kind)
        if name not in known:
            raise ValueError(known.unknown(name))
        return name
