"""Converts between typed records, which the tasks use, and plain JSON values, which XCom carries.

For artifacts in an object store, XCom carries their URIs. The records hold local paths (see `artifact_parts`).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import ParamSpec, cast, get_args, get_type_hints

from pydantic import BaseModel, JsonValue, TypeAdapter, ValidationError

from insurance_rag.core.artifact_store.locations import local_value, public_value
from insurance_rag.core.errors import InvalidInputError

P = ParamSpec("P")


def dump(result: object) -> JsonValue:
    """Convert a record or a list of records to a plain JSON value, and return other JSON values unchanged."""
    if isinstance(result, BaseModel):
        return public_value(result.model_dump(mode="json"))
    if isinstance(result, (list, tuple)):
        return [dump(item) for item in result]
    if result is None or isinstance(result, (dict, str, int, float)):
        return public_value(result)
    raise TypeError(f"XCom carries records and JSON values, not {type(result).__name__}")


def with_records(function: Callable[P, object]) -> Callable[P, JsonValue]:
    """Return a wrapper of `function` that takes and returns plain JSON values instead of records.

    The wrapper converts each argument whose annotation is a pydantic model or a sequence of models. It raises
    InvalidInputError if an argument does not match its annotation.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> JsonValue:
        bound = inspect.signature(function).bind(*args, **kwargs)
        for name, hint in get_type_hints(function).items():
            if name in bound.arguments and _has_record(hint):
                bound.arguments[name] = _load(name, TypeAdapter(hint), bound.arguments[name])
        return dump(function(*bound.args, **bound.kwargs))

    return call


def _has_record(hint: object) -> bool:
    inner = get_args(hint)
    return any(map(_has_record, inner)) if inner else isinstance(hint, type) and issubclass(hint, BaseModel)


def _load(name: str, adapter: TypeAdapter[object], value: object) -> object:
    if isinstance(value, Sequence) and not isinstance(value, (str, list, tuple)):
        # The results of a mapped task are a lazy sequence. A slice loads all of them with one request; iterating would
        # send one request per item.
        value = value[:]
    try:
        return adapter.validate_python(local_value(cast(JsonValue, value)))
    except ValidationError as e:
        problems = [f"{'.'.join(map(str, error['loc'])) or 'value'}: {error['msg']}" for error in e.errors()]
        raise InvalidInputError(
            f"{name}: the result of an earlier task does not fit ({'; '.join(problems)}); clear that task"
        ) from None
