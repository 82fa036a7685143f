"""No tracked file contains a real key. Keys in tests and examples say that they are not real."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KEYS = {
    "Google API key": r"AIza[0-9A-Za-z_-]{35}",
    "Google API key, new form": r"AQ\.[0-9A-Za-z_-]{40,}",
    "OpenAI key": r"sk-(?:proj-|svcacct-)?[0-9A-Za-z_-]{32,}",
    "Anthropic key": r"sk-ant-[0-9A-Za-z_-]{32,}",
    "Hugging Face token": r"hf_[0-9A-Za-z]{30,}",
    "GitHub token": r"gh[pousr]_[0-9A-Za-z]{36}|github_pat_[0-9A-Za-z_]{40,}",
    "AWS key": r"(?:AKIA|ASIA)[0-9A-Z]{16}",
    "Slack token": r"xox[abprs]-[0-9A-Za-z-]{20,}",
    "private key": r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----",
    "JSON web token": r"eyJ[0-9A-Za-z_-]{15,}\.eyJ[0-9A-Za-z_-]{15,}\.[0-9A-Za-z_-]{20,}",
}
PATTERN = re.compile("|".join(f"(?P<k{n}>(?<![0-9A-Za-z]){text})" for n, text in enumerate(KEYS.values())))
NOT_REAL = re.compile(r"PLANTED|EXAMPLE|(.)\1{7}|0123456789", re.IGNORECASE)
"""A key with such a part is not real."""
MAX_BYTES = 20_000_000


def find_keys(text: str) -> list[str]:
    """Return the kinds of the keys in a text."""
    names = list(KEYS)
    return [names[int(str(m.lastgroup)[1:])] for m in PATTERN.finditer(text) if not NOT_REAL.search(m[0])]


def tracked_files() -> list[Path]:
    """Return the files in git's index and new files that it does not ignore, or all files if this is no repository."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True)
    if done.returncode == 0 and done.stdout:
        return [path for name in done.stdout.decode().split("\0") if name and (path := ROOT / name).is_file()]
    return [p for p in ROOT.rglob("*") if p.is_file() and not {".venv", ".git", "node_modules"} & set(p.parts)]


def test_no_file_contains_a_key() -> None:
    found = {
        str(path.relative_to(ROOT)): kinds
        for path in tracked_files()
        if path.stat().st_size < MAX_BYTES and (kinds := find_keys(path.read_bytes().decode("latin-1")))
    }
    assert found == {}, "remove the key, and revoke it at its provider"


def test_no_file_for_secrets_is_tracked() -> None:
    names = {path.name for path in tracked_files()}
    assert not names & {".env", ".env.airflow", "keys.json", "credentials.json", "id_rsa", ".netrc", ".pypirc"}


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        ("Google API key", ("AIza", "SyD3f5Gh7Jk9Lm1Np2Qr4St6Uv8Wx0Yz-a_b")),
        ("OpenAI key", ("sk-", "proj-aB3dE5fG7hJ9kL2mN4pQ6rS8tU1vW3xY5z")),
        ("Hugging Face token", ("hf_", "aBcDeFgHiJkLmNoPqRsTuVwXyZaBcDeFgH")),
        ("AWS key", ("AKIA", "J4KQ7RZ2XW5PL9TB")),
        ("private key", ("-----BEGIN ", "RSA PRIVATE KEY-----")),
    ],
)
def test_the_scan_finds_keys(kind: str, parts: tuple[str, str]) -> None:
    """The keys are put together here, so that this file itself contains none."""
    assert find_keys(f"key = '{''.join(parts)}'") == [kind]
