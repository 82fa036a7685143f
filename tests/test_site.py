"""The documentation: the site builds strictly, its commands parse, and both READMEs say the same."""

from __future__ import annotations

import argparse
import http.server
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from insurance_rag.cli.main import COMMANDS, build_parser

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("README*.md"), ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
#: A fenced block, with its language, or lines that are indented by four spaces after an empty line.
BLOCK = re.compile(r"^```(?P<language>\w*)\n(?P<fenced>.*?)^```|(?<=\n\n)(?P<indented>(?: {4}[^\n]*\n)+)", re.M | re.S)
PROGRAM = re.compile(r"(?:\w+=\S+ )*(insurance-rag|python -m insurance_rag|python -m|make) ")


@dataclass(frozen=True)
class Command:
    """A command that a page shows."""

    page: str
    words: tuple[str, ...]


def shell_commands(page: Path) -> Iterator[Command]:
    """Yield the commands of a page that start a program of this project, without settings in front and comments."""
    for block in BLOCK.finditer("\n\n" + page.read_text(encoding="utf-8")):
        if block["language"] not in (None, "sh", "bash", "console"):
            continue
        for line in (block["fenced"] or block["indented"]).replace("\\\n", " ").splitlines():
            if match := PROGRAM.match(line.strip().removeprefix("$ ")):
                words = shlex.split(line.strip().removeprefix("$ ")[match.start(1) :], comments=True)
                yield Command(page.relative_to(ROOT).as_posix(), tuple(words))


COMMANDS_SHOWN = [command for page in PAGES for command in shell_commands(page)]


def arguments(command: Command) -> list[str] | None:
    """Return the arguments for `insurance-rag`, or None if the command is another one."""
    words = list(command.words)
    if words[:3] == ["python", "-m", "insurance_rag"]:
        words[:3] = ["insurance-rag"]
    if words[0] != "insurance-rag":
        return None
    ends = [i for i, word in enumerate(words) if word in (">", "2>&1", "&", "|", "&&")]
    return words[1 : min(ends, default=len(words))]


def option_strings(parser: argparse.ArgumentParser, words: list[str]) -> set[str]:
    """Return the options of the subcommand that the words name; it may have subcommands of its own."""
    options = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            chosen = next((word for word in words if word in action.choices), None)
            if chosen is not None:
                options |= option_strings(action.choices[chosen], words[words.index(chosen) + 1 :])
    return options


def problem(words: list[str]) -> str | None:
    """Return why the command line is wrong. `...` stands for arguments that the page leaves out."""
    if words[0] not in COMMANDS:
        return f"no command {words[0]!r}"
    parser = build_parser(words[:1])
    options = {word.partition("=")[0] for word in words if word.startswith("--")}
    if unknown := options - option_strings(parser, words):
        return f"unknown options {sorted(unknown)}"
    if "..." in words or "--help" in options:
        return None
    try:
        parser.parse_args(words)
    except SystemExit:
        return "does not parse"
    return None


def test_pages_show_commands() -> None:
    shown = {words[0] for command in COMMANDS_SHOWN if (words := arguments(command))}
    assert shown >= {"ingest", "questions", "plan", "generate", "validate", "train", "evaluate", "promote", "report"}


def test_every_command_line_parses() -> None:
    wrong = [
        f"{command.page}: {shlex.join(command.words)}: {found}"
        for command in COMMANDS_SHOWN
        if (words := arguments(command)) and words[0] != "COMMAND" and (found := problem(words))
    ]
    assert wrong == []


def test_every_module_and_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    wrong = []
    for command in COMMANDS_SHOWN:
        program, *rest = command.words
        if program == "make" and rest[0] not in targets and "=" not in rest[0]:
            wrong.append(f"{command.page}: no target {rest[0]}")
        if program == "python" and importlib.util.find_spec(rest[1]) is None:
            wrong.append(f"{command.page}: no module {rest[1]}")
    assert wrong == []


