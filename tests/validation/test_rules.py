"""The registry of rules: names in the configuration, texts in the report, rules of other distributions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.validation.helpers import SETTINGS, chunk, read_report, reasons, row, write_part

from insurance_rag.config import ValidationConfig
from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.validation.rules.registry import RULES, CrossRowRule, RankRule, RowRule
from insurance_rag.validation.validate import validate_parts


def test_every_default_rule_is_registered_and_every_built_in_rule_is_a_default() -> None:
    assert sorted(ValidationConfig().rules) == sorted(RULES)


@pytest.mark.parametrize("name", ValidationConfig().rules)
def test_every_rule_has_the_texts_of_the_report(name: str) -> None:
    entry = RULES[name]
    assert entry.name == name
    assert entry.title and entry.description.endswith(".")
    assert any("가" <= letter <= "힣" for letter in entry.title_ko)


def test_the_kinds_of_the_rules() -> None:
    kinds = {name: type(RULES[name]) for name in RULES}
    assert {name for name, kind in kinds.items() if kind is CrossRowRule} == {"duplicate", "near_duplicate"}
    assert {name for name, kind in kinds.items() if kind is RankRule} == {"not_retrieved"}
    assert kinds["evidence"] is RowRule


def test_unknown_and_duplicate_names_are_rejected() -> None:
    with pytest.raises(InvalidInputError, match=r"unknown rule 'too_shrt'; did you mean 'too_short'.*available: "):
        ValidationConfig.parse({"rules": ["too_shrt"]})
    with pytest.raises(InvalidInputError, match="duplicate rule 'cut_off'"):
        ValidationConfig.parse({"rules": ["cut_off", "too_short", "cut_off"]})


def test_the_report_contains_the_texts_of_the_configured_rules(tmp_path: Path) -> None:
    part = write_part(tmp_path / "p.json", [row(1), row(2, output="짧음.")])
    config = SETTINGS.model_copy(update={"rules": ("required_fields", "too_short")})
    validate_parts([part], [chunk("c1")], tmp_path / "out", config)
    report = read_report(tmp_path / "out")
    assert report.rules == {name: RULES[name].info() for name in config.rules}
    assert "Answer too short: 1 (50.0 %)" in DatasetFolder(tmp_path / "out").funnel.read_text(encoding="utf-8")


PLUGIN = '''
"""Rules of another distribution: one about a row, one that compares rows, one about the rank of the chunk."""
from insurance_rag.validation.rules.registry import cross_row_rule, rank_rule, rule


@rule("no_greeting", title="Greeting", title_ko="인사말", repairable=True)
def no_greeting(row, context):
    """Greets the customer."""
    return "안녕하세요" if "안녕하세요" in row.output else None


@cross_row_rule("one_per_type", title="Type repeated", title_ko="유형 반복")
def one_per_type(table, rows, context):
    """Has the type of an earlier row."""
    seen, dropped = set(), {}
    for i in rows.tolist():
        if table.types[i] == "scenario" and table.types[i] in seen:
            dropped[i] = str(table.types[i])
        seen.add(table.types[i])
    return dropped


@rank_rule("never_first", title="Found first", title_ko="첫 번째로 검색됨", description="Is found first.")
def never_first(rank, config):
    return "rank 1" if rank == 1 else None
'''

SCRIPT = """
import sys
from insurance_rag.cli.main import main
from insurance_rag.validation import row_checks

if __name__ == "__main__":
    row_checks.SINGLE_PROCESS_ROWS = 0
    sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an installed distribution that registers rules through the entry point group."""
    site = tmp_path_factory.mktemp("site")
    (site / "acme_rules.py").write_text(PLUGIN, encoding="utf-8")
    info = site / "acme_rules-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-rules\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{RULES.entry_point_group}]\nacme = acme_rules\n")
    (site / "run.py").write_text(SCRIPT)
    return site


def _validate_with_plugin(plugin: Path, folder: Path, *options: str) -> dict[str, object]:
    """Run the command in a process that sees the plugin, with two worker processes, and return its result."""
    rows = [row(n) for n in range(6)]
    rows += [row(6, output="안녕하세요. " + row(6)["output"]), row(7, type="scenario"), row(8, type="scenario")]
    write_part(folder / "dataset_part_1.json", rows)
    (folder / "c.jsonl").write_text(chunk("c1").model_dump_json() + "\n", encoding="utf-8")
    command = [sys.executable, str(plugin / "run.py"), "validate", "--parts", str(folder / "dataset_part_1.json")]
    command += ["--chunks", str(folder / "c.jsonl"), "--out", str(folder / "out"), "--set", "workers=2", "--json"]
    path = os.pathsep.join([str(plugin), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [*command, *options], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return result


def test_rules_of_another_distribution_work_end_to_end(plugin: Path, tmp_path: Path) -> None:
    names = ["malformed", "no_greeting", "one_per_type"]
    result = _validate_with_plugin(plugin, tmp_path, "--set", f"rules={json.dumps(names)}")
    assert (result["rows"], result["kept"]) == (9, 7)
    assert sorted(reasons(tmp_path / "out")) == ["no_greeting", "one_per_type"]
    report = read_report(tmp_path / "out")
    assert report.drops == {"malformed": 0, "no_greeting": 1, "one_per_type": 1, "balance": 0}
    assert (report.rules["no_greeting"].title, report.rules["no_greeting"].title_ko) == ("Greeting", "인사말")
    assert report.rules["no_greeting"].description == "Greets the customer."
    assert report.repairable == 1
    folder = DatasetFolder(tmp_path / "out")
    assert "Greeting: 1 (11.1 %)" in folder.funnel.read_text(encoding="utf-8")
    assert "| one_per_type | Type repeated | 1 | 7 |" in folder.card.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_rank_rule_of_another_distribution_starts_the_retriever(plugin: Path, tmp_path: Path) -> None:
    result = _validate_with_plugin(plugin, tmp_path, "--set", "rules=[malformed, never_first]")
    assert result["kept"] == 0
    assert set(reasons(tmp_path / "out")) == {"never_first"}
    assert read_report(tmp_path / "out").rules["never_first"].description == "Is found first."
