"""docker-compose.yaml agrees with the code, Airflow and .env.example. The tests need no Docker engine."""

from __future__ import annotations

import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from tests.deploy.files import ROOT, MissingVariableError, Service, compose, dockerfile, dotenv

from insurance_rag.orchestration.pod_config import PREFIX, PodConfig

EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
SECRETS = set(dotenv(EXAMPLE))
CODE = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "include").rglob("*.py"))
#: Read by libraries and by Airflow's image, not by this package.
FOREIGN = {"HF_HOME", "DUMB_INIT_SETSID"}


@pytest.fixture(scope="module")
def env_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("env") / ".env"
    subprocess.run([sys.executable, str(ROOT / "tools/make_env.py"), str(path)], check=True, capture_output=True)
    return path


@pytest.fixture(scope="module")
def services(env_file: Path) -> dict[str, Service]:
    return compose(dotenv(env_file.read_text())).services


def test_every_secret_is_fresh_and_the_file_is_private(env_file: Path) -> None:
    values = dotenv(env_file.read_text())
    assert set(values) == SECRETS and len(set(values.values())) == len(values)
    assert all(len(value) >= 16 for value in values.values())
    Fernet(values["FERNET_KEY"])
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600


def test_existing_secrets_are_never_replaced(env_file: Path) -> None:
    before = env_file.read_bytes()
    again = subprocess.run([sys.executable, str(ROOT / "tools/make_env.py"), str(env_file)], capture_output=True)
    assert again.returncode == 2 and env_file.read_bytes() == before


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_nothing_starts_without_a_secret(name: str) -> None:
    values = {secret: "x" for secret in SECRETS if secret != name}
    with pytest.raises(MissingVariableError, match=name):
        compose(values)


def test_the_example_names_every_variable_with_its_default() -> None:
    text = (ROOT / "docker-compose.yaml").read_text(encoding="utf-8")
    defaults = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", text))
    assert set(re.findall(r"\$\{(\w+):\?", text)) == SECRETS
    shown = dotenv(EXAMPLE, commented=True)
    assert {name: shown.get(name) for name in defaults} == defaults | {"AIRFLOW_EXECUTOR": "CeleryExecutor"}
    assert set(shown) - set(defaults) == {"COMPOSE_FILE", "COMPOSE_PROFILES"}


def test_the_file_contains_no_secret(services: dict[str, Service]) -> None:
    plain = compose(dict.fromkeys(SECRETS, "SECRET")).services
    for name, service in plain.items():
        for variable, value in service.environment.items():
            if re.search(r"PASSWORD$|SECRET|_KEY$|SQL_ALCHEMY|RESULT_BACKEND", variable):
                assert "SECRET" in value, f"{name}: {variable}"


def test_airflow_knows_every_setting(services: dict[str, Service]) -> None:
    from airflow.configuration import conf, retrieve_configuration_description

    known = retrieve_configuration_description(include_providers=True)
    for variable in {v for s in services.values() for v in s.environment if v.startswith("AIRFLOW__")}:
        _, section, option = variable.lower().split("__")
        if section == "celery":  # its provider is only in the image
            continue
        assert option in known[section]["options"] or conf.has_option(section, option), variable


def test_the_code_reads_every_other_variable(services: dict[str, Service]) -> None:
    ours = {v for name in ("scheduler", "worker", "triggerer") for v in services[name].environment}
    for variable in {v for v in ours if not v.startswith("AIRFLOW__")} - FOREIGN:
        assert f'"{variable}"' in CODE, variable


