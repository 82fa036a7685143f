"""docker-compose.yaml agrees with the code, Airflow, .env.example and tools/make_env.py. Needs no Docker engine."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cryptography.fernet import Fernet
from tests.deploy.files import ROOT, ComposeFile, MissingVariableError, Service, compose, dockerfile, dotenv
from tests.deploy.tools import COMPOSE_SCHEMA, compose_program, run_tool

from insurance_rag.orchestration.pod_config import PREFIX, PodConfig

EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
TEXT = (ROOT / "docker-compose.yaml").read_text(encoding="utf-8")
CODE = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "include").rglob("*.py"))
ONE_SHOT = {"migrate", "s3-bucket"}
WORKERS = {"worker", "worker-cpu", "worker-gpu"}
#: Read by libraries, by deploy/entrypoint.sh and by the images, not by this package.
FOREIGN = {"HF_HOME", "DUMB_INIT_SETSID", "SECRET_VARIABLES", "AWS_REGION", "AWS_ENDPOINT_URL", "ARTIFACT_SCRATCH"}


def make_env(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools/make_env.py"), "--folder", str(folder), *options]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with .env and secrets/ for all services, including the S3 server."""
    folder = tmp_path_factory.mktemp("settings")
    assert make_env(folder, "--s3", "--cpu").returncode == 0
    return folder


@pytest.fixture(scope="module")
def whole(folder: Path) -> ComposeFile:
    return compose(dotenv((folder / ".env").read_text()))


@pytest.fixture(scope="module")
def services(whole: ComposeFile) -> dict[str, Service]:
    return whole.services


def test_every_secret_is_fresh_and_private(folder: Path, tmp_path: Path) -> None:
    assert make_env(tmp_path, "--s3").returncode == 0
    names = {path.name for path in (folder / "secrets").iterdir()}
    for name in names - {"connections.yaml", "hf_token"}:
        value = (folder / "secrets" / name).read_text()
        assert len(value) >= 20 and value != (tmp_path / "secrets" / name).read_text(), name
    Fernet((folder / "secrets/fernet_key").read_text())
    assert set(json.loads((folder / "secrets/passwords.json").read_text())) == {"admin"}
    assert not yaml.safe_load((folder / "secrets/connections.yaml").read_text())
    for path in [folder / ".env", *(folder / "secrets").iterdir()]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        if path.name != ".env":  # the containers must be able to read it
            assert path.stat().st_uid == int(dotenv((folder / ".env").read_text())["AIRFLOW_UID"])


