"""The locked packages: pinned with hashes, verified on installation, and listed in an SBOM."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
NOT_HASHED = {"torch"}
"""The CPU and CUDA builds of one version are different files."""


def hashed() -> dict[str, tuple[str, list[str]]]:
    """Return the version and the hashes of each package in requirements.hashes."""
    text = (ROOT / "requirements.hashes").read_text(encoding="utf-8")
    entries = [entry for entry in re.split(r"^(?=[^\s#])", text, flags=re.MULTILINE) if "==" in entry]
    found = {}
    for entry in entries:
        name, version = entry.split()[0].split("==")
        found[name] = (version, re.findall(r"--hash=sha256:([0-9a-f]{64})\b", entry))
    return found


def locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def test_every_locked_package_has_hashes() -> None:
    assert {name: version for name, (version, _) in hashed().items()} == {
        name: version for name, version in locked().items() if name not in NOT_HASHED
    }
    assert [name for name, (_, hashes) in hashed().items() if not hashes] == []


def test_the_installer_uses_the_hashes() -> None:
    script = (ROOT / "tools/install.sh").read_text(encoding="utf-8")
    assert re.search(r"uv\" pip install .*--constraint requirements\.hashes", script)


@pytest.mark.skipif(not UV.exists(), reason="uv is not installed")
def test_a_changed_package_is_not_installed(tmp_path: Path) -> None:
    wheel = tmp_path / "tiny_pkg-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_pkg.py", "")
        archive.writestr("tiny_pkg-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-pkg\nVersion: 1.0\n")
        archive.writestr(
            "tiny_pkg-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("tiny_pkg-1.0.dist-info/RECORD", "")
    good = hashlib.sha256(wheel.read_bytes()).hexdigest()
    codes = {}
    for name, digest in (("changed", "0" * 64), ("good", good)):
        constraint = tmp_path / f"{name}.hashes"
        constraint.write_text(f"tiny-pkg==1.0 \\\n    --hash=sha256:{digest}\n")
        command: list[str | Path] = [
            UV, "pip", "install", "--quiet", "--no-cache", "--no-index", "--find-links", tmp_path,
            "--python", sys.executable, "--target", tmp_path / name, "--constraint", constraint, "tiny-pkg",
        ]  # fmt: skip
        codes[name] = subprocess.run(command, capture_output=True, text=True)
    assert codes["changed"].returncode != 0 and "Hash mismatch" in codes["changed"].stderr
    assert codes["good"].returncode == 0, codes["good"].stderr


@pytest.mark.slow
def test_the_sbom_lists_every_locked_package(tmp_path: Path) -> None:
    out = tmp_path / "sbom.json"
    done = subprocess.run(["bash", "tools/sbom.sh", UV, out], cwd=ROOT, capture_output=True, text=True)
    if done.returncode and "Failed to fetch" in done.stderr:
        pytest.skip("the SBOM tool cannot be downloaded")
    assert done.returncode == 0, done.stderr
    sbom = json.loads(out.read_text(encoding="utf-8"))
    assert sbom["bomFormat"] == "CycloneDX" and sbom["metadata"]["component"]["name"] == "insurance-rag"
    components = {each["name"]: each for each in sbom["components"]}
    assert {name: each["version"] for name, each in components.items()} == locked()
    assert all(each["purl"].startswith("pkg:pypi/") for each in components.values())
    assert "sha" in json.dumps(components["httpx"]).lower()
