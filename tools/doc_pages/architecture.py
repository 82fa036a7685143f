"""Makes the diagram in docs/architecture.md from the imports between the packages."""

from __future__ import annotations

import tomllib

import grimp
from tools.doc_pages.product_code import PACKAGES, ROOT


def architecture_diagram() -> str:
    """Return a Mermaid diagram with a row per layer and an arrow for every import between packages.

    Arrows from `cli` are omitted, because it imports every stage. Arrows to `core` and `config` are omitted, because
    every package imports them.
    """
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ][0]
    layers = [[name.strip() for name in layer.split("|")] for layer in contract["layers"]]
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    packages = [name for layer in layers for name in layer]
    drawn = [name for name in packages if name not in ("insurance_rag.core", "insurance_rag.config")]
    lines = ["```mermaid", "flowchart TD"]
    for number, layer in enumerate(layers):
        lines.append(f"  subgraph layer{number}[ ]")
        lines += [f"    {node(name)}[{name.removeprefix('insurance_rag.')}]" for name in layer]
        lines.append("  end")
    for importer in packages:
        if importer != "insurance_rag.cli":
            lines += [f"  {node(importer)} --> {node(name)}" for name in drawn if imports(graph, importer, name)]
    return "\n".join([*lines, "```"])


def imports(graph: grimp.ImportGraph, importer: str, imported: str) -> bool:
    """Return whether a module in the package `importer` directly imports a module in the package `imported`."""
    targets = {imported, *graph.find_descendants(imported)}
    sources = {importer, *graph.find_descendants(importer)}
    return importer != imported and any(targets & graph.find_modules_directly_imported_by(name) for name in sources)


def node(package: str) -> str:
    return package.replace(".", "_")


def with_diagram(page: str) -> str:
    """Return `page` with a new diagram in place of the text between the two diagram markers."""
    start, end = "<!-- diagram -->", "<!-- /diagram -->"
    before, _, rest = page.partition(start)
    _, _, after = rest.partition(end)
    return f"{before}{start}\n{architecture_diagram()}\n{end}{after}"