def test_existing_secrets_are_never_replaced(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert make_env(folder).returncode == 2
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_device_and_an_s3_server_are_chosen_by_options(tmp_path: Path) -> None:
    make_env(tmp_path, "--gpu")
    settings = dotenv((tmp_path / ".env").read_text())
    assert settings["COMPOSE_PROFILES"] == "gpu" and "ARTIFACT_ROOT" not in settings
    assert (tmp_path / "secrets/aws_access_key_id").read_text() == ""


def test_nothing_starts_without_a_secret(whole: ComposeFile, folder: Path) -> None:
    with pytest.raises(MissingVariableError, match="AIRFLOW_UID"):
        compose({})
    files = {secret.file for secret in whole.secrets.values()}
    assert files == {f"secrets/{path.name}" for path in (folder / "secrets").iterdir()}
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert "/secrets/" in ignored and ".env" in ignored


def test_the_example_names_every_variable_with_its_default() -> None:
    defaults = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", TEXT))
    shown = dotenv(EXAMPLE, commented=True)
    assert {name: shown.get(name) for name in defaults} == defaults
    assert set(shown) - set(defaults) == {"AWS_ENDPOINT_URL"}
    assert set(dotenv(EXAMPLE)) == {"AIRFLOW_UID", "COMPOSE_PROFILES"}


def test_the_file_contains_no_secret(services: dict[str, Service]) -> None:
    for name, service in services.items():
        mounted = {f"/run/secrets/{secret.target}" for secret in service.secrets}
        for variable, value in service.environment.items():
            read = set(re.findall(r"/run/secrets/[\w.]+", value))
            assert read <= mounted, f"{name}: {variable}"
            if re.search(
                r"PASSWORD|SECRET_KEY|FERNET|JWT_SECRET|TOKEN|ACCESS_KEY|SQL_ALCHEMY|BROKER_URL|RESULT", variable
            ):
                assert read or variable == "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", f"{name}: {variable}"
        assert {path for word in service.command for path in re.findall(r"/run/secrets/[\w.]+", word)} <= mounted


def test_airflow_knows_every_setting(services: dict[str, Service]) -> None:
    from airflow.configuration import conf, retrieve_configuration_description

    known = retrieve_configuration_description(include_providers=True)
    for variable in {v for s in services.values() for v in s.environment if v.startswith("AIRFLOW__")}:
        _, section, option = variable.lower().split("__")
        if section.startswith("celery") and section not in known:  # its provider is only in the image
            continue
        option, command = option.removesuffix("_cmd"), option.endswith("_cmd")
        assert option in known[section]["options"] or conf.has_option(section, option), variable
        assert not command or known[section]["options"][option].get("sensitive"), f"Airflow ignores {variable}"


def test_the_code_reads_every_other_variable(services: dict[str, Service]) -> None:
    ours = {v for name in ("scheduler", "worker-gpu", "triggerer") for v in services[name].environment}
    unread = {v for v in ours if not v.startswith("AIRFLOW__") and f'"{v}"' not in CODE} - FOREIGN
    assert {v for v in unread if not v.endswith("_FILE")} == set()


def test_commands_are_airflows(services: dict[str, Service]) -> None:
    from airflow.cli.cli_parser import get_parser

    script = services["migrate"].command[-1].replace('"$keys"', "7").replace('"$GPU_SLOTS"', "1")
    commands = [line for line in script.splitlines() if line.startswith("airflow ")]
    assert len(commands) == 3
    checks = [s.healthcheck.test[-1] for s in services.values() if s.healthcheck]
    commands += [check for check in checks if check.startswith("airflow ")]
    commands += [shlex.join(s.command) for s in services.values() if s.command[:1] == ["airflow"]]
    assert {"airflow scheduler", "airflow triggerer", "airflow dag-processor"} <= set(commands)
    for command in commands:
        argv = shlex.split(command)[1:]
        if argv[0] != "celery":  # its parser comes with the provider, which is only in the image
            get_parser().parse_args(argv)


def test_the_migration_counts_keys(services: dict[str, Service], tmp_path: Path) -> None:
    """Run the script of `migrate` with a program `airflow` that records its arguments."""
    (tmp_path / "airflow").write_text('#!/bin/sh\nprintf "%s|" "$@" >> "$0.log"; echo >> "$0.log"\n')
    (tmp_path / "airflow").chmod(0o755)
    given = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "GEMINI_CONNECTIONS": "k1,k2,k3", "GPU_SLOTS": "2"}
    subprocess.run(services["migrate"].command, check=True, env=given)
    asked = (tmp_path / "airflow.log").read_text().splitlines()
    assert asked[0] == "db|migrate|" and asked[1].startswith("pools|set|gemini|3|")
    assert asked[2].startswith("pools|set|--include-deferred|gpu|2|")


def test_services_fit_together(whole: ComposeFile) -> None:
    services = whole.services
    for name, service in services.items():
        for other, dependency in service.depends_on.items():
            assert dependency.condition == "service_completed_successfully" or services[other].healthcheck
            assert set(services[other].profiles) <= set(service.profiles), (
                f"{name} waits for {other}, which may not run"
            )
        for volume in service.volumes:
            source, _, target = volume.removesuffix(":ro").rpartition(":")
            assert (ROOT / source).is_dir() if source.startswith(".") else source in {"", *whole.volumes}
            assert target.startswith(("/opt/airflow/", "/var/lib/postgresql/", "/data"))
        assert {secret.source for secret in service.secrets} <= set(whole.secrets)
        assert set(service.networks) <= set(whole.networks)
        assert not service.build or service.build.target in dockerfile().stages
    queues = {service.environment["API_QUEUE"] for service in services.values() if "API_QUEUE" in service.environment}
    queues |= {service.environment["GPU_QUEUE"] for service in services.values() if "GPU_QUEUE" in service.environment}
    served = {services[name].command[services[name].command.index("--queues") + 1] for name in WORKERS}
    assert queues == served == {"api", "gpu"}


