"""Hooks of the documentation site: pages and files outside `docs`, and links from first uses to the glossary.

The pages are written for GitHub as well. There, a link to `../CONTRIBUTING.md` or `../deploy/kubernetes/gpu-pod.yaml`
leads to the file of the repository. On the site, the first is a page and the second a copy of the file in `source/`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

from markdown import Extension, Markdown  # type: ignore[import-untyped]
from markdown.treeprocessors import Treeprocessor  # type: ignore[import-untyped]
from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
ROOT_PAGES = ("README.ko.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
"""Files of the repository's root that are pages of the site. README.md is replaced by the home page."""
LINK = re.compile(r"(?<=\]\()([^)\s#]+)(#[^)\s]*)?(?=\))")
MERMAID = re.compile(r"^```mermaid\n(.*?)^```", re.M | re.S)

GLOSSARY = "glossary.md"
TERM = re.compile(r"^\| ([^|]+?) \| ([^|]+?) \|$(?!\n\|---)", re.M)
#: Terms that most readers know, or that also have their everyday meaning. They are not linked.
ORDINARY = frozenset(
    re.findall(
        r"\w+",
        """
        adapter annotations challenger champion cheat check claim clause context decoding document easy fact finding
        judge limit margin metric objective pack part plan policy problem product profile rater recipe refusal
        registry repair reuse row rule scenario section seed simulator teacher RPD RPM TPM v1 v2 v3 v4
        """,
    )
)
SKIPPED = frozenset({"a", "code", "pre", "h1", "h2", "h3", "h4", "h5", "h6", "th", "strong"})
"""Elements in which terms are not linked."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the extension that links terms."""
    config.markdown_extensions.append(GlossaryLinks())
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the root, and the repository's files that a page links to."""
    for name in ROOT_PAGES:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    for page in list(files.documentation_pages()):
        source = Path(page.abs_src_path or "")
        for target, _ in LINK.findall(source.read_text(encoding="utf-8")):
            path, uri = resolve(source, target)
            if uri and uri.startswith("source/") and path.is_file() and not files.get_file_from_path(uri):
                files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links that leave `docs` to their places on the site, and give each term of the glossary an anchor."""
    source, folder = Path(page.file.abs_src_path or ""), posixpath.dirname(page.file.src_uri)

    def on_site(match: re.Match[str]) -> str:
        _, uri = resolve(source, match[1])
        return match[0] if uri is None else posixpath.relpath(uri, folder or ".") + (match[2] or "")

    markdown = MERMAID.sub(import_table, LINK.sub(on_site, markdown))
    if page.file.src_uri == GLOSSARY:
        markdown = TERM.sub(lambda match: f'| <span id="{anchor(match[1])}">{match[1]}</span> | {match[2]} |', markdown)
    GlossaryLinks.page = page.file.src_uri
    return markdown


def import_table(match: re.Match[str]) -> str:
    """Return a diagram of layers as a table: the theme would load a program from another site to draw it."""
    titles = dict(re.findall(r"(\w+)\[([^]\s]+)\]", match[1]))
    arrows = re.findall(r"(\w+) --> (\w+)", match[1])
    lines = ["| row | package | imports |", "|---:|---|---|"]
    for row, body in enumerate(re.findall(r"^ *subgraph .*?\n(.*?)^ *end$", match[1], re.M | re.S), 1):
        for name in re.findall(r"(\w+)\[", body):
            imported = ", ".join(titles[target] for source, target in arrows if source == name)
            lines.append(f"| {row} | {titles[name]} | {imported} |")
    return "\n".join(lines)


def resolve(source: Path, target: str) -> tuple[Path, str | None]:
    """Return the file that a link leads to, and its place on the site; None for a link to another site.

    A folder of the code has no page of its own: the page about its packages replaces it.
    """
    if re.match(r"[a-z]+:|#|/", target):
        return source, None
    path = Path(posixpath.normpath(source.parent.joinpath(target).as_posix()))
    if path.is_relative_to(DOCS):
        return path, path.relative_to(DOCS).as_posix()
    name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.as_posix()
    if name == "README.md":
        return path, "index.md"
    if path.is_dir():
        return path, "architecture.md"
    return path, name if name in ROOT_PAGES else f"source/{name.lstrip('.')}"


def anchor(cell: str) -> str:
    """Return the anchor of a row of the glossary."""
    return "term-" + re.sub(r"\W+", "-", cell.lower()).strip("-")


def terms() -> Iterator[tuple[str, str, str]]:
    """Yield (term, anchor, definition) for each term that is linked; a row may define several terms."""
    for cell, definition in TERM.findall((DOCS / GLOSSARY).read_text(encoding="utf-8")):
        for term in re.split(r", | / ", cell):
            if term not in ORDINARY and len(term) > 1:
                yield term, anchor(cell), re.sub(r"\[([^]]+)\]\([^)]*\)|`", r"\1", definition)


class GlossaryLinks(Extension):
    """Links the first use of each term on a page to the glossary."""

    page = ""
    """The page that is being rendered: mkdocs renders one at a time."""

    def extendMarkdown(self, md: Markdown) -> None:
        """Run after inline patterns (20), so that code and links are recognized, and before mkdocs checks links (0)."""
        md.treeprocessors.register(TermLinker(md), "glossary", 10)


class TermLinker(Treeprocessor):
    """Puts a link around the first use of each term."""

    def run(self, root: Element) -> None:
        """Link the terms of one page. The glossary itself has none."""
        if GlossaryLinks.page == GLOSSARY:
            return
        self.targets = {term.lower(): (name, definition) for term, name, definition in terms()}
        self.glossary = posixpath.relpath(GLOSSARY, posixpath.dirname(GlossaryLinks.page) or ".")
        self.walk(root)

    def walk(self, parent: Element) -> None:
        """Link terms in the text of an element and of its descendants, in the order of the page."""
        if parent.tag in SKIPPED:
            return
        children = list(parent)
        parent.text = self.split(parent, 0, parent.text)
        for child in children:
            self.walk(child)
            child.tail = self.split(parent, list(parent).index(child) + 1, child.tail)

    def split(self, parent: Element, position: int, text: str | None) -> str | None:
        """Move each term of `text` into a link at `position`, and return the text before the first one."""
        links: list[Element] = []
        rest = before = text
        while rest and self.targets and (match := self.next_term(rest)):
            name, definition = self.targets.pop(match[1].lower())
            link = Element("a", {"class": "term", "href": f"{self.glossary}#{name}", "title": definition})
            link.text, link.tail = match[0], rest[match.end() :]
            if links:
                links[-1].tail = rest[: match.start()]
            else:
                before = rest[: match.start()]
            links.append(link)
            rest = link.tail
        for offset, link in enumerate(links):
            parent.insert(position + offset, link)
        return before

    def next_term(self, text: str) -> re.Match[str] | None:
        """Return the first use of a term that the page has not linked yet; the longest one if several start there."""
        names = "|".join(re.escape(term) for term in sorted(self.targets, key=len, reverse=True))
        return re.search(rf"(?<![\w-])({names})(?:s|es|d|ed)?(?![\w-])", text, re.I)
