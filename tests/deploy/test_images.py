"""The Dockerfile: what it copies and installs, and the packages in deploy/*.txt."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.deploy.files import ROOT, dockerfile, packages
from tests.deploy.tools import HADOLINT, run_tool
from tests.evaluation.openai_server import serving

import insurance_rag

FILE = dockerfile()
IMAGES = {"airflow", "worker", "gpu"}
LOCK = packages(ROOT / "requirements.lock")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = {
    name: re.findall(r"--extra ([\w-]+)", line)
    for name, line in re.findall(r"^compile (\w+) (.*)$", (ROOT / "tools/image_requirements.sh").read_text(), re.M)
    if "pyproject.toml" in line
}


@pytest.mark.parametrize("name", ["airflow", "gpu", "build"])
def test_packages_have_the_locked_versions_and_hashes(name: str) -> None:
    text = (ROOT / f"deploy/{name}.txt").read_text(encoding="utf-8")
    entries = re.split(r"^(?=[^\s#])", text, flags=re.M)[1:]
    assert all("--hash=sha256:" in entry for entry in entries)
    found = packages(ROOT / f"deploy/{name}.txt")
    assert len(found) == len(entries)
    different = {f"{name}=={version}" for name, version in found.items() if LOCK.get(name, version) != version}
    assert different == set(), "run tools/image_requirements.sh"
    unknown = set(found) - set(LOCK)
    assert all(re.match(r"nvidia-|cuda-|triton|liger-kernel|uv$", package) for package in unknown), unknown


@pytest.mark.parametrize("name", ["airflow", "gpu"])
def test_packages_contain_what_the_extras_declare(name: str) -> None:
    found = packages(ROOT / f"deploy/{name}.txt")
    optional = PROJECT["project"]["optional-dependencies"]
    declared = [*PROJECT["project"]["dependencies"], *(line for extra in EXTRAS[name] for line in optional[extra])]
    for requirement in map(Requirement, declared):
        version = found.get(canonicalize_name(requirement.name))
        assert version and requirement.specifier.contains(version), f"run tools/image_requirements.sh: {requirement}"


def test_the_airflow_image_has_no_torch_and_the_gpu_image_no_airflow() -> None:
    assert not {"torch", "transformers", "trl", "peft"} & set(packages(ROOT / "deploy/airflow.txt"))
    assert not [package for package in packages(ROOT / "deploy/gpu.txt") if "airflow" in package]


def test_every_installation_verifies_hashes() -> None:
    """Except the wheel of this project, and torch from an index that the user names."""
    scripts = (ROOT / "deploy/torch_packages.sh").read_text()
    installs = [run for stage in FILE.stages.values() for run in stage.values("RUN") if "pip install" in run]
    for command in re.findall(r"pip install[^|&\n]*", "\n".join([*installs, scripts])):
        assert "--require-hashes" in command or command.endswith(("/wheels/*.whl", '--index-url "$index" "$torch"'))
        assert "--no-deps" in command


def test_the_cpu_build_leaves_out_cuda_only() -> None:
    """Run the script of the image with a program `uv` that prints its arguments and the packages it is given."""
    fake = 'uv() { echo "$@"; cat "$8" 2>/dev/null | grep -o "^[a-z0-9_.-]*=="; }\n'
    script = (ROOT / "deploy/torch_packages.sh").read_text().replace("set -eu", "set -eu\n" + fake)
    command = ["sh", "-c", script, "sh", "/opt/ml", "https://cpu.example"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    left_out = set(packages(ROOT / "deploy/gpu.txt")) - set(re.findall(r"^([\w.-]+)==$", done.stdout, re.M))
    assert {"torch", "triton", "nvidia-cublas"} <= left_out
    assert all(re.match(r"torch|triton|liger|cuda|nvidia", package) for package in left_out), left_out
    assert f"--index-url https://cpu.example torch=={LOCK['torch']}" in done.stdout


def test_copied_files_exist_and_are_in_the_build_context() -> None:
    sent = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for stage in FILE.stages.values():
        for copy in stage.values("COPY"):
            if "--from=" in copy:
                assert re.findall(r"--from=(\S+)", copy)[0] in FILE.stages
                continue
            *sources, _ = [word for word in copy.split() if not word.startswith("--")]
            for source in sources:
                assert (ROOT / source).exists(), source
                assert any(fnmatch(source, pattern) for pattern in sent), f"{source}: not in .dockerignore"
    for private in (".env", ".env.airflow", "secrets/fernet_key", ".git/config"):
        assert not any(fnmatch(private, pattern) for pattern in sent), private


def test_the_wheel_contains_the_templates_of_the_package() -> None:
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["*"]
    package = ROOT / "include" / "insurance_rag"
    for file in (p.relative_to(package) for p in package.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")):
        known = any(fnmatch(str(file), pattern.replace("**/", "*")) for pattern in patterns)
        assert known or file.suffix == ".md", file


def test_images_are_pinned_labelled_and_not_root() -> None:
    base = FILE.arguments["PYTHON"]
    assert re.fullmatch(r"python:3\.11-slim-\w+@sha256:[0-9a-f]{64}", base)
    for name, stage in FILE.stages.items():
        assert stage.base == "${PYTHON}" or stage.base in FILE.stages, f"{name}: {stage.base} is not pinned"
    (labels,) = FILE.stages["base"].values("LABEL")
    for label in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{label}=" in labels
    assert f"VERSION={insurance_rag.__version__}" in FILE.stages["base"].values("ARG")
    template = yaml.safe_load((ROOT / "include/insurance_rag/orchestration/pod_template.yaml").read_text())
    security = template["spec"]["securityContext"]
    for name in IMAGES:
        users = [user for stage in FILE.chain(name) for user in stage.values("USER")]
        assert users[-1] == f"{security['runAsUser']}:{security['runAsGroup']}", name
        entries = [entry for stage in FILE.chain(name) for entry in stage.values("ENTRYPOINT", "CMD")]
        assert all(isinstance(json.loads(entry), list) for entry in entries) and entries


def test_the_dockerfile_passes_its_linter() -> None:
    done = run_tool(HADOLINT, "hadolint", "--no-color", str(ROOT / "Dockerfile"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_entry_point_reads_secrets_from_files(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s e\"c'ret\n")
    (tmp_path / "empty").touch()
    environment = {"PATH": "/usr/bin:/bin", "SECRET_VARIABLES": "HF_TOKEN AWS_ACCESS_KEY_ID OTHER"}
    environment |= {"HF_TOKEN_FILE": str(tmp_path / "token"), "AWS_ACCESS_KEY_ID_FILE": str(tmp_path / "empty")}
    command = ["sh", str(ROOT / "deploy/entrypoint.sh"), "env"]
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert "HF_TOKEN=s e\"c'ret\n" in shown and "AWS_ACCESS_KEY_ID=" not in shown
    wrong = {**environment, "OTHER_FILE": str(tmp_path / "missing")}
    done = subprocess.run(command, env=wrong, capture_output=True, text=True)
    assert done.returncode == 2 and "missing (OTHER_FILE) cannot be read" in done.stderr


def test_the_health_check_believes_the_server_only() -> None:
    """Ask a server that reports one healthy and one unhealthy component."""
    states = {"metadatabase": {"status": "healthy"}, "scheduler": {"status": "unhealthy"}}

    def check(*arguments: str) -> int:
        command = [sys.executable, str(ROOT / "deploy/health.py"), *arguments]
        return subprocess.run(command, capture_output=True).returncode

    with serving(lambda path, _: (200 if path == "/v1/health" else 503, states)) as url:
        assert check(f"{url}/health") == 0 and check(f"{url}/health", "metadatabase") == 0
        assert check(f"{url}/health", "metadatabase", "scheduler") == 1 and check(f"{url}/other") == 1
    assert check(f"{url}/health") == 1
