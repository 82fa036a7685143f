"""Turns the values of the trigger form, or the JSON of a trigger request, into the nested settings of a run."""

from __future__ import annotations

from collections.abc import Mapping

import yaml
from pydantic import JsonValue

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.yaml_text import parse_yaml
from insurance_rag.orchestration.form_fields import FormField, Input, form_fields, plain

Settings = dict[str, JsonValue]


def run_settings(
    given: Mapping[str, JsonValue], defaults: Mapping[str, JsonValue], event: Mapping[str, JsonValue] | None = None
) -> Settings:
    """Return the nested settings of a run, ready for `RunConfig.parse`.

    `given` are the values of the trigger request: dotted names as the form sends them (`generation.model`), nested JSON
    (`{"generation": {"model": ...}}`), or both. They override `defaults`, which are the values of an untouched form.
    `event` are nested settings that override both. Raises an InvalidInputError that lists every unreadable value, and
    every setting that is given twice with different values.
    """
    problems: list[str] = []
    fields = form_fields()
    result: Settings = {}
    _merge(result, _nested(defaults, problems))
    nested = {name: value for name, value in given.items() if name not in fields and "." not in name}
    _merge(result, nested)
    # The form also sends what nobody changed. Such a value does not override a nested one.
    flat = {
        name: value
        for name, value in given.items()
        if name not in nested and not (_get(nested, name) is not None and defaults.get(name) == value)
    }
    _merge(result, _nested(flat, problems))
    for name in flat:
        if (other := _get(nested, name)) is not None and other != _get(result, name):
            problems.append(f"parameters: {name}: is {plain(other)} and {plain(flat[name])}; give one of the two")
    if problems:
        raise InvalidInputError(problems)
    _merge(result, event or {})
    return result


def _nested(values: Mapping[str, JsonValue], problems: list[str]) -> Settings:
    """Return the values of form fields as nested settings, without those of empty fields."""
    result: Settings = {}
    for name, value in values.items():
        field = form_fields().get(name)
        if value is None and (field is None or not field.nullable or field.overrides):
            continue
        *parents, leaf = name.split(".")
        inner: Settings = {leaf: _read(field, value, problems) if field else value}
        for parent in reversed(parents):
            inner = {parent: inner}
        _merge(result, inner)
    return result


def _read(field: FormField, value: JsonValue, problems: list[str]) -> JsonValue:
    """Return the setting's value for the value of its form field. Unreadable values are added to `problems`."""
    if field.input is Input.LINES and isinstance(value, list):
        return [item.replace("\\n", "\n") if isinstance(item, str) else item for item in value if item != ""]
    if not isinstance(value, str):
        return value
    if field.input is Input.CHOICE and _has_switch(field):
        return {"true": True, "false": False}.get(value, value)
    if field.input is Input.VALUES:
        return [part.strip() for part in value.replace("\n", ",").strip("[] ").split(",") if part.strip()]
    if field.input is Input.SUGGESTIONS and value.lower() == "none":
        return None
    if field.input is Input.MAPPING:
        return _mapping(field, value, problems)
    return value


def _has_switch(field: FormField) -> bool:
    return not field.choices or any(isinstance(choice, bool) for choice in field.choices)


def _mapping(field: FormField, text: str, problems: list[str]) -> JsonValue:
    try:
        read: JsonValue = parse_yaml(text) if text.strip() else {}
    except yaml.YAMLError:
        read = None
    if not isinstance(read, dict):
        problems.append(f"parameters: {field.name}: not lines of the form `name: value`; e.g. {_example(field)}")
    return read


def _example(field: FormField) -> str:
    names = field.schema.get("propertyNames")
    choices = names.get("enum") if isinstance(names, dict) else None
    return f"{choices[0]}: 0.1" if isinstance(choices, list) and choices else "v2: /path/of/v2"


def _get(settings: Mapping[str, JsonValue], name: str) -> JsonValue:
    found: JsonValue = {**settings}
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _merge(target: Settings, source: Mapping[str, JsonValue], prefix: str = "") -> None:
    """Copy `source` into `target`. Nested configurations are merged; the values of settings are replaced."""
    for name, value in source.items():
        before = target.get(name)
        if isinstance(value, dict) and f"{prefix}{name}" not in form_fields():
            inner: Settings = before if isinstance(before, dict) else {}
            _merge(inner, value, f"{prefix}{name}.")
            target[name] = inner
        elif value is not None or not isinstance(before, dict):  # null for a nested configuration: its defaults
            target[name] = value
