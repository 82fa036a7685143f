"""Airflow's trigger form from the typed configuration: the vital parameters first, whole stages as JSON below."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from airflow.sdk import Param

from insurance_rag.core.config_base import Config


def trigger_params(model: type[Config], only: Iterable[str] = (), **defaults: Any) -> dict[str, Param]:
    """One Param per field of `model` (`only` some); nested models become JSON fields in a section of their own."""
    schema = model.model_json_schema()
    values = {**model().model_dump(mode="json"), **defaults}
    fields = schema["properties"]
    return {name: _param(name, fields[name], values[name], schema) for name in only or fields}


def _param(name: str, field: dict[str, Any], value: Any, schema: dict[str, Any]) -> Param:
    field = _inlined(field, schema.get("$defs", {}))
    nested = field.get("type") == "object"
    facts = {k: v for k, v in field.items() if k not in ("default", "description")}
    if "anyOf" in facts:  # `int | None`: the form wants one list of types
        alternatives = facts.pop("anyOf")
        facts["type"] = [a["type"] for a in alternatives]
        facts |= {k: v for a in alternatives for k, v in a.items() if k != "type"}
    if facts.get("type") == "array" and "enum" in facts.get("items", {}):
        facts["examples"] = facts["items"]["enum"]  # renders as a multi-select
    if nested:
        facts |= {"section": "More settings", "title": name.capitalize()}
    return Param(value, description_md=field.get("description"), **facts)


def _inlined(node: Any, definitions: Mapping[str, Any]) -> Any:
    """JSON schema with its `$ref`s replaced: Airflow validates each parameter by itself."""
    if isinstance(node, list):
        return [_inlined(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = definitions[node["$ref"].rsplit("/", 1)[1]]
        return _inlined({**target, **{k: v for k, v in node.items() if k != "$ref"}}, definitions)
    return {k: _inlined(v, definitions) for k, v in node.items()}
