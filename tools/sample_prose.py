"""Print a random sample of the comments and docstrings in the code, so that a person can rate their readability.

Each sample includes the code next to it: the signature above a docstring, the field above its
description, the statement below a comment.

    python tools/sample_prose.py --n 100 --seed 1
"""

from __future__ import annotations

import argparse
import ast
import io
import random
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("include", "dags", "plugins", "bench", "tools")
MAX_SIGNATURE_LINES = 6


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line number and the text of every docstring, field description and comment block, with nearby code."""
    source = path.read_text(encoding="utf-8")
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        body = getattr(node, "body", None)
        for before, statement in zip([None, *body], body, strict=False) if isinstance(body, list) else ():
            match statement:
                case ast.Expr(value=ast.Constant(value=str())):
                    owner = before or node  # the field before the string, or else the function, class or module
                    start = max(getattr(owner, "lineno", statement.lineno), statement.lineno - MAX_SIGNATURE_LINES)
                    yield statement.lineno, "\n".join(lines[start - 1 : statement.end_lineno])
    yield from comments(source, lines)


def comments(source: str, lines: list[str]) -> Iterator[tuple[int, str]]:
    """Yield the line number and the text of every comment block. The text includes the next line of code."""
    numbers = [
        token.start[0]
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT and not token.string.startswith(("# noqa", "# type:", "# fmt", "#!"))
    ]
    for number in numbers:
        if number - 1 not in numbers:
            last = number
            while last + 1 in numbers:
                last += 1
            yield number, "\n".join(lines[number - 1 : last + 1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=100, help="number of samples (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="seed for the random choice (default %(default)s)")
    args = parser.parse_args()
    listed = subprocess.run(["git", "ls-files", *FOLDERS], cwd=ROOT, capture_output=True, text=True, check=True)
    files = [ROOT / name for name in listed.stdout.splitlines() if name.endswith(".py")]
    found = [(path, line, text) for path in files for line, text in sorted(prose(path))]
    for number, (path, line, text) in enumerate(random.Random(args.seed).sample(found, args.n), 1):
        print(f"--- {number}. {path.relative_to(ROOT)}:{line}\n{text}\n")
    print(f"{args.n} of {len(found)}")


if __name__ == "__main__":
    main()
