"""Where API keys come from: a keys.json, or the environment. A key is a SecretStr from here on and never printed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json
from insurance_rag.core.records import ApiKey

WAY_OUT = (
    'give --keys keys.json (a list of {"id", "key", "project"?, "rpm"?, "tpm"?, "rpd"?}) or set GEMINI_API_KEYS=k1,k2'
)


def load_keys(path: Path | str | None = None, teacher: str = "gemini") -> list[ApiKey]:
    """The keys of `path`, else of GEMINI_API_KEYS (OPENAI_API_KEYS for that teacher), ids gemini_k1, gemini_k2 ...

    The local teacher needs no key and an own server often none: they get one with an empty secret, so that the work is
    one shard. Raises InvalidInputError with every problem; no message ever holds a key.
    """
    if path is not None:
        return _check(_read(Path(path)), str(path))
    variable = f"{teacher.upper()}_API_KEYS"
    secrets = [s.strip() for s in os.environ.get(variable, "").split(",") if s.strip()]
    if not secrets and teacher != "gemini":
        return [ApiKey.model_validate({"id": teacher, "key": ""})]
    return _check([{"id": f"{teacher}_k{i}", "key": s} for i, s in enumerate(secrets, 1)], variable)


def _read(path: Path) -> list[Any]:
    entries = read_json(path)
    if not isinstance(entries, list):
        raise InvalidInputError(f"{path}: is not a list; {WAY_OUT}")
    return entries


def _check(entries: list[Any], where: str) -> list[ApiKey]:
    keys: list[ApiKey] = []
    problems = []
    for number, entry in enumerate(entries, 1):
        try:
            key = ApiKey.model_validate(entry)
        except ValidationError as e:
            # `input` is left out: it may hold the key itself.
            problems += [
                f"{where}: key {number}: {'.'.join(map(str, x['loc'])) or 'entry'}: {x['msg']}" for x in e.errors()
            ]
            continue
        secret = key.key.get_secret_value()
        if not secret:
            problems.append(f"{where}: key {number} ({key.id}): the key is empty")
        if any(key.id == other.id for other in keys):
            problems.append(f"{where}: key {number}: id {key.id!r} is used twice")
        if twin := next((k for k in keys if k.key == key.key), None):
            problems.append(
                f"{where}: key {number} ({key.id}) is the same key as {twin.id}; it would only share its quota"
            )
        keys.append(key)
    problems += _contradictions(keys, where)
    if not entries:
        problems.append(f"{where}: no API keys; {WAY_OUT}")
    if problems:
        raise InvalidInputError(problems)
    return keys


def _contradictions(keys: list[ApiKey], where: str) -> list[str]:
    """A project has one quota; two keys of it may not tell two."""
    problems = []
    for name in ("rpm", "tpm", "rpd"):
        told: dict[str, int] = {}
        for key in keys:
            value = getattr(key, name)
            if value is not None and told.setdefault(key.pool, value) != value:
                problems.append(f"{where}: project {key.pool!r} has two values of {name}: {told[key.pool]} and {value}")
    return problems
