"""Every line of the threat model names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/security.md"
SUBJECTS = (
    "key", "XCom", "SSRF", "redirect", "Prompt injection", "chat template", "HTML", "pickle", "trust_remote_code",
    "Ids and names", "archive", "Bombs", "CSRF", "spreadsheet", "login", "hashes", "CycloneDX", "linear|proportion",
)  # fmt: skip


def threats() -> list[list[str]]:
    """Return the cells of the lines in the table of threats."""
    section = PAGE.read_text(encoding="utf-8").partition("\n## Threats\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_every_threat_names_a_test_that_exists() -> None:
    missing = []
    for threat, _, tests in threats():
        named = re.findall(r"\[`(test_\w+)`\]\(\.\./([\w/.]+)\)", tests)
        if not named:
            missing.append(f"{threat}: no test")
        for name, file in named:
            tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
            if name not in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}:
                missing.append(f"{threat}: {file} has no {name}")
    assert missing == []


def test_the_page_covers_every_subject() -> None:
    text = "\n".join(" | ".join(cells) for cells in threats())
    assert [subject for subject in SUBJECTS if not re.search(subject, text, re.IGNORECASE)] == []
    assert all(len(cells) == 3 for cells in threats())
