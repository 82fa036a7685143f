"""Builds the environments of the images outside Docker, from the same files and with the same commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

from tests.deploy.files import ROOT
from tests.deploy.tools import skip_without_index, uv

SYSTEM_PYTHON = Path("/usr/bin/python3.11")


def python() -> str:
    """Return an interpreter of the images' version: the system's if there is one, otherwise that of this process."""
    return str(SYSTEM_PYTHON) if SYSTEM_PYTHON.exists() else sys.executable


def build_airflow(folder: Path) -> Path:
    """Install what the image `airflow` contains into `folder`, and return its programs."""
    environment = _venv(folder)
    _uv("pip", "install", "--require-hashes", "--no-deps", "-r", "deploy/airflow.txt", python=environment)
    _install_project(environment)
    return environment / "bin"


def build_gpu(folder: Path) -> Path:
    """Install what the image `gpu` contains into `folder`, but with this environment's torch, and return its programs.

    The script of the image runs as it is; only its last step, the download of torch (900 MB), is left out.
    """
    environment = _venv(folder)
    wrapper = folder.parent / "programs" / "uv"
    wrapper.parent.mkdir(exist_ok=True)
    wrapper.write_text(f'#!/bin/sh\ncase "$*" in *--index-url*) exit 0 ;; esac\nexec {uv()} "$@"\n')
    wrapper.chmod(0o755)
    search = {**os.environ, "PATH": f"{wrapper.parent}{os.pathsep}{os.environ['PATH']}"}
    script = ["sh", "deploy/torch_packages.sh", str(environment), "https://download.pytorch.org/whl/cpu"]
    subprocess.run(script, cwd=ROOT, env=search, check=True, capture_output=True)
    _link("torch", next((environment / "lib").glob("python*/site-packages")))
    _install_project(environment)
    return environment / "bin"


def _venv(folder: Path) -> Path:
    """Create an environment that also works at another path, such as /opt/venv."""
    _uv("venv", "--quiet", "--relocatable", "--python", python(), str(folder))
    return folder


def _install_project(environment: Path) -> None:
    wheels = environment.parent / "wheels"
    if not wheels.exists():
        sources = environment.parent / "sources"
        sources.mkdir()
        for name in ("pyproject.toml", "README.md", "LICENSE"):  # what the image copies
            shutil.copy(ROOT / name, sources)
        shutil.copytree(ROOT / "include", sources / "include", ignore=shutil.ignore_patterns("*.egg-info"))
        builder = _venv(environment.parent / "builder")
        _uv("pip", "install", "--require-hashes", "--no-deps", "-r", "deploy/build.txt", python=builder)
        _uv("build", "--wheel", "--no-build-isolation", "--out-dir", str(wheels), python=builder, cwd=sources)
    (wheel,) = wheels.glob("*.whl")
    _uv("pip", "install", "--no-deps", str(wheel), python=environment)


def _uv(*arguments: str, python: Path | None = None, cwd: Path = ROOT) -> None:
    where = ["--quiet", "--python", str(python)] if python else []
    done = subprocess.run([uv(), *arguments, *where], cwd=cwd, capture_output=True, text=True)
    skip_without_index(done)
    assert done.returncode == 0, done.stderr[-3000:]


def _link(package: str, site: Path) -> None:
    """Put the files of an installed package into the folder `site`, as hard links where that is possible."""
    for file in distribution(package).files or ():
        source, target = Path(str(file.locate())), site / str(file)
        if ".." not in file.parts and source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(source, target)
            except OSError:
                shutil.copy(source, target)
