"""Makes docs/airflow.md: connection types, operators with their templated fields, and the DAGs, from the code.

The code is read, not imported, so that no Airflow is needed.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.doc_pages.markdown import GENERATED, table
from tools.doc_pages.product_code import ROOT

from insurance_rag.orchestration.provider import PACKAGE, get_provider_info

HEAD = """\
The package is an Airflow provider: `airflow providers list` shows it, and *Admin > Connections* offers its connection
type. The plugins in the folder `plugins` add the tab *Run report*, the review pages and the deadlines."""
GOOGLE = """\
## Google's own connection

A connection of type `google_cloud_platform` may be named under *API keys* too, if it holds an API key: as the password,
or in the extra field `api_key`. *Project Id* is then the project whose quota the key shares; the extra fields `rpm`,
`tpm` and `rpd` mean the same as above. Gemini's API takes no service accounts, so a connection that has only one is
refused. The password of any other type of connection is never used as a key, except of type `generic`.

```json
{"conn_type": "google_cloud_platform", "extra": {"api_key": "...", "project": "team-a", "rpm": 10}}
```

The connection of a chat webhook is described in [alerts](operations.md#alerts)."""
OPERATORS = """\
## Operators and templated fields

The DAGs below use these. A templated field may contain Jinja (`{{ params.chunks }}`), which Airflow renders before the
task runs."""
DAGS = """\
## The DAGs

Each is quoted as it is in `dags/`. The named tests run it in a real Airflow, in every run of `make test`."""


def airflow_page() -> str:
    """Return the page."""
    info: dict[str, Any] = get_provider_info()
    lines = ["# Airflow: connections, operators, DAGs", "", GENERATED, "", HEAD]
    for connection in info["connection-types"]:
        lines += ["", *connection_lines(connection)]
    lines += ["", GOOGLE, "", OPERATORS]
    lines += table(("class", "module", "templated fields", "what it does"), _operators(info))
    lines += ["", DAGS]
    for path in sorted((ROOT / "dags").glob("*.py")):
        lines += ["", *dag_lines(path)]
    return "\n".join(lines) + "\n"


def connection_lines(connection: dict[str, Any]) -> Iterator[str]:
    """Yield the lines about a connection type."""
    behaviour, kind = connection["ui-field-behaviour"], connection["connection-type"]
    yield from (f"## Connection type `{kind}`", "")
    yield f"Shown as *{connection['hook-name']}*; the hook is `{connection['hook-class-name']}`. One connection per"
    yield "key."
    own = (
        (
            f"`{name}`",
            label,
            "placeholder: " + behaviour["placeholders"][name] if name in behaviour["placeholders"] else "",
        )
        for name, label in behaviour["relabeling"].items()
    )
    extra = (
        (f"extra `{name}`", field["label"], field["description"]) for name, field in connection["conn-fields"].items()
    )
    yield from table(("field", "label in the form", "meaning"), [*own, *extra])
    yield from (
        "",
        "*Test* asks the server whether the key works and may use the model; it costs no quota. As JSON:",
        "",
    )
    yield from ("```sh", f"airflow connections add {kind}_k1 --conn-json \\")
    yield f'    \'{{"conn_type": "{kind}", "password": "...", "extra": {{"project": "team-a", "rpm": 10}}}}\''
    yield "```"


def _operators(info: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    modules = [module for entry in info["operators"] for module in entry["python-modules"]]
    modules += [name.rpartition(".")[0] for name in info["notifications"]]
    for module in modules:
        path = ROOT / "include" / f"{module.replace('.', '/')}.py"
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and (fields := _template_fields(node)):
                summary = inspect.cleandoc(ast.get_docstring(node) or "").split("\n\n")[0]
                named = ", ".join(f"`{name}`" for name in fields)
                yield f"`{node.name}`", f"`{module.removeprefix(PACKAGE.rpartition('.')[0] + '.')}`", named, summary


def _template_fields(node: ast.ClassDef) -> tuple[str, ...]:
    for field in node.body:
        if isinstance(field, ast.AnnAssign) and ast.unparse(field.target) == "template_fields" and field.value:
            return tuple(ast.literal_eval(field.value))
    return ()


def dag_lines(path: Path) -> Iterator[str]:
    """Yield the lines about the DAG in a file: what it does, which tests run it, and its code."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.decorator_list)
    tests = [
        test for test in sorted((ROOT / "tests/airflow").glob("test_*.py")) if f'"{function.name}"' in test.read_text()
    ]
    links = ", ".join(f"[{test.stem}](../{test.relative_to(ROOT).as_posix()})" for test in tests)
    first = function.decorator_list[0].lineno - 1
    yield from (f"### {function.name}", "", ast.get_docstring(tree) or "", "", f"Run by: {links}.", "")
    yield from ("```python", *source.splitlines()[first : function.end_lineno], "```")
