"""Checks OpenLineage events with the classes of OpenLineage's Python client, which are generated from its JSON schema.

The facets of this project are checked with their own JSON schema.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import types
import typing
from functools import cache
from pathlib import Path

import attrs
from airflow.providers.openlineage.extractors import OperatorLineage
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from openlineage.client import generated
from openlineage.client.generated.base import BaseFacet, RunEvent
from openlineage.client.serde import Serde
from referencing import Registry, Resource

import insurance_rag.orchestration as orchestration

Json = dict[str, typing.Any]

SPEC = "https://openlineage.io/spec/2-0-2/OpenLineage.json"
OWN_SCHEMA = Path(str(orchestration.__file__)).with_name("openlineage_schema.json")
SIMPLE: dict[object, str] = {str: "string", int: "integer", float: "number", bool: "boolean", dict: "object"}


def event_problems(event: Json) -> list[str]:
    """Return what is wrong with an event: missing or unknown fields, wrong types, and unknown schemas of facets."""
    found = _errors(_schema_of(RunEvent), event)
    for holder in [event["run"], event["job"], *event.get("inputs", []), *event.get("outputs", [])]:
        found += _holder_problems(holder)
    return found


def facet_problems(lineage: OperatorLineage) -> list[str]:
    """Return what is wrong with the facets of what an operator returns to the OpenLineage provider."""
    facets = {name: json.loads(Serde.to_json(facet)) for name, facet in lineage.run_facets.items()}
    datasets = [json.loads(Serde.to_json(dataset)) for dataset in (*lineage.inputs, *lineage.outputs)]
    holders: list[Json] = [{"facets": facets}, *datasets]
    return [problem for holder in holders for problem in _holder_problems(holder)]


def _holder_problems(holder: Json) -> list[str]:
    """Return what is wrong with the facets of a run, a job or a dataset."""
    return [
        f"{name}: {problem}"
        for group in ("facets", "inputFacets", "outputFacets")
        for name, facet in (holder.get(group) or {}).items()
        for problem in _facet_problems(facet)
    ]


def _facet_problems(facet: Json) -> list[str]:
    url = str(facet["_schemaURL"])
    if cls := _facet_classes().get(url):
        return _errors(_schema_of(cls), facet)
    base, _, fragment = url.partition("#")
    if not base.endswith(OWN_SCHEMA.name):
        return [f"unknown schema {url}"]
    document = json.loads(OWN_SCHEMA.read_text())
    return _errors(document["$defs"][fragment.rsplit("/", 1)[1]], facet)


def _errors(schema: Json, value: object) -> list[str]:
    base = Resource.from_contents({"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": {
        name: {"type": "object", "required": ["_producer", "_schemaURL"]} for name in ("RunFacet", "DatasetFacet")
    }})  # fmt: skip
    validator = Draft202012Validator(schema, registry=Registry().with_resource(SPEC, base))
    return [f"{'/'.join(map(str, error.path))}: {error.message}" for error in validator.iter_errors(value)]


@cache
def _facet_classes() -> dict[str, type]:
    """Return the schema URL of each standard facet with its class."""
    found: dict[str, type] = {}
    for module in pkgutil.iter_modules(generated.__path__):
        for value in vars(importlib.import_module(f"{generated.__name__}.{module.name}")).values():
            if isinstance(value, type) and issubclass(value, BaseFacet):
                found[value._get_schema()] = value
    return found


@cache
def _schema_of(cls: type, depth: int = 4) -> Json:
    """Return the JSON schema of one of the client's classes. Deeper values are only checked to be objects."""
    hints = typing.get_type_hints(cls)
    fields = [field for field in attrs.fields(cls) if field.name not in ("_deleted",)]
    return {
        "type": "object",
        "properties": {field.name: _schema_of_type(hints[field.name], depth) for field in fields},
        "required": [field.name for field in fields if field.default is attrs.NOTHING],
        # The base classes are those of facets that OpenLineage does not define.
        "additionalProperties": issubclass(cls, BaseFacet) and cls.__module__ == BaseFacet.__module__,
    }


def _schema_of_type(hint: object, depth: int) -> Json:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in SIMPLE:
        return {"type": SIMPLE[hint]}
    if isinstance(hint, types.UnionType) or origin is typing.Union:
        return {"anyOf": [_schema_of_type(one, depth) for one in arguments]}
    if hint is type(None):
        return {"type": "null"}
    if origin is list:
        return {"type": "array", "items": _schema_of_type(arguments[0], depth)}
    if origin is dict:
        return {"type": "object"}
    if isinstance(hint, type) and attrs.has(hint):
        return _schema_of(hint, depth - 1) if depth else {"type": "object"}
    return {}


def read_events(path: Path) -> list[Json]:
    """Return the events that the transport `file` wrote."""
    return [json.loads(line) for line in path.read_text().splitlines()]
