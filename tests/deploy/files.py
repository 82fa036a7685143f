"""The deployment files as data: docker-compose.yaml with its variables replaced, the Dockerfile as its stages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from pydantic import BaseModel, JsonValue, field_validator

ROOT = Path(__file__).parents[2]
VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\})")


class Build(BaseModel):
    """How the image of a service is built."""

    target: str
    args: dict[str, str] = {}


class Healthcheck(BaseModel):
    """How a service is checked."""

    test: list[str]
    timeout: str


class Dependency(BaseModel):
    """What a service waits for."""

    condition: str


class Secret(BaseModel):
    """A secret of a service, and the name of its file in /run/secrets."""

    source: str
    target: str


class SecretFile(BaseModel):
    """Where a secret comes from."""

    file: str


class Network(BaseModel):
    """A network. Containers in an internal network reach nothing outside it."""

    internal: bool = False


class Device(BaseModel):
    """A device that a service reserves."""

    capabilities: list[str]


class Limits(BaseModel):
    """The resources that a service may use at most."""

    memory: str


class Reservations(BaseModel):
    """Resources that a service reserves."""

    devices: list[Device] = []


class Resources(BaseModel):
    """Resources of a service."""

    limits: Limits
    reservations: Reservations = Reservations()


class Deploy(BaseModel):
    """Deployment settings of a service."""

    resources: Resources


class Service(BaseModel):
    """The part of a service that the tests look at."""

    image: str
    build: Build | None = None
    profiles: list[str] = []
    entrypoint: list[str] | None = None
    command: list[str] = []
    environment: dict[str, str] = {}
    secrets: list[Secret] = []
    networks: list[str] = ["default"]
    volumes: list[str] = []
    tmpfs: list[str] = []
    ports: list[str] = []
    user: str = ""
    restart: str = ""
    read_only: bool = False
    cap_drop: list[str] = []
    security_opt: list[str] = []
    depends_on: dict[str, Dependency] = {}
    healthcheck: Healthcheck | None = None
    deploy: Deploy | None = None

    @field_validator("secrets", mode="before")
    @classmethod
    def _long_form(cls, given: list[str | dict[str, str]]) -> list[dict[str, str]]:
        return [{"source": item, "target": item} if isinstance(item, str) else item for item in given]


class ComposeFile(BaseModel):
    """The part of a compose file that the tests look at."""

    services: dict[str, Service]
    volumes: dict[str, None]
    networks: dict[str, Network | None]
    secrets: dict[str, SecretFile]


class MissingVariableError(Exception):
    """A `${NAME:?message}` without a value: docker compose does not start."""


def compose(variables: Mapping[str, str]) -> ComposeFile:
    """Return the file as docker compose reads it, with the variables of .env.

    Resolves `${A:-default}`, `${A:?message}`, `$$`, anchors and merges. An environment variable without a value gets
    the value of the variable with the same name, or is left out.
    """
    content = yaml.safe_load((ROOT / "docker-compose.yaml").read_text("utf-8"))
    for service in content["services"].values():
        environment = service.get("environment", {})
        service["environment"] = {
            k: variables[k] if v is None else v for k, v in environment.items() if v is not None or k in variables
        }
    return ComposeFile.model_validate(_interpolated(content, variables))


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
    return dict(re.findall(rf"^{mark}([A-Z_0-9]+)=(.*)$", text, re.M))


@dataclass
class Stage:
    """A build stage of the Dockerfile."""

    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def values(self, *names: str) -> list[str]:
        """Return the arguments of these instructions."""
        return [value for name, value in self.instructions if name in names]


@dataclass
class Dockerfile:
    """A Dockerfile: the variables before the first stage, and the stages by name."""

    arguments: dict[str, str]
    stages: dict[str, Stage]

    def chain(self, name: str) -> list[Stage]:
        """Return a stage and the stages that it is built on, the lowest first."""
        stage = self.stages[name]
        return [*(self.chain(stage.base) if stage.base in self.stages else []), stage]

    def environment(self, name: str) -> dict[str, str]:
        """Return the environment variables of an image, without those of its base image."""
        found: dict[str, str] = {}
        for line in (value for stage in self.chain(name) for value in stage.values("ENV")):
            for variable, value in re.findall(r"(\w+)=(\S+)", line):
                found[variable] = value.replace("$PATH", found.get("PATH", "/usr/local/bin:/usr/bin:/bin"))
        return found


def dockerfile() -> Dockerfile:
    """Return the Dockerfile; continued lines are joined, comments dropped."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#")).replace("\\\n", " ")
    found = Dockerfile({}, {})
    stage = None
    for line in filter(str.strip, text.splitlines()):
        instruction, _, value = line.partition(" ")
        if instruction == "FROM":
            base, _, name = value.partition(" AS ")
            stage = found.stages[name.strip()] = Stage(base.strip())
        elif stage:
            stage.instructions.append((instruction, value.strip()))
        else:
            assert instruction == "ARG", f"{line}: before the first FROM"
            name, _, default = value.partition("=")
            found.arguments[name] = default
    return found


def packages(path: Path) -> dict[str, str]:
    """Return package -> version of a file with pinned requirements, e.g. deploy/airflow.txt or requirements.lock."""
    return dict(re.findall(r"^([\w.-]+)==([\w.+!-]+)", path.read_text(encoding="utf-8"), re.M))
