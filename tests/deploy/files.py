"""The deployment files as data: a compose file with its variables put in, a Dockerfile as its stages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\})")


class MissingVariable(Exception):
    """A `${NAME:?message}` without a value, at which docker compose refuses to start."""


def compose(variables: Mapping[str, str], name: str = "docker-compose.yaml") -> dict[str, Any]:
    """The file as docker compose sees it: `${A:-default}`, `${A:?message}`, `$$`, anchors and merges resolved."""
    return dict(_interpolated(yaml.safe_load((ROOT / name).read_text(encoding="utf-8")), variables))


def _interpolated(node: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _interpolated(value, variables) for key, value in node.items()}
    if isinstance(node, list):
        return [_interpolated(item, variables) for item in node]
    return VARIABLE.sub(lambda m: _value(m, variables), node) if isinstance(node, str) else node


def _value(match: re.Match[str], variables: Mapping[str, str]) -> str:
    if match["name"] is None:
        return "$"
    value = variables.get(match["name"], "")
    if not value and match["kind"] == "?":
        raise MissingVariable(match["name"])
    return value or (match["rest"] or "" if match["kind"] == "-" else "")


def dotenv(text: str, *, commented: bool = False) -> dict[str, str]:
    """NAME=value lines; `commented` reads `#NAME=value` instead."""
    mark = "#" if commented else ""
    return dict(re.findall(rf"^{mark}([A-Z_]+)=(.*)$", text, re.M))


@dataclass
class Stage:
    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def values(self, *names: str) -> list[str]:
        return [value for name, value in self.instructions if name in names]


def dockerfile() -> dict[str, Stage]:
    """Stages by name, each with its own instructions; continued lines are joined, comments dropped."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#")).replace("\\\n", " ")
    stages: dict[str, Stage] = {}
    stage = None
    for line in filter(str.strip, text.splitlines()):
        instruction, _, value = line.partition(" ")
        if instruction == "FROM":
            base, _, name = value.partition(" AS ")
            stage = stages[name.strip()] = Stage(base.strip())
        else:
            assert stage, f"{line}: before the first FROM"
            stage.instructions.append((instruction, value.strip()))
    return stages


def requirements(name: str) -> dict[str, str]:
    """Package -> what stands after its name (`==1.2`, or nothing); `-r` lines are left to the caller."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    words = [line.split("#")[0].strip() for line in lines if line.strip() and line[0] not in "#-"]
    split = [re.fullmatch(r"([\w.-]+)(?:\[[\w,]+\])?(.*)", word) for word in words]
    return {match[1].lower(): match[2] for match in split if match}
