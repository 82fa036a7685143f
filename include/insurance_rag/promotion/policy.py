"""Read a promotion policy: a YAML file with settings of `PromotionConfig`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from insurance_rag.config import PromotionConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.yaml_text import parse_yaml

DEFAULT_POLICY = Path(__file__).with_name("policy.yaml")
"""The default policy, with every setting and its reason."""


def load_policy(
    path: Path | None = None, settings: Mapping[str, object] | None = None, where: str = "--set"
) -> PromotionConfig:
    """Return the policy in `path`, or the default policy, with `settings` applied on top.

    `margins` and `limits` are merged by metric. `where` names the origin of `settings` in error messages. Raises an
    InvalidInputError that lists every problem with its file and key, e.g. an unknown setting or metric.
    """
    path = path or DEFAULT_POLICY
    values = _read(path)
    policy = PromotionConfig.parse(values, str(path))
    return PromotionConfig.parse(_merged(values, settings), where) if settings else policy


def _merged(policy: Mapping[str, object], changes: Mapping[str, object]) -> dict[str, object]:
    """Return the policy with the changes. In a nested mapping, only the changed keys are replaced."""
    merged = dict(policy)
    for key, value in changes.items():
        current = merged.get(key)
        if isinstance(current, Mapping) and isinstance(value, Mapping):
            value = {**current, **value}
        merged[key] = value
    return merged


def _read(path: Path) -> dict[str, object]:
    try:
        text = path.read_text("utf-8")
        settings = parse_yaml(text)
        repeated = list(_repeated_keys(yaml.compose(text, yaml.SafeLoader)))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as e:
        raise InvalidInputError(f"{path}: cannot be read as YAML ({e}); check the path and the file") from e
    if not isinstance(settings, dict):
        raise InvalidInputError(f"{path}: not a mapping; write one `key: value` per line as in {DEFAULT_POLICY}")
    if repeated:
        raise InvalidInputError([f"{path}: line {line}: duplicate key {key!r}; keep one" for line, key in repeated])
    return {str(key): value for key, value in settings.items()}


def _repeated_keys(node: yaml.Node | None) -> Iterator[tuple[int, str]]:
    """Yield (line, key) for every key that a mapping repeats. YAML itself would silently use the last value."""
    if not isinstance(node, yaml.MappingNode):
        return
    seen = set()
    for key, value in node.value:
        if key.value in seen:
            yield key.start_mark.line + 1, str(key.value)
        seen.add(key.value)
        yield from _repeated_keys(value)
