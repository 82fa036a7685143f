"""Load API keys from a keys.json file or from the environment. Keys are SecretStr values and are never printed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json
from insurance_rag.core.records import ApiKey
from insurance_rag.core.records.generation import TeacherInfo
from insurance_rag.core.registry import registry

KEYS_FILE_HELP = 'a list of {"id", "key", "project"?, "rpm"?, "tpm"?, "rpd"?}'


def load_keys(path: Path | str | None = None, teacher: str = "gemini") -> list[ApiKey]:
    """Return the keys from the file `path`. Without a path, return the keys from the teacher's environment variable.

    Keys from the environment get ids that consist of the teacher's name and a number: gemini_k1, gemini_k2 ... If the
    variable holds no key and the teacher requires no key, return one placeholder with an empty secret. The plan then
    has one shard.

    Raises InvalidInputError with a list of all problems. Its message never contains a key.
    """
    info: TeacherInfo = registry("teacher")[teacher]
    variable = info.key_variable or ""
    advice = f"give --keys keys.json ({KEYS_FILE_HELP})" + (f" or set {variable}=k1,k2" if variable else "")
    if path is not None:
        return _check(_read(Path(path), advice), str(path), advice)
    secrets = [s.strip() for s in os.environ.get(variable, "").split(",") if s.strip()]
    if not secrets and not info.key_required:
        return [ApiKey.model_validate({"id": teacher, "key": ""})]
    return _check([{"id": f"{teacher}_k{i}", "key": s} for i, s in enumerate(secrets, 1)], variable, advice)


def _read(path: Path, advice: str) -> list[object]:
    entries = read_json(path)
    if not isinstance(entries, list):
        raise InvalidInputError(f"{path}: not a list; {advice}")
    return entries


def _check(entries: Sequence[object], where: str, advice: str) -> list[ApiKey]:
    keys: list[ApiKey] = []
    problems: list[str] = []
    for number, entry in enumerate(entries, 1):
        try:
            key = ApiKey.model_validate(entry)
        except ValidationError as e:
            # A pydantic error's `input` may be the key itself, so the message leaves it out.
            problems += [
                f"{where}: key {number}: {'.'.join(map(str, x['loc'])) or 'entry'}: "
                f"{x['msg'].removeprefix('Value error, ')}; fix this entry"
                for x in e.errors()
            ]
            continue
        problems += [f"{where}: key {number}{problem}" for problem in _key_problems(key, keys)]
        keys.append(key)
    problems += [f"{where}: {problem}" for problem in _contradicting_quotas(keys)]
    if not entries:
        problems.append(f"{where}: no API keys; {advice}")
    if problems:
        raise InvalidInputError(problems)
    return keys


def _key_problems(key: ApiKey, earlier: Sequence[ApiKey]) -> list[str]:
    problems = []
    if not key.key.get_secret_value():
        problems.append(f" ({key.id}): the key is empty; remove the entry or fill it in")
    if any(key.id == other.id for other in earlier):
        problems.append(f": duplicate id {key.id!r}; make it unique")
    if same := next((other for other in earlier if other.key == key.key), None):
        problems.append(f" ({key.id}) is the same key as {same.id}; remove it, because it only shares the quota")
    return problems


def _contradicting_quotas(keys: Sequence[ApiKey]) -> list[str]:
    """Return one problem for each key whose quota differs from that of an earlier key in the same project."""
    problems = []
    for name in ("rpm", "tpm", "rpd"):
        by_pool: dict[str, int] = {}
        for key in keys:
            value: int | None = getattr(key, name)
            if value is not None and by_pool.setdefault(key.pool, value) != value:
                problems.append(
                    f"project {key.pool!r} has two values of {name}: {by_pool[key.pool]} and {value}; use one"
                )
    return problems