def test_commands_are_airflows(services: dict[str, Service]) -> None:
    from airflow.cli.cli_parser import get_parser

    script = services["init"].script.replace("$(tr ',' '\\n' <<< \"$GEMINI_CONNECTIONS\" | wc -l)", "7")
    commands = [line for line in script.splitlines() if line.startswith("airflow ")]
    assert len(commands) == 3
    checks = [s.healthcheck.test[-1] for s in services.values() if s.healthcheck]
    commands += [check for check in checks if check.startswith("airflow ")]
    commands += [f"airflow {s.command}" for s in services.values() if isinstance(s.command, str)]
    assert "airflow celery worker" in commands  # its parser comes with the provider, which is only in the image
    for command in commands:
        argv = shlex.split(command.replace("$GPU_SLOTS", "1"))[1:]
        if argv[0] != "celery":
            get_parser().parse_args(argv)


def test_the_set_up_counts_keys_and_writes_the_password(services: dict[str, Service], tmp_path: Path) -> None:
    """Run the script of `init` with a program `airflow` that records its arguments."""
    script = services["init"].script.replace("/opt/airflow/auth", str(tmp_path))
    (tmp_path / "airflow").write_text('#!/bin/sh\nprintf "%s|" "$@" >> "$0.log"; echo >> "$0.log"\n')
    (tmp_path / "airflow").chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    given = {"PATH": path, "GEMINI_CONNECTIONS": "k1,k2,k3", "GPU_SLOTS": "2", "ADMIN_PASSWORD": 'a"b'}
    subprocess.run(["bash", "-ec", script], check=True, env=given)
    asked = (tmp_path / "airflow.log").read_text().splitlines()
    assert asked[0] == "db|migrate|" and asked[1].startswith("pools|set|gemini|3|")
    assert asked[2].startswith("pools|set|--include-deferred|gpu|2|")
    assert (tmp_path / "passwords.json").read_text() == '{"admin": "a\\"b"}\n'
    assert stat.S_IMODE((tmp_path / "passwords.json").stat().st_mode) == 0o600


def test_services_fit_together(services: dict[str, Service], env_file: Path) -> None:
    whole = compose(dotenv(env_file.read_text()))
    assert {"postgres", "init", "api-server", "scheduler", "dag-processor", "triggerer"} <= set(services)
    for name, service in services.items():
        if name != "init":
            assert service.healthcheck and service.healthcheck.test[0] in ("CMD", "CMD-SHELL"), name
        for other, dependency in service.depends_on.items():
            assert dependency.condition != "service_healthy" or services[other].healthcheck
        for volume in service.volumes:
            source, target = volume.split(":")[:2]
            assert (ROOT / source).is_dir() if source.startswith(".") else source in whole.volumes
            assert target.startswith(("/opt/airflow/", "/var/lib/postgresql/"))
        if service.build:
            assert service.build.target in dockerfile()
        for port in service.ports:
            assert port.startswith("127.0.0.1:")


def test_every_container_that_uses_artifacts_mounts_their_volume(services: dict[str, Service]) -> None:
    for name in ("api-server", "scheduler", "worker", "triggerer", "dag-processor"):
        assert f"artifacts:{services[name].environment['ARTIFACT_ROOT']}" in services[name].volumes, name


def test_the_services_that_run_tasks_get_the_gpus(services: dict[str, Service]) -> None:
    with_gpus = compose({}, "docker-compose.gpu.yaml").services
    assert set(with_gpus) == {name for name, s in services.items() if s.image == "insurance-rag-local"}
    for service in with_gpus.values():
        assert service.deploy and service.deploy.resources.reservations.devices[0].capabilities == ["gpu"]


def test_the_page_names_existing_settings_only() -> None:
    page = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    named = set(re.findall(rf"{PREFIX}(\w+)", page))
    assert named == {field.upper() for field in PodConfig.model_fields}
    settings = set(dotenv(EXAMPLE)) | set(dotenv(EXAMPLE, commented=True))
    for name in re.findall(r"`(AIRFLOW_[A-Z]+|COMPOSE_\w+|GPU_[A-Z]+|GEMINI_\w+)[=`]", page):
        assert name in settings or name.startswith("AIRFLOW_CONN"), name
    for link in re.findall(r"\]\((\.\./[^)]+)\)", page):
        assert (ROOT / "docs" / link).exists(), link