@pytest.mark.parametrize("line", ["plan --chunk a --out b", "generate", "make --run x", "evaluate ... --adaptor x=y"])
def test_a_wrong_command_is_found(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert problem(shlex.split(line))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly: every warning about links, anchors or orphan pages is an error."""
    pytest.importorskip("mkdocs", reason="install the extra `site`")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_every_link_of_the_site_leads_to_a_file(site: Path) -> None:
    """Also for links that mkdocs does not check: copies of source files, the theme, the glossary."""
    broken = set()
    for page in site.rglob("*.html"):
        if page.name == "404.html":
            continue
        for target in re.findall(r'(?:href|src)="([^"#?]+)[^"]*"', page.read_text(encoding="utf-8")):
            if not re.match(r"[a-z]+:|//|\.$", target) and not (page.parent / target).resolve().exists():
                broken.add(f"{page.relative_to(site)}: {target}")
    assert broken == set()


@pytest.mark.slow
def test_lists_and_tables_are_not_shown_as_text(site: Path) -> None:
    """The site needs an empty line in front of a list, GitHub does not."""
    raw = re.compile(r"<p>(?:(?!</p>).)*?\n(?:- |\d+\. |\|)[^\n]*", re.S)
    assert [match[0] for page in site.rglob("*.html") for match in raw.finditer(page.read_text(encoding="utf-8"))] == []


@pytest.mark.slow
def test_pages_load_nothing_from_other_sites(site: Path) -> None:
    loaded = re.compile(
        r'<(?:script|img|iframe)[^>]*src="(https?:[^"]*)|<link rel="(?:stylesheet|preconnect)[^>]*(https?:[^"]*)'
    )
    assert [page.name for page in site.rglob("*.html") if loaded.search(page.read_text(encoding="utf-8"))] == []


@pytest.mark.slow
def test_first_uses_lead_to_the_glossary(site: Path) -> None:
    page = (site / "generation.html").read_text(encoding="utf-8")
    glossary = (site / "glossary.html").read_text(encoding="utf-8")
    targets = re.findall(r'class="term" href="glossary.html#([^"]+)" title="[^"]{10,}"', page)
    assert {"term-chunk", "term-shard", "term-cache-key", "term-quarantine"} <= set(targets)
    assert len(targets) == len(set(targets)), "a term is linked more than once on the page"
    assert all(f'id="{target}"' in glossary for target in targets)
    assert 'class="term"' not in glossary


@pytest.mark.slow
def test_the_search_has_both_languages(site: Path) -> None:
    index = json.loads((site / "search/search_index.json").read_text(encoding="utf-8"))
    assert index["config"]["lang"] == ["en", "ko"]
    texts = " ".join(entry["text"] for entry in index["docs"])
    assert "보통약관" in texts and "quota" in texts
    assert list(site.glob("assets/javascripts/lunr/min/lunr.ko.min.js"))


@pytest.mark.slow
@pytest.mark.browser
def test_a_reader_finds_pages_in_both_languages(site: Path) -> None:
    """Searches as a reader does, in a browser, and opens pages: no error, and no request to another server."""
    from tests.browser import Browser

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}/"
    found = {}
    try:
        with Browser() as browser:
            for word in ("환각", "특별약관", "quarantine"):
                browser.open(f"{base}index.html?q={word}")
                browser.wait("document.querySelector('.md-search-result__item')")
                found[word] = browser.run("document.querySelector('.md-search-result__list').innerText")
            browser.open(f"{base}architecture.html")
            browser.open(f"{base}how-to/failed-shard.html")
    finally:
        server.shutdown()
    assert "환각" in found["환각"] and "특별약관" in found["특별약관"] and "quarantine" in found["quarantine"]
    assert browser.errors == []
    assert [url for url in browser.requests if url.startswith("http") and not url.startswith(base)] == []


def code_blocks(text: str) -> list[str]:
    """Return the code blocks without comments, which may be translated."""
    blocks = [block["fenced"] or block["indented"] for block in BLOCK.finditer(text)]
    return [re.sub(r" +#.*", "", block) for block in blocks]


def test_both_readmes_say_the_same() -> None:
    """The same headings in the same order, the same commands, links, pictures and figures."""
    english, korean = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.ko.md"))

    def links(text: str) -> list[str]:
        return sorted(target for target in re.findall(r"\]\(([^)\s]+)\)", text) if "README" not in target)

    def figures(text: str) -> list[str]:
        rows = [line for line in text.splitlines() if line.startswith("|")]
        return sorted(re.findall(r"\d[\d,.]*\d|\d", " ".join(rows)))

    def shape(text: str) -> list[str]:
        return re.findall(r"^(#+|\|(?=-)|!(?=\[))", text, re.M)

    assert shape(english) == shape(korean)
    assert code_blocks(english) == code_blocks(korean)
    assert links(english) == links(korean)
    assert figures(english) == figures(korean)
