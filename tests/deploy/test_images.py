"""The Dockerfile: copied files exist, each image installs its extras in the locked versions."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch

import yaml
from tests.deploy.files import ROOT, dockerfile, requirements

LOCK = requirements("requirements.lock")
STAGES = dockerfile()
EXTRAS = {"airflow": ["airflow", "cluster", "ingest"], "local": ["train", "gpu"], "gpu": ["train", "gpu"]}


def test_each_stage_installs_its_extras_with_the_lock() -> None:
    assert set(STAGES) == set(EXTRAS)
    for name, stage in STAGES.items():
        (install,) = [run for run in stage.values("RUN") if "tools/requirements.py" in run]
        printed = re.search(r"tools/requirements\.py ([a-z ]+?) > (\S+)", install)
        assert printed and printed[1].split() == EXTRAS[name]
        assert f"-r {printed[2]} -c requirements.lock" in " ".join(install.replace("\\", "").split())


def test_the_airflow_image_has_the_locked_version() -> None:
    assert STAGES["airflow"].base == f"apache/airflow:slim-{LOCK['apache-airflow'][2:]}-python3.11"
    assert STAGES["local"].base == "airflow"


def test_the_airflow_image_has_no_torch_and_the_gpu_image_no_airflow() -> None:
    assert not {"torch", "transformers", "trl", "peft"} & packages("airflow", "cluster")
    assert not [package for package in packages("train", "gpu") if "airflow" in package]


def packages(*extras: str) -> set[str]:
    """Names of the packages that tools/requirements.py prints for `extras`."""
    command = [sys.executable, "tools/requirements.py", *extras]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return {re.split(r"[=<>!~\[ ]", line)[0].lower() for line in printed.splitlines()}


def test_copied_files_exist_and_are_in_the_build_context() -> None:
    sent = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for stage in STAGES.values():
        for copy in stage.values("COPY"):
            *sources, _ = [word for word in copy.split() if not word.startswith("--")]
            for source in sources:
                assert (ROOT / source).exists(), source
                assert any(fnmatch(source, pattern) for pattern in sent), f"{source}: not in .dockerignore"
    assert not any(fnmatch(".env", pattern) for pattern in sent)


def test_the_package_can_be_built_from_the_copied_files() -> None:
    """The entry point of the provider needs the metadata of the package; the pods need its templates."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "apache_airflow_provider" in project["project"]["entry-points"]
    for name in ("airflow", "gpu"):
        copied = " ".join(STAGES[name].values("COPY")).split()
        assert {"pyproject.toml", project["project"]["readme"], "include"} <= set(copied)
        assert any(
            ("--no-deps" in run and run.rstrip().split("&&")[0].endswith(". ")) or "--no-deps ." in run
            for run in STAGES[name].values("RUN")
        )
    patterns = project["tool"]["setuptools"]["package-data"]["*"]
    package = ROOT / "include" / "insurance_rag"
    for file in (p.relative_to(package) for p in package.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")):
        assert any(fnmatch(str(file), pattern.replace("**/", "*")) for pattern in patterns) or file.suffix == ".md", (
            file
        )


def test_the_dockerfile_follows_the_usual_lint_rules() -> None:
    """Pinned base images, clean apt lists, no pip cache, no root user at the end, no secret."""
    for name, stage in STAGES.items():
        assert (":" in stage.base and not stage.base.endswith(":latest")) or stage.base in STAGES, name
        for run in stage.values("RUN"):
            if "apt-get install" in run:
                assert "--no-install-recommends" in run and "rm -rf /var/lib/apt/lists/*" in run, name
            assert "pip install" not in run or "--no-cache-dir" in run, name
        for entry in stage.values("ENTRYPOINT", "CMD"):
            assert isinstance(json.loads(entry), list)
        assert not re.search(r"(PASSWORD|SECRET|TOKEN|_KEY)", " ".join(stage.values("ENV", "ARG")))
        users = stage.values("USER")
        assert not users or users[-1] not in ("root", "0"), name


def test_pods_and_image_agree_on_the_user() -> None:
    template = yaml.safe_load((ROOT / "include/insurance_rag/orchestration/pod_template.yaml").read_text())
    security = template["spec"]["securityContext"]
    assert STAGES["gpu"].values("USER") == [f"{security['runAsUser']}:{security['runAsGroup']}"]


def test_manifests_of_the_page_are_kubernetes_objects() -> None:
    page = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    kinds = [yaml.safe_load(block)["kind"] for block in re.findall(r"```yaml\n(.*?)```", page, re.S)]
    assert kinds == ["PersistentVolumeClaim", "Role"]
