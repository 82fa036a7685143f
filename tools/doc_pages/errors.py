"""Makes docs/errors.md: every error message in the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.doc_pages.markdown import GENERATED, table
from tools.doc_pages.product_code import product_files

from insurance_rag.core import errors


@dataclass(frozen=True)
class ErrorMessage:
    """An error message in the code."""

    module: str
    error: str
    """Name of the exception class, or "problem" if the message is one of several that an exception lists."""
    text: str


def error_messages(path: Path, module: str) -> Iterator[ErrorMessage]:
    """Yield all error messages in the code of a file. In a message, `{...}` stands for an inserted value."""
    classes = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        if name in classes:
            kind, argument = name, node.args[0]
        elif name == "LineProblem" and len(node.args) >= 3:
            kind, argument = "problem", node.args[2]
        elif name == "append" and "problem" in ast.unparse(node.func).lower():
            kind, argument = "problem", node.args[0]
        else:
            continue
        for text in literal_texts(argument):
            yield ErrorMessage(module, kind, text)


def literal_texts(node: ast.expr) -> Iterator[str]:
    """Yield every string that an expression can produce.

    The expression may consist of string literals, f-strings, `+`, conditionals, lists and comprehensions. Any other
    kind of expression yields nothing.
    """
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        parts = [
            str(part.value) if isinstance(part, ast.Constant) else f"{{{ast.unparse(part.value)}}}"
            for part in node.values
            if isinstance(part, ast.Constant | ast.FormattedValue)
        ]
        yield "".join(parts)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield "".join([*literal_texts(node.left), *literal_texts(node.right)])
    elif isinstance(node, ast.IfExp):
        yield from literal_texts(node.body)
        yield from literal_texts(node.orelse)
    elif isinstance(node, ast.List | ast.Tuple):
        for element in node.elts:
            yield from literal_texts(element)
    elif isinstance(node, ast.ListComp | ast.GeneratorExp):
        yield from literal_texts(node.elt)


def errors_page() -> str:
    """Return the page."""
    lines = [
        "# Error messages",
        "",
        GENERATED,
        "",
        "Every message says what is wrong, where, and what to do. `{...}` stands for an inserted value. A *problem* is",
        "one line of an `InvalidInputError`: all problems with an input are reported at once, repeated ones grouped.",
        "",
        "| error | exit code | meaning |",
        "|---|---:|---|",
    ]
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, errors.PipelineError):
            meaning = (value.__doc__ or "").strip().split("\n")[0]
            lines.append(f"| `{name}` | {value.exit_code} | {meaning} |")
    for module, path in product_files():
        found = {m: None for m in error_messages(path, module) if re.search(r"[A-Za-z]{3}", m.text)}
        if found:
            lines += ["", f"## {module}", *table(("error", "message"), ((m.error, _quoted(m.text)) for m in found))]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    flat = " ".join(text.split()).replace("`", "'")
    return f"`{flat}`"
