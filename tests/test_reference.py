"""The generated reference is complete: commands, environment variables and file formats."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tools.doc_pages.command_line import subcommands
from tools.doc_pages.environment import code_reads
from tools.doc_pages.file_formats import STAGES, example
from tools.doc_pages.source_reads import find_reads

from insurance_rag.cli.main import COMMANDS, build_parser
from insurance_rag.core.environment import variables
from insurance_rag.orchestration.pod_config import PodConfig

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
READ_BY_LIBRARIES = {"AWS_SECRET_ACCESS_KEY", "GOOGLE_APPLICATION_CREDENTIALS", "HF_TOKEN"}


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def test_the_table_has_every_environment_variable_that_the_code_reads() -> None:
    reads = code_reads()
    assert reads.unknown == [], "reads with a name that the scan cannot find out; use a literal or a constant"
    assert set(reads.names) == set(variables()) - READ_BY_LIBRARIES
    rows = set(re.findall(r"^\| `([A-Z0-9_]+)`", page("environment.md"), re.M))
    assert rows == set(variables()) | {f"GPU_POD_{name.upper()}" for name in PodConfig.model_fields}


@pytest.mark.parametrize(
    "code",
    [
        'os.environ["NEW_NAME"]',
        'os.environ.get("NEW_NAME", "x")',
        'os.getenv("NEW_NAME")',
        'ok = "NEW_NAME" in os.environ',
        'NAMES = ("NEW_NAME",)\nfound = [os.environ.get(n) for n in NAMES]',
        'def read(name: str) -> str:\n    return os.environ[name]\nread("NEW_NAME")',
        'key = info.key_variable\nos.environ.get(key)\nInfo(key_variable="NEW_NAME")',
    ],
)
def test_every_way_to_read_a_variable_is_found(code: str, tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(f"import os\n{code}\n", encoding="utf-8")
    reads = find_reads({"module.py": tmp_path / "module.py"})
    assert (set(reads.names), reads.unknown) == ({"NEW_NAME"}, [])


def test_a_name_that_cannot_be_found_out_is_reported(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("import os\nos.environ[input()]\n", encoding="utf-8")
    assert find_reads({"module.py": tmp_path / "module.py"}).unknown == ["module.py:2: input()"]


def test_the_page_has_every_command_and_option() -> None:
    text = page("command-line.md")
    parsers = [*subcommands(build_parser()).items()]
    assert [name for name, _ in parsers] == list(COMMANDS)
    parsers += [(f"{name} {action}", p) for name, parser in parsers for action, p in subcommands(parser).items()]
    for name, parser in parsers:
        _, found, section = text.partition(f"\n{'###' if ' ' in name else '##'} {name}\n")
        assert found, name
        section = re.split(r"^##+ ", section, maxsplit=1, flags=re.M)[0]
        options = {option for option in parser._option_string_actions if option not in ("-h", "--help", "--json")}
        assert [option for option in options if f"`{option}" not in section and f"{option} " not in section] == [], name


def test_every_file_format_has_a_valid_example_and_an_anchor_of_its_own() -> None:
    formats = [entry for stage in STAGES.values() for entry in stage]
    assert all(example(entry) for entry in formats)
    headings = re.findall(r"^#+ (.+)$", page("file-formats.md").lower(), re.M)
    assert len(headings) == len(set(headings))
    links = set(re.findall(r"\]\(#([^)]+)\)", page("file-formats.md")))
    assert links <= {heading.replace(" ", "-") for heading in headings}
