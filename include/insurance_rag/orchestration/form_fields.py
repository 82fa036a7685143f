"""Lists the fields of the trigger form: one per setting, with nested configurations flattened to dotted names."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache

from pydantic import JsonValue

from insurance_rag.config.run import OVERRIDES, RunConfig

Schema = dict[str, JsonValue]


class Input(Enum):
    """Kinds of input elements in the form."""

    SWITCH = "switch"
    NUMBER = "number"
    TEXT = "text"
    CHOICE = "choice"
    """One of a few values."""
    SUGGESTIONS = "suggestions"
    """Text with suggested values, e.g. a number or `auto`."""
    CHOICES = "choices"
    """Several of a few values."""
    LINES = "lines"
    """List of texts, one per line."""
    MAPPING = "mapping"
    """Lines of the form `name: value`."""
    VALUES = "values"
    """Several values of other kinds than text, separated by commas."""


@dataclass(frozen=True)
class FormField:
    """One setting of a run as a field of the form."""

    name: str
    """Dotted name, e.g. `generation.model`."""
    schema: Schema
    """JSON Schema of the setting without `null`."""
    input: Input
    default: JsonValue
    nullable: bool
    """Whether the setting may be null."""
    overrides: bool
    """Whether the setting overrides that of a recipe or a policy. An empty field then leaves it as it is there."""

    @property
    def section(self) -> str:
        """Name of the form's section, e.g. `Validation: dataset`; empty for a setting that is not nested."""
        first, *nested = self.name.split(".")[:-1] or [""]
        title = RunConfig.model_fields[first].title if first else ""
        return ": ".join([title or first, *(part.replace("_", " ") for part in nested)])

    @property
    def choices(self) -> list[JsonValue]:
        """Values that the setting may have, if there are only a few."""
        return _choices(self.schema)


@cache
def form_fields() -> Mapping[str, FormField]:
    """Return the fields for all settings of a run, in the order of their declaration."""
    schema = _inlined_schema(RunConfig.model_json_schema())
    values: Schema = RunConfig().model_dump(mode="json")
    fields = list(_fields("", schema, values))
    for name, model in OVERRIDES.items():
        place = next(i for i, field in enumerate(fields) if field.name == name)
        overrides = _inlined_schema(model.model_json_schema())
        fields[place : place + 1] = _fields(f"{name}.", overrides, None)
    return {field.name: field for field in fields}


def _fields(prefix: str, schema: Schema, values: Schema | None) -> Iterator[FormField]:
    """Yield the fields for the properties of `schema`. `values` are their defaults; None: they override settings."""
    required = schema.get("required")
    for name, field in _properties(schema).items():
        if values is None and isinstance(required, list) and name in required:
            continue  # the form has another field for it: the version of the adapter
        default = None if values is None else values[name]
        if "properties" in field:
            yield from _fields(f"{prefix}{name}.", field, default if isinstance(default, dict) else None)
            continue
        plain, nullable = _without_null(field)
        kind = _input(plain, nullable, overrides=values is None)
        yield FormField(f"{prefix}{name}", plain, kind, default, nullable, values is None)


def _input(schema: Schema, nullable: bool, *, overrides: bool) -> Input:
    """Choose the input element for a setting."""
    choices, kind = _choices(schema), schema.get("type")
    items = schema.get("items")
    if "anyOf" in schema and not choices:
        lists = any(alternative.get("type") in ("array", "object") for alternative in _objects(schema["anyOf"]))
        return Input.TEXT if lists else Input.SUGGESTIONS
    if choices or (overrides and kind == "boolean"):
        return Input.CHOICE
    if overrides and nullable and kind in ("integer", "number"):
        return Input.SUGGESTIONS
    if kind == "array":
        if not isinstance(items, dict) or items.get("type") != "string":
            return Input.VALUES
        return Input.CHOICES if "enum" in items else Input.LINES
    inputs = {"boolean": Input.SWITCH, "integer": Input.NUMBER, "number": Input.NUMBER, "object": Input.MAPPING}
    return inputs.get(str(kind), Input.TEXT)


def _choices(schema: Schema) -> list[JsonValue]:
    """Return the values that the schema allows if it lists all of them; otherwise an empty list."""
    if isinstance(enum := schema.get("enum"), list):
        return enum
    if "const" in schema:
        return [schema["const"]]
    if schema.get("type") == "boolean":
        return [True, False] if "anyOf" in schema else []
    alternatives = _objects(schema.get("anyOf"))
    found = [[True, False] if a.get("type") == "boolean" else _choices(a) for a in alternatives]
    return [value for values in found for value in values] if found and all(found) else []


def _without_null(schema: Schema) -> tuple[Schema, bool]:
    """Return the schema without the alternative `null`, and whether it had this alternative."""
    alternatives = _objects(schema.get("anyOf"))
    others = [alternative for alternative in alternatives if alternative.get("type") != "null"]
    own = {key: value for key, value in schema.items() if key != "anyOf"}
    if len(others) == 1:
        return {**others[0], **own}, len(alternatives) > 1
    return ({**own, "anyOf": [*others]} if others else own), len(others) < len(alternatives)


def plain(value: JsonValue) -> str:
    """Return a string unchanged, and any other value as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _properties(schema: Schema) -> dict[str, Schema]:
    properties = schema.get("properties")
    fields = properties if isinstance(properties, dict) else {}
    return {name: field for name, field in fields.items() if isinstance(field, dict)}


def _objects(node: JsonValue) -> list[Schema]:
    return [item for item in node if isinstance(item, dict)] if isinstance(node, list) else []


def _inlined_schema(schema: Schema) -> Schema:
    definitions = schema.get("$defs", {})
    inlined = _inlined(schema, definitions if isinstance(definitions, dict) else {})
    return inlined if isinstance(inlined, dict) else {}


def _inlined(node: JsonValue, definitions: Mapping[str, JsonValue]) -> JsonValue:
    """Replace every `$ref` with its definition, because Airflow validates the schema of each parameter separately."""
    if isinstance(node, list):
        return [_inlined(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if isinstance(reference := node.get("$ref"), str):
        target = definitions[reference.rsplit("/", 1)[1]]
        own = {key: value for key, value in node.items() if key != "$ref"}
        return _inlined({**target, **own} if isinstance(target, dict) else own, definitions)
    return {key: _inlined(value, definitions) for key, value in node.items() if key != "$defs"}
