"""The deployment files as data: a compose file with its variables replaced, a Dockerfile as its stages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from pydantic import BaseModel, JsonValue

ROOT = Path(__file__).parents[2]
VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\})")


class Build(BaseModel):
    """How the image of a service is built."""

    target: str


class Healthcheck(BaseModel):
    """How a service is checked."""

    test: list[str]


class Dependency(BaseModel):
    """What a service waits for."""

    condition: str


class Device(BaseModel):
    """A device that a service reserves."""

    capabilities: list[str]


class Reservations(BaseModel):
    """Resources that a service reserves."""

    devices: list[Device]


class Resources(BaseModel):
    """Resources of a service."""

    reservations: Reservations


class Deploy(BaseModel):
    """Deployment settings of a service."""

    resources: Resources


class Service(BaseModel):
    """The part of a service that the tests look at."""

    image: str = ""
    build: Build | None = None
    command: str | list[str] | None = None
    environment: dict[str, str] = {}
    volumes: list[str] = []
    ports: list[str] = []
    depends_on: dict[str, Dependency] = {}
    healthcheck: Healthcheck | None = None
    deploy: Deploy | None = None

    @property
    def script(self) -> str:
        """The shell script of a command `bash -c SCRIPT`."""
        assert isinstance(self.command, list)
        return self.command[-1]


class ComposeFile(BaseModel):
    """The part of a compose file that the tests look at."""

    services: dict[str, Service]
    volumes: dict[str, None] = {}


class MissingVariableError(Exception):
    """A `${NAME:?message}` without a value: docker compose does not start."""


def compose(variables: Mapping[str, str], name: str = "docker-compose.yaml") -> ComposeFile:
    """Return the file as docker compose reads it: `${A:-default}`, `${A:?message}`, `$$`, anchors, merges resolved."""
    return ComposeFile.model_validate(_interpolated(yaml.safe_load((ROOT / name).read_text("utf-8")), variables))


def _interpolated(node: JsonValue, variables: Mapping[str, str]) -> JsonValue:
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
        raise MissingVariableError(match["name"])
    return value or (match["rest"] or "" if match["kind"] == "-" else "")


def dotenv(text: str, *, commented: bool = False) -> dict[str, str]:
    """Return the NAME=value lines; with `commented` the `#NAME=value` lines instead."""
    mark = "#" if commented else ""
    return dict(re.findall(rf"^{mark}([A-Z_]+)=(.*)$", text, re.M))


@dataclass
class Stage:
    """A build stage of the Dockerfile."""

    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def values(self, *names: str) -> list[str]:
        """Return the arguments of these instructions."""
        return [value for name, value in self.instructions if name in names]


def dockerfile() -> dict[str, Stage]:
    """Return the stages by name, each with its own instructions; continued lines are joined, comments dropped."""
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
    """Return package -> version specifier (`==1.2`, or an empty string) of a requirements file, without `-r` lines."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    words = [line.split("#")[0].strip() for line in lines if line.strip() and line[0] not in "#-"]
    split = [re.fullmatch(r"([\w.-]+)(?:\[[\w,]+\])?(.*)", word) for word in words]
    return {match[1].lower(): match[2] for match in split if match}
