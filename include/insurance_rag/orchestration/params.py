"""Airflow's trigger form, made from a typed configuration: one field each, nested models as JSON editors below."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

from airflow.sdk import Param
from pydantic import JsonValue

from insurance_rag.core.config_base import Config

Schema = dict[str, JsonValue]

#: Keywords of JSON schema that limit a value, and how they read.
LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
}


def trigger_params(
    model: type[Config],
    only: Iterable[str] = (),
    *,
    defaults: Mapping[str, JsonValue] | None = None,
    settings_of: Mapping[str, type[Config]] | None = None,
) -> dict[str, Param]:
    """Return one Param per field of `model`, or per field in `only`; `defaults` override those of the model.

    An object is a JSON editor in the section "More settings". Its help text lists the fields of its model, or of the
    model that `settings_of` names for it.
    """
    fields = _fields(_inlined_schema(model.model_json_schema()))
    values = {**model().model_dump(mode="json"), **(defaults or {})}
    listed = {name: _inlined_schema(settings.model_json_schema()) for name, settings in (settings_of or {}).items()}
    return {name: _param(values[name], fields[name], listed.get(name)) for name in only or fields}


def _param(value: JsonValue, field: Schema, settings: Schema | None) -> Param:
    facts = {key: fact for key, fact in field.items() if key not in ("default", "description")}
    description = str(field.get("description") or "")
    if "anyOf" in facts:  # `int | None`: the form expects a list of types
        alternatives = _objects(facts.pop("anyOf"))
        facts["type"] = [alternative["type"] for alternative in alternatives]
        facts |= {key: fact for alternative in alternatives for key, fact in alternative.items() if key != "type"}
    items = facts.get("items")
    if facts.get("type") == "array" and isinstance(items, dict) and "enum" in items:
        facts["examples"] = items["enum"]  # makes the form show a multi-select
    if facts.get("type") == "object":
        # The form marks every field as required whose type excludes null.
        facts |= {"section": "More settings", "type": ["object", "null"]}
        facts.pop("required", None)
        description = "\n".join([description, "", *_field_list(settings or field)]).strip()
    return Param(value, description_md=description or None, **facts)


def _field_list(schema: Schema, prefix: str = "") -> Iterator[str]:
    """Yield a Markdown list with the name, type, default and description of every field that has a default."""
    required = schema.get("required")
    for name, field in _fields(schema).items():
        if isinstance(required, list) and name in required:
            continue
        if "properties" in field:
            yield from _field_list(field, f"{prefix}{name}.")
            continue
        facts = [_type_text(field)]
        if "default" in field and not isinstance(field["default"], (dict, list)):
            facts.append(f"default {_plain(field['default'])}")
        text = " ".join(str(field.get("description") or "").split())
        yield f"- `{prefix}{name}` ({', '.join(facts)}): {text}".rstrip(": ")


def _type_text(field: Schema) -> str:
    """Return a type in words: `number, at least 0`, `one of a, b`, `integer or null`."""
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_type_text(alternative) for alternative in _objects(field["anyOf"])))
    if isinstance(choices := field.get("enum"), list):
        return "one of " + ", ".join(map(_plain, choices))
    if "const" in field:
        return _plain(field["const"])
    limits = [text.format(field[keyword]) for keyword, text in LIMITS.items() if keyword in field]
    items = field.get("items")
    name = f"list, each {_type_text(items)}" if isinstance(items, dict) else str(field.get("type", "any"))
    return ", ".join([name, *limits])


def _plain(value: JsonValue) -> str:
    """Return a value as JSON has it, without the quotes of a string."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _fields(schema: Schema) -> dict[str, Schema]:
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
    """Return a JSON schema without `$ref`: Airflow validates each parameter on its own."""
    if isinstance(node, list):
        return [_inlined(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if isinstance(reference := node.get("$ref"), str):
        target = definitions[reference.rsplit("/", 1)[1]]
        own = {key: value for key, value in node.items() if key != "$ref"}
        return _inlined({**target, **own} if isinstance(target, dict) else own, definitions)
    return {key: _inlined(value, definitions) for key, value in node.items() if key != "$defs"}
