"""Finds the environment variables that Python code reads, and where.

A read is `os.environ[...]`, `os.environ.get(...)`, `.setdefault(...)`, `.pop(...)`, `os.getenv(...)` or `... in
os.environ`. The name is a string, a constant of the module, an element of such a constant, or an argument: then the
calls of the function, and keywords of the same name anywhere, give the names.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

NAME = re.compile(r"[A-Z][A-Z0-9_]+")
METHODS = ("get", "setdefault", "pop", "__getitem__")


@dataclass
class SourceReads:
    """What the scan of all files found."""

    names: dict[str, set[str]] = field(default_factory=dict)
    """Variable -> paths of the files that read it."""
    unknown: list[str] = field(default_factory=list)
    """Reads whose name could not be found out, as `path:line: expression`."""


def find_reads(files: Mapping[str, Path]) -> SourceReads:
    """Return the variables that the files read. `files` maps the path to show to the file."""
    trees = {shown: ast.parse(path.read_text(encoding="utf-8")) for shown, path in files.items()}
    reads = SourceReads()
    for shown, tree in trees.items():
        constants = _constants(tree)
        for argument in _arguments(tree):
            names = {*_names(argument, constants, tree), *_names_of_callers(argument, tree, trees.values())}
            for name in names:
                reads.names.setdefault(name, set()).add(shown)
            if not names:
                reads.unknown.append(f"{shown}:{argument.lineno}: {ast.unparse(argument)}")
    return reads


def _is_environ(node: ast.expr) -> bool:
    return ast.unparse(node) in ("os.environ", "environ")


def _arguments(tree: ast.Module) -> Iterator[ast.expr]:
    """Yield the expression for the name in every read."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and _is_environ(node.value):
            yield node.slice
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In) and _is_environ(node.comparators[0]):
            yield node.left
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            owner, method = node.func.value, node.func.attr
            if (_is_environ(owner) and method in METHODS) or ast.unparse(node.func) == "os.getenv":
                yield node.args[0]


def _constants(tree: ast.Module) -> dict[str, list[str]]:
    """Return the strings in each constant of a module: a string, the elements of a tuple, or the keys of a dict."""
    found = {}
    for node in tree.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        value, target = node.value, node.targets[0] if isinstance(node, ast.Assign) else node.target
        parts = value.keys if isinstance(value, ast.Dict) else getattr(value, "elts", [value])
        texts = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
        if isinstance(target, ast.Name) and texts:
            found[target.id] = texts
    return found


def _names(argument: ast.expr, constants: Mapping[str, list[str]], tree: ast.Module) -> Iterator[str]:
    """Yield the names that an expression stands for, as far as the module alone says."""
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        yield argument.value
    elif isinstance(argument, ast.Name):
        yield from constants.get(argument.id, [])
        for node in ast.walk(tree):
            if isinstance(node, ast.comprehension | ast.For) and argument.id in _identifiers(node.target):
                for source in _identifiers(node.iter):
                    yield from constants.get(source, [])


def _names_of_callers(argument: ast.expr, tree: ast.Module, trees: Iterable[ast.Module]) -> Iterator[str]:
    """Yield the names that calls pass to the function with the read, or as a keyword or field of the same name."""
    if isinstance(argument, ast.Constant):
        return
    wanted = argument.attr if isinstance(argument, ast.Attribute) else ast.unparse(argument)
    sources = {wanted, *_assigned_from(wanted, tree)}
    functions = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and wanted in {a.arg for a in node.args.args}
    }
    for call in (node for other in trees for node in ast.walk(other) if isinstance(node, ast.Call)):
        called = ast.unparse(call.func).rpartition(".")[2]
        values = [k.value for k in call.keywords if k.arg in sources] + (call.args[:1] if called in functions else [])
        for value in values:
            if isinstance(value, ast.Constant) and isinstance(value.value, str) and NAME.fullmatch(value.value):
                yield value.value


def _assigned_from(name: str, tree: ast.Module) -> set[str]:
    """Return the attributes from which a variable of this name is assigned, such as `key_variable`."""
    return {
        node.attr
        for assignment in ast.walk(tree)
        if isinstance(assignment, ast.Assign) and name in _identifiers(assignment.targets[0])
        for node in ast.walk(assignment.value)
        if isinstance(node, ast.Attribute)
    }


def _identifiers(node: ast.expr) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
