"""Load a recipe, which is a YAML file with the settings for one adapter, into a typed `TrainingConfig`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

import yaml

from insurance_rag.config import TrainingConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.yaml_text import parse_yaml

RECIPE_FOLDER = Path(__file__).parents[1] / "recipes"

#: Settings that identify the adapter. If a profile names another recipe file, these settings are not taken from it.
_RECIPE_IDENTITY = frozenset({"version", "prompt_format"})


def load_recipe(name_or_file: str | Path, settings: Mapping[str, object] | None = None) -> TrainingConfig:
    """Return the recipe with this name or path, with a profile and settings applied.

    The profile `settings["profile"]` overrides the recipe. The other settings override both.
    Raises InvalidInputError for an invalid value and for an unknown recipe, profile or setting. For an unknown name,
    the error message suggests a similar known name, if there is one.
    """
    settings = dict(settings or {})
    profile = settings.pop("profile", None)
    path = _find(str(name_or_file))
    values = _read(path)
    profiles = values.pop("profiles", {})
    if profile not in (None, "default"):
        values = _merge(values, _read_profile(str(profile), profiles if isinstance(profiles, dict) else {}, path))
    return TrainingConfig.parse(_merge(values, settings), str(path))


def recipe_name(name_or_file: str | Path) -> str:
    """Return the name of a recipe that is given by name or by path."""
    return _find(str(name_or_file)).stem


def recipe_names() -> list[str]:
    """Return the names of the recipes that ship with the package."""
    return sorted(path.stem for path in RECIPE_FOLDER.glob("*.yaml"))


def _find(name: str) -> Path:
    if Path(name).suffix in {".yaml", ".yml"}:
        return Path(name)
    path = RECIPE_FOLDER / f"{name}.yaml"
    if name not in recipe_names():
        raise InvalidInputError(_unknown("recipe", name, recipe_names(), "--recipe"))
    return path


def _read(path: Path) -> dict[str, object]:
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise InvalidInputError(f"{path}: cannot be read ({e.strerror}); check --recipe") from e
    except (UnicodeDecodeError, yaml.YAMLError) as e:
        raise InvalidInputError(f"{path}: invalid YAML ({e}); fix the recipe") from e
    if not isinstance(values, dict):
        raise InvalidInputError(f"{path}: not a mapping of settings; write it like those in {RECIPE_FOLDER}")
    return values


def _read_profile(profile: str, profiles: Mapping[str, object], path: Path) -> Mapping[str, object]:
    """Return a profile's settings. In the recipe, a profile is a mapping of settings or the name of another recipe."""
    if profile not in profiles:
        raise InvalidInputError(_unknown("profile", profile, ["default", *profiles], str(path)))
    overlay = profiles[profile]
    if isinstance(overlay, str):
        return {key: value for key, value in _read(path.parent / overlay).items() if key not in _RECIPE_IDENTITY}
    if not isinstance(overlay, dict):
        raise InvalidInputError(f"{path}: profile {profile!r} is neither settings nor a recipe; write one of the two")
    return overlay


def _merge(base: Mapping[str, object], override: Mapping[str, object]) -> dict[str, object]:
    """Return `base` with the values in `override`. Nested mappings are merged: `lora.r=8` keeps the rest of `lora`."""
    merged: dict[str, object] = dict(base)
    for key, value in override.items():
        current = merged.get(key)
        if isinstance(value, Mapping) and isinstance(current, Mapping):
            value = _merge(current, value)
        merged[key] = value
    return merged


def _unknown(kind: str, name: str, known: list[str], where: str) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{where}: unknown {kind} {name!r}; {hint}available: {', '.join(known)}"