def test_every_service_is_hardened(services: dict[str, Service]) -> None:
    for name, service in services.items():
        assert service.read_only and service.cap_drop == ["ALL"], name
        assert service.security_opt == ["no-new-privileges:true"], name
        assert re.search(r"@sha256:[0-9a-f]{64}$", service.image) or service.build, f"{name}: image not pinned"
        assert not service.build or service.user.split(":")[0] not in ("", "0", "root"), f"{name}: runs as root"
        assert service.restart == ("no" if name in ONE_SHOT else "unless-stopped"), name
        if name not in ONE_SHOT:
            assert service.deploy and service.deploy.resources.limits.memory, f"{name}: no memory limit"
            assert service.healthcheck and service.healthcheck.test[0] in ("CMD", "CMD-SHELL"), name
        for port in service.ports:
            assert name == "api-server" and port.startswith("127.0.0.1:"), port


def test_only_what_needs_the_database_reaches_it(whole: ComposeFile) -> None:
    """The workers run the work of the DAGs: they get neither the database, nor the key that signs tokens."""
    database = {name for name, service in whole.services.items() if "database" in service.networks}
    assert database == {"postgres", "migrate", "api-server", "scheduler", "dag-processor", "triggerer"}
    for network in ("database", "broker"):
        found = whole.networks[network]
        assert found and found.internal
    for name in WORKERS:
        secrets = {secret.source for secret in whole.services[name].secrets}
        assert not secrets & {"postgres_password", "fernet_key", "jwt_secret", "connections", "passwords"}, name


def test_containers_share_artifacts_but_not_scratch_folders() -> None:
    services = compose({"AIRFLOW_UID": "1"}).services
    root = services["worker"].environment["ARTIFACT_ROOT"]
    for name in ("api-server", "triggerer", "dag-processor", *WORKERS):
        assert f"artifacts:{root}" in services[name].volumes, name
        assert services[name].environment["ARTIFACT_SCRATCH"] in services[name].volumes, name


def test_one_profile_gets_the_gpus(services: dict[str, Service]) -> None:
    with_gpus = {n for n, s in services.items() if s.deploy and s.deploy.resources.reservations.devices}
    assert with_gpus == {"worker-gpu"} and services["worker-gpu"].profiles == ["gpu"]
    same = services["worker-gpu"].model_copy(update={"deploy": None, "profiles": ["cpu"]})
    assert same == services["worker-cpu"].model_copy(update={"deploy": None})


def test_the_page_names_existing_settings_only() -> None:
    page = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    named = set(re.findall(rf"{PREFIX}(\w+)", page))
    assert named == {field.upper() for field in PodConfig.model_fields}
    settings = set(dotenv(EXAMPLE)) | set(dotenv(EXAMPLE, commented=True))
    for name in re.findall(r"`(AIRFLOW_[A-Z]+|COMPOSE_\w+|GPU_(?!POD)[A-Z]+|GEMINI_\w+)[=`]", page):
        assert name in settings or name.startswith("AIRFLOW_CONN") or f'"{name}"' in CODE, name
    for link in re.findall(r"\]\((\.\./[^)#]+)\)", page):
        assert (ROOT / "docs" / link).exists(), link


@pytest.mark.slow
def test_the_file_follows_the_schema_of_compose() -> None:
    done = run_tool(
        COMPOSE_SCHEMA, "check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(ROOT / "docker-compose.yaml")
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("profiles", ["", "cpu", "gpu,s3"])
def test_docker_compose_accepts_the_file(profiles: str, folder: Path, services: dict[str, Service]) -> None:
    program = compose_program()
    if not program:
        pytest.skip("Docker Compose 2 is not installed")
    files = ["--project-directory", str(folder), "--file", str(ROOT / "docker-compose.yaml")]
    environment = {**os.environ, "COMPOSE_PROFILES": profiles}
    command = [*program, *files, "config", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    started = json.loads(done.stdout)["services"]
    chosen = set(profiles.split(","))
    assert set(started) == {n for n, s in services.items() if not s.profiles or chosen & set(s.profiles)}
    for name, service in started.items():  # the other tests read the file as Docker Compose does
        shown = json.loads(json.dumps(service).replace("$$", "$"))
        assert (shown["command"] or []) == services[name].command, name
        assert shown.get("environment", {}) == services[name].environment, name
