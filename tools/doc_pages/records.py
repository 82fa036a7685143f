"""Describes records: fields with type and meaning, from the docstrings and descriptions in the code."""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from pydantic import BaseModel, JsonValue, SecretStr
from tools.doc_pages.common_fields import MEANINGS

PLAIN = {str: "string", int: "integer", float: "number", bool: "true or false", type(None): "null", Path: "path"}
PLAIN |= {SecretStr: "secret string"}


def is_record(kind: object) -> bool:
    """Return whether a type is described by a table of its own."""
    return isinstance(kind, type) and (is_typeddict(kind) or (issubclass(kind, BaseModel) and kind is not BaseModel))


def title(kind: type) -> str:
    """Return the name of a record, with its module if another record has the same name."""
    same = [other for other in _all_records() if other.__name__ == kind.__name__]
    return kind.__name__ if len(same) < 2 else f"{kind.__name__} of {kind.__module__.rpartition('.')[2]}"


@functools.cache
def _all_records() -> frozenset[type]:
    modules = [module for name, module in list(sys.modules.items()) if name.startswith("insurance_rag.core.records")]
    return frozenset(value for module in modules for value in vars(module).values() if is_record(value))


def fields(kind: type) -> Iterator[tuple[str, str, str]]:
    """Yield (name, type, meaning) for each field of a record."""
    documented = docstrings(kind)
    if is_typeddict(kind):
        for name, hint in get_type_hints(kind, include_extras=True).items():
            optional = get_origin(hint) is NotRequired or name in getattr(kind, "__optional_keys__", ())
            yield (
                name,
                type_text(hint) + (" (may be missing)" if optional else ""),
                _meaning(kind, name, documented.get(name)),
            )
        return
    for name, field in kind.model_fields.items():  # type: ignore[attr-defined]
        suffix = (
            "" if field.is_required() else f" (default {default_text(field.get_default(call_default_factory=True))})"
        )
        yield (
            name,
            type_text(field.annotation) + suffix,
            _meaning(kind, name, field.description or documented.get(name)),
        )


def _meaning(kind: type, name: str, text: str | None) -> str:
    """Return the meaning of a field as a sentence."""
    text = text or MEANINGS.get(f"{kind.__name__}.{name}") or MEANINGS.get(name, "")
    return text and f"{text[0].upper()}{text[1:]}{'' if text[-1] in '.:' else '.'}"


def default_text(value: object) -> str:
    """Return how a default looks in a file."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, BaseModel):
        return "its own defaults"
    return {"()": "[]", "''": '""'}.get(repr(value), repr(value).replace("'", '"'))


def type_text(hint: Any) -> str:
    """Return a type in words; records are links to their tables."""
    if hint in PLAIN:
        return PLAIN[hint]
    origin, args = get_origin(hint), get_args(hint)
    if origin in (NotRequired, Required, Annotated):
        return type_text(args[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in args)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(type_text(arg) for arg in args))
    if origin in (list, Sequence) or (origin is tuple and args[-1:] == (...,)):
        return f"list of {type_text(args[0])}"
    if origin is tuple:
        return f"list of {', '.join(type_text(arg) for arg in args)}"
    if origin in (dict, Mapping):
        return f"object: {type_text(args[0])} -> {type_text(args[1])}"
    if is_record(hint):
        return f"[{title(hint)}](#{title(hint).lower().replace(' ', '-')})"
    return "any JSON value" if hint in (Any, object, JsonValue) else "JSON value"


def nested(kind: type) -> list[type]:
    """Return the records that the fields of a record contain, in order of appearance."""
    found: list[type] = []

    def visit(hint: Any) -> None:
        if is_record(hint):
            found.append(hint)
        for arg in get_args(hint):
            visit(arg)

    for hint in get_type_hints(kind, include_extras=True).values():
        visit(hint)
    return [other for other in dict.fromkeys(found) if other is not kind]


@functools.cache
def docstrings(kind: type) -> dict[str, str]:
    """Return the docstrings below the fields of a record and of the records that it extends."""
    found: dict[str, str] = {}
    bases = getattr(kind, "__orig_bases__", ()) if is_typeddict(kind) else kind.__mro__[1:]
    for base in reversed([kind, *(base for base in bases if is_record(base))]):
        found |= _own_docstrings(base)
    return found


def _own_docstrings(kind: type) -> dict[str, str]:
    tree = _module_tree(kind.__module__)
    body = next((n.body for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and n.name == kind.__name__), [])
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


@functools.cache
def _module_tree(name: str) -> ast.Module:
    return ast.parse(Path(str(sys.modules[name].__file__)).read_text(encoding="utf-8"))
