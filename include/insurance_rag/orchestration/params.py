"""Builds Airflow's trigger form: the settings that people change most are open, and the others are in folded sections.

Airflow marks a field as required unless its type includes null. All settings have a default, so all types include null.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import yaml
from airflow.sdk import Param
from pydantic import JsonValue

from insurance_rag.orchestration.form_fields import FormField, Input, Schema, form_fields, plain

MORE = "More settings"
"""Section of the settings that are neither open nor nested."""

CODE = re.compile("`([^`]+)`")

#: JSON Schema keyword that limits a number -> wording in the help text.
LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
}
#: Input element -> how to fill it in.
HINTS = {
    Input.LINES: "One per line",
    Input.MAPPING: "One `name: value` per line",
    Input.VALUES: "Separated by commas",
}
#: JSON Schema keywords that the form and Airflow's validation use.
KEPT_KEYWORDS = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "minItems", "minLength", "items")
#: Input element -> types of its values besides null.
TYPES: dict[Input, list[JsonValue]] = {
    Input.CHOICE: ["string"],
    Input.LINES: ["array"],
    Input.CHOICES: ["array"],
    Input.MAPPING: ["string", "object"],
    Input.VALUES: ["string", "array"],
}


def trigger_params(
    open_fields: Iterable[str], sections: Iterable[str], *, defaults: Mapping[str, JsonValue] | None = None
) -> dict[str, Param]:
    """Return one Param per setting: first the `open_fields`, then the settings in `sections`, which are folded.

    A section is the name of a nested configuration of RunConfig, or of a single setting. `defaults` override the
    defaults of the settings.
    """
    fields = form_fields()
    opened = [fields[name] for name in open_fields]
    wanted = tuple(sections)
    folded = [f for f in fields.values() if f not in opened and f.name.partition(".")[0] in wanted]
    folded.sort(key=lambda field: bool(field.section))  # single settings come before nested ones
    values = defaults or {}
    return {
        **{field.name: _param(field, values, "") for field in opened},
        **{field.name: _param(field, values, field.section or MORE) for field in folded},
    }


def _param(field: FormField, defaults: Mapping[str, JsonValue], section: str) -> Param:
    title = field.schema.get("title") if not field.section else _title(field.name, whole=not section)
    facts: Schema = {
        "title": title,
        "type": [*_types(field), "null"],
        **{keyword: field.schema[keyword] for keyword in KEPT_KEYWORDS if keyword in field.schema},
        **_values(field),
        **({"section": section} if section else {}),
    }
    value = defaults.get(field.name, field.default)
    return Param(_shown(field, value), description_md=_help(field), **facts)


def _title(name: str, *, whole: bool) -> str:
    """Return the title of a nested setting. An open field has no section title, so its `whole` name is shown."""
    words = name.replace(".", " ") if whole else name.rpartition(".")[2]
    return words.replace("_", " ").capitalize()


def _types(field: FormField) -> list[JsonValue]:
    if field.input in TYPES:
        return TYPES[field.input]
    alternatives = field.schema.get("anyOf")
    if not isinstance(alternatives, list):
        own = field.schema.get("type", "string")
        return ["string", own] if field.input is Input.SUGGESTIONS else [own]
    found = [a["type"] for a in alternatives if isinstance(a, dict) and "type" in a]
    return ["string", *(t for t in found if t != "string")]  # the form shows the first type


def _values(field: FormField) -> Schema:
    """Return the keywords with which the form offers the values of a setting."""
    if field.input is Input.CHOICE:
        choices: list[JsonValue] = [plain(choice) for choice in field.choices or (True, False)]
        unset = "as in the recipe or policy" if field.overrides else f"default: {plain(field.default)}"
        return {"enum": [*choices, None], "values_display": {"null": unset}}
    items = field.schema.get("items")
    if field.input is Input.CHOICES and isinstance(items, dict):
        return {"examples": items["enum"]}
    if field.input is Input.SUGGESTIONS:
        words = [plain(c) for c in _constants(field.schema)]
        return {"examples": [*words, *(["none"] if field.nullable else [])]}
    return {}


def _constants(schema: Schema) -> list[JsonValue]:
    alternatives = schema.get("anyOf")
    listed = alternatives if isinstance(alternatives, list) else []
    return [a["const"] for a in listed if isinstance(a, dict) and "const" in a]


def _shown(field: FormField, value: JsonValue) -> JsonValue:
    """Return a default as the form shows it."""
    if field.input is Input.LINES and isinstance(value, list):
        return [item.replace("\n", "\\n") if isinstance(item, str) else item for item in value]
    if field.input is Input.VALUES and isinstance(value, list):
        return ", ".join(map(plain, value))
    if field.input is Input.MAPPING and isinstance(value, dict):
        return yaml.safe_dump(value, allow_unicode=True, sort_keys=False).strip() if value else None
    return value


def _help(field: FormField) -> str:
    """Return the documentation of a setting with its limits, its default and its name."""
    text = " ".join(str(field.schema.get("description") or "").split())
    facts = [text.format(plain(field.schema[keyword])) for keyword, text in LIMITS.items() if keyword in field.schema]
    if names := field.schema.get("propertyNames"):
        allowed = names.get("enum") if isinstance(names, dict) else None
        facts += ["names: " + ", ".join(map(plain, allowed))] if isinstance(allowed, list) else []
    if field.input in HINTS:
        facts.append(HINTS[field.input])
    if field.overrides:
        facts.append("empty: as in the recipe" if field.name.startswith("training.") else "empty: as in the policy")
    elif isinstance(field.default, (str, int, float)) and not isinstance(field.default, bool):
        facts.append(f"default: {plain(field.default)}")
    more = "; ".join(facts)
    sentence = f" {more[0].upper()}{more[1:]}." if more else ""
    return CODE.sub(_emphasized, f"{text}{sentence} `{field.name}`".strip())


def _emphasized(code: re.Match[str]) -> str:
    """Return a name in italics. The form shows Markdown code in boxes that cover parts of the lines around them."""
    return "*" + "".join(f"\\{c}" if c in "*_" else c for c in code[1]) + "*"
