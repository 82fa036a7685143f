"""Builds Airflow's trigger form from a typed configuration: one form field per configuration field.

Fields that hold an object become JSON editors in a section below the other fields.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

from airflow.sdk import Param
from pydantic import JsonValue

from insurance_rag.core.config_base import Config

Schema = dict[str, JsonValue]

#: JSON Schema keyword that limits a number -> wording in the help text.
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
    """Return one Param per field of `model`, or per field in `only`. `defaults` override the defaults of the model.

    A field that holds an object becomes a JSON editor in the section "More settings". The help text of the editor lists
    the keys of the object. For a field that is a plain dict, `settings_of` names the model that defines these keys.
    """
    fields = _fields(_inlined_schema(model.model_json_schema()))
    values = {**model().model_dump(mode="json"), **(defaults or {})}
    listed = {name: _inlined_schema(settings.model_json_schema()) for name, settings in (settings_of or {}).items()}
    return {name: _param(values[name], fields[name], listed.get(name)) for name in only or fields}


def _param(value: JsonValue, field: Schema, settings: Schema | None) -> Param:
    facts = {key: fact for key, fact in field.items() if key not in ("default", "description")}
    description = str(field.get("description") or "")
    if "anyOf" in facts:  # the form expects a type such as `int | None` as a list of types
        alternatives = _objects(facts.pop("anyOf"))
        facts["type"] = [alternative["type"] for alternative in alternatives]
        facts |= {key: fact for alternative in alternatives for key, fact in alternative.items() if key != "type"}
    items = facts.get("items")
    if facts.get("type") == "array" and isinstance(items, dict) and "enum" in items:
        facts["examples"] = items["enum"]  # makes the form show a multiple-choice list
    if facts.get("type") == "object":
        # The form marks a field as required unless its type includes null.
        facts |= {"section": "More settings", "type": ["object", "null"]}
        facts.pop("required", None)
        description = "\n".join([description, "", *_field_list(settings or field)]).strip()
    return Param(value, description_md=description or None, **facts)


def _field_list(schema: Schema, prefix: str = "") -> Iterator[str]:
    """Yield one Markdown list item per optional field, with its name, type, default and description."""
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
    """Describe the type of a field in words, e.g. `number, at least 0`, `one of a, b` or `integer or null`."""
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_type_text(alternative) for alternative in _objects(field["anyOf"])))
    if isinstance(choices := field.get("enum"), list):
        return "one of " + ", ".join(map(_plain, choices))
    if "const" in field:
        return _plain(field["const"])
    limits = [text.format(field[keyword]) for keyword, text in LIMITS.items() if keyword in field]
    items = field.get("items")
    name = f"list, each item {_type_text(items)}" if isinstance(items, dict) else str(field.get("type", "any"))
    return ", ".join([name, *limits])


def _plain(value: JsonValue) -> str:
    """Return a string unchanged, and any other value as JSON."""
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
