"""The environments of the images can be built from their package files, and their entry points work."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from tests.deploy.environments import build_airflow, build_gpu, python
from tests.deploy.files import ROOT, packages
from tests.deploy.tools import skip_without_index, uv

from insurance_rag.chunks import SAMPLE_CHUNKS
from insurance_rag.core.prompt_templates import rag_prompt


@pytest.mark.parametrize("name", ["airflow", "gpu"])
def test_nothing_is_missing_from_the_package_files(name: str, tmp_path: Path) -> None:
    """Resolve the dependencies of all packages again: exactly the listed packages would be installed."""
    subprocess.run([uv(), "venv", "--quiet", "--python", python(), tmp_path / "env"], check=True)
    platform = ["--python-platform", "x86_64-manylinux_2_28", "--python", str(tmp_path / "env")]
    command = [uv(), "pip", "install", "--dry-run", "--require-hashes", *platform, "-r", f"deploy/{name}.txt"]
    index = {k: v for k, v in os.environ.items() if k != "UV_FIND_LINKS"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=index)
    skip_without_index(done)
    assert done.returncode == 0, done.stderr[-2000:]
    assert dict(re.findall(r"^ \+ ([\w.-]+)==(\S+)", done.stderr, re.M)) == packages(ROOT / f"deploy/{name}.txt")


def run(program: Path, *arguments: str, **environment: str) -> str:
    """Run a program with an environment of its own, outside the repository, and return its output."""
    clean = {"PATH": "/usr/bin:/bin", "HOME": str(program.parents[2]), "OMP_NUM_THREADS": "1", **environment}
    command = [str(program), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=clean, cwd=program.parents[2])
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def settings(**values: int) -> list[str]:
    """Return the options `--set name=value`."""
    return [word for name, value in values.items() for word in ("--set", f"{name}={value}")]


@pytest.mark.long
@pytest.mark.slow
def test_the_airflow_image_parses_the_dags_without_torch(tmp_path: Path) -> None:
    programs = build_airflow(tmp_path / "venv")
    home = {"AIRFLOW_HOME": str(tmp_path / "home"), "AIRFLOW__CORE__LOAD_EXAMPLES": "false"}
    version = packages(ROOT / "deploy/airflow.txt")["apache-airflow"]
    assert run(programs / "airflow", "version", **home).strip().endswith(version)
    code = f"""
import importlib.util
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(dag_folder={str(ROOT / "dags")!r}, bundle_path={str(ROOT / "dags")!r}, bundle_name="dags")
assert not bag.import_errors, bag.import_errors
assert not any(importlib.util.find_spec(name) for name in ("torch", "transformers", "trl"))
import airflow.providers.celery.executors.celery_executor, asyncpg, psycopg2
print(*sorted(bag.dag_ids))
"""
    names = sorted(path.stem for path in (ROOT / "dags").glob("*.py"))
    assert run(programs / "python", "-c", code, **home).splitlines()[-1].split() == names


@pytest.mark.long
@pytest.mark.slow
def test_the_gpu_image_trains_without_airflow(tmp_path: Path) -> None:
    python = build_gpu(tmp_path / "ml") / "python"
    assert "--recipe" in run(python, "-m", "insurance_rag", "train", "--help")
    lines = SAMPLE_CHUNKS.read_text(encoding="utf-8").splitlines()[:40]
    (tmp_path / "chunks.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    small = settings(steps=2, vocab_size=600, context=512, tokens_per_step=512)
    run(python, "-m", "insurance_rag", "pretrain", "--chunks", "chunks.jsonl", "--out", "base", *small)
    rows = [
        {
            "chunk_id": chunk["chunk_id"],
            "prompt": rag_prompt("이 조항은 무엇을 정합니까?", chunk["text"][:60]),
            "completion": f"제{n}조에 따릅니다.",
        }
        for n, chunk in enumerate(map(json.loads, lines), start=1)
    ]
    (tmp_path / "rows.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    train = ["train", "--recipe", "smoke", "--dataset", "rows.json", "--base-model", "base", "--out", "adapter"]
    run(python, "-m", "insurance_rag", *train, *settings(max_steps=1, batch_size=2, max_length=512))
    assert (tmp_path / "adapter/adapter_model.safetensors").is_file()
    assert not run(python, "-c", "import importlib.util; print(importlib.util.find_spec('airflow') or '')").strip()
