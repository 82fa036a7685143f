"""Recipes: YAML presets in `recipes/`, one for each published result, read into one typed `TrainingConfig`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from insurance_rag.config import TrainingConfig
from insurance_rag.core.errors import InvalidInputError

RECIPES = Path(__file__).parents[1] / "recipes"


def load_recipe(name_or_file: str | Path, settings: Mapping[str, Any] | None = None) -> TrainingConfig:
    """The recipe called `name_or_file`, its `profile` laid over it, then the other `settings` (from `--set`).

    Raises InvalidInputError for an unknown recipe, profile or key (with a suggestion) and for every value out of range.
    """
    settings = dict(settings or {})
    profile = settings.pop("profile", None)
    path = _find(str(name_or_file))
    values = _read(path)
    profiles = values.pop("profiles", {})
    if profile not in (None, "default"):
        if profile not in profiles:
            raise InvalidInputError(_unknown("profile", str(profile), ["default", *profiles], str(path)))
        overlay = profiles[profile]
        if isinstance(overlay, str):  # another recipe's settings, for this recipe's dataset
            overlay = {k: v for k, v in _read(path.parent / overlay).items() if k != "version"}
        values = _merge(values, overlay)
    return TrainingConfig.parse(_merge(values, settings), str(path))


def _find(name: str) -> Path:
    if Path(name).suffix in {".yaml", ".yml"}:
        return Path(name)
    path = RECIPES / f"{name}.yaml"
    if not path.is_file():
        raise InvalidInputError(_unknown("recipe", name, sorted(p.stem for p in RECIPES.glob("*.yaml")), "--recipe"))
    return path


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise InvalidInputError(f"{path}: cannot be read ({e.strerror})") from e
    except yaml.YAMLError as e:
        raise InvalidInputError(f"{path}: not YAML ({e})") from e
    if not isinstance(values, dict):
        raise InvalidInputError(f"{path}: a recipe is a mapping of settings")
    return values


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid over `base`; mappings are merged, so that `lora.r=8` leaves the rest of `lora` alone."""
    merged = dict(base)
    for key, value in over.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if nested else value
    return merged


def _unknown(kind: str, name: str, known: list[str], where: str) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{where}: no {kind} {name!r}; {hint}known: {', '.join(known)}"
