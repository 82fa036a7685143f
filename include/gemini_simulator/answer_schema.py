"""Reads the JSON schema for the answer, and brings pairs into the form that the schema requires."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import JsonValue

from gemini_simulator.json_types import JsonObject, as_list, as_object

#: Alternative name of a field in a schema -> name of the field in a pair.
_FIELD_ALIASES = {"instruction": "question", "output": "answer", "quote": "evidence"}


def listed_types(schema: JsonObject) -> tuple[str, ...]:
    """Return the question types that the schema lists, or () if it lists none."""
    for type_schema in _find_properties(schema, "type"):
        enum = type_schema.get("enum")
        if isinstance(enum, list) and enum:
            return tuple(str(name) for name in enum)
    return ()


def wants_sentence_numbers(schema: JsonObject | None) -> bool:
    """Return whether the schema requires the evidence as an array of integers instead of a quote."""
    for name in ("evidence", "quote"):
        for evidence in _find_properties(schema, name):
            items = as_object(evidence.get("items"))
            return _json_type(evidence, "string") == "array" and _json_type(items, "integer") in ("integer", "number")
    return False


def format_pairs(schema: JsonObject, pairs: Sequence[JsonObject]) -> JsonValue:
    """Return the pairs in the form that the schema requires.

    This is an array of pairs, an object that contains such an array, or only the first pair.
    """
    if _json_type(schema, "array") != "object":
        return [_select_fields(as_object(schema.get("items")), pair) for pair in pairs]
    for name, value in as_object(schema.get("properties")).items():
        part = as_object(value)
        if _json_type(part, "array") == "array":
            return {name: [_select_fields(as_object(part.get("items")), pair) for pair in pairs]}
    return _select_fields(schema, pairs[0]) if pairs else {}


def _json_type(schema: JsonObject, default: str) -> str:
    """Return the schema's type in lowercase. Gemini's schemas use uppercase types, e.g. ARRAY."""
    return str(schema.get("type", default)).lower()


def _find_properties(schema: JsonValue, name: str) -> Iterator[JsonObject]:
    """Yield the schema of every property called `name`, at any depth."""
    if isinstance(schema, list):
        for part in schema:
            yield from _find_properties(part, name)
    elif isinstance(schema, dict):
        found = as_object(schema.get("properties")).get(name)
        if isinstance(found, dict):
            yield found
        for part in schema.values():
            yield from _find_properties(part, name)


def _select_fields(schema: JsonObject, pair: JsonObject) -> JsonObject:
    """Return the pair's fields that the schema lists, renamed to the schema's names and in the schema's order.

    If the schema lists no fields, returns all fields of the pair.
    """
    properties = as_object(schema.get("properties"))
    if not properties:
        return pair
    ordering = [name for name in as_list(schema.get("propertyOrdering")) if isinstance(name, str)]
    names = dict.fromkeys([name for name in ordering if name in properties] + list(properties))
    return {name: pair[field] for name in names if (field := _FIELD_ALIASES.get(name, name)) in pair}
