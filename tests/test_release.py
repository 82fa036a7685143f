"""A release: one version everywhere, notes for it, workflows that name existing things, and a timed tutorial."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import insurance_rag

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yaml"))


def run(*command: str | Path, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*command], cwd=folder, capture_output=True, text=True)


def test_files_that_repeat_the_version_have_the_same_one() -> None:
    patterns = {
        "Dockerfile": r"^ARG VERSION=(\S+)",
        "deploy/helm/values.yaml": r"insurance-rag-\w+:(\S+)|tag: \"([^\"]+)\"",
        "deploy/kubernetes/gpu-pod.yaml": r"insurance-rag-\w+:(\S+)",
        "deploy/kubernetes/gpu-pod-s3.yaml": r"insurance-rag-\w+:(\S+)",
        "CHANGELOG.md": r"\A# Changelog\n.*?^## (\S+) - \d{4}-\d\d-\d\d$",
    }
    for name, pattern in patterns.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        found = {version for match in re.finditer(pattern, text, re.M | re.S) for version in match.groups() if version}
        assert found == {insurance_rag.__version__}, name


def test_the_release_notes_are_those_of_the_tag() -> None:
    done = run(sys.executable, "tools/release_notes.py", f"v{insurance_rag.__version__}")
    assert done.returncode == 0 and "### Added" in done.stdout and "## 0.2.0" not in done.stdout
    done = run(sys.executable, "tools/release_notes.py", "v9.9.9")
    assert done.returncode == 2 and f"tag v{insurance_rag.__version__}, or change the version" in done.stderr


def test_workflows_name_existing_targets_scripts_stages_and_workflows() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    stages = set(re.findall(r"^FROM .* AS (\S+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.M))
    for path in WORKFLOWS:
        text = path.read_text(encoding="utf-8")
        jobs = yaml.safe_load(text)["jobs"]
        assert set(re.findall(r"\bmake ([a-z-]+)", text)) <= targets, path.name
        assert all((ROOT / name).is_file() for name in re.findall(r"(?:bash|python3?) ([\w./-]+/[\w.-]+)", text))
        for job in jobs.values():
            needed = job.get("needs", [])
            assert {needed} if isinstance(needed, str) else set(needed) <= set(jobs)
            assert "uses" not in job or (ROOT / job["uses"]).is_file()
            actions = [step["uses"] for step in job.get("steps", []) if "uses" in step]
            assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action) for action in actions), "a tag may be moved"
            assert set(job.get("strategy", {}).get("matrix", {}).get("target", [])) <= stages


def test_a_release_attaches_wheel_and_sbom_and_waits_for_the_tests() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/release.yaml").read_text(encoding="utf-8"))["jobs"]
    assert {"test", "packages", "images"} <= set(jobs["release"]["needs"]) and "test" in jobs["images"]["needs"]
    assert (
        "dist/*.whl" in jobs["release"]["steps"][-1]["run"] and "dist/sbom.json" in jobs["release"]["steps"][-1]["run"]
    )
    assert jobs["test"]["uses"] == "./.github/workflows/ci.yaml"


def test_updates_cover_the_folders_that_have_dependencies() -> None:
    updates = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text(encoding="utf-8"))["updates"]
    assert {u["package-ecosystem"] for u in updates} >= {"pip", "docker", "github-actions"}
    assert all((ROOT / u["directory"].lstrip("/")).is_dir() for u in updates)


@pytest.mark.slow
def test_the_tutorial_is_followed_in_a_clone_with_empty_caches(tmp_path: Path) -> None:
    """On a repository whose make targets only report where they run."""
    repository = tmp_path / "repository"
    (repository / "docs").mkdir(parents=True)
    (repository / "docs/tutorial-first-run.md").write_text("# First\n\n    make demo   # shows it\n\n    make down\n")
    env = '@echo "in $$HOME with $$UV_CACHE_DIR and [$$GEMINI_MODEL$$REGISTRY]"'
    targets = {"env": env, "demo": "@touch demo.done", "down": "test -f demo.done"}
    makefile = "".join(f"{name}:\n\t{command}\n" for name, command in targets.items())
    (repository / "Makefile").write_text(makefile)
    git: list[str | Path] = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "--quiet"], ["add", "-A"], ["commit", "--quiet", "-m", "A tutorial"]):
        assert run(*git, *command, folder=repository).returncode == 0
    follow: list[str | Path] = [sys.executable, ROOT / "tools/follow_tutorial.py", "--repository", repository]
    done = run("env", "GEMINI_MODEL=mine", "REGISTRY=mine", *follow)
    assert done.returncode == 0, done.stderr
    assert re.search(r"in \S+/home with \S+/home/cache/uv and \[\]", done.stdout)
    assert re.findall(r" s  (.+)", done.stdout) == ["make env", "make demo", "make down", "in total"]
    assert not (repository / "demo.done").exists()
    (repository / "Makefile").write_text("env:\n\tfalse\n")
    assert run(*git, "commit", "--quiet", "-am", "Break it", folder=repository).returncode == 0
    done = run(*follow)
    assert done.returncode == 1 and "make env  failed with exit code 2" in done.stdout
