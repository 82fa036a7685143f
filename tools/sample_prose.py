"""Print comments and docstrings of the code, drawn at random, for a reader who judges how well they read.

python tools/sample_prose.py --n 100 --seed 1
"""

from __future__ import annotations

import argparse
import ast
import io
import random
import subprocess
import textwrap
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("include", "dags", "plugins", "bench", "tools")


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of every docstring, attribute description and block of comments of a Python file."""
    source = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield node.lineno, textwrap.dedent(text).strip()
    block: list[str] = []
    first = last = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT or token.string.startswith(("# noqa", "# type:", "# fmt", "#!")):
            continue
        if block and token.start[0] != last + 1:
            yield first, "\n".join(block)
            block = []
        first = first if block else token.start[0]
        last = token.start[0]
        block.append(token.string)
    if block:
        yield first, "\n".join(block)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=100, help="how many (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the draw (default %(default)s)")
    args = parser.parse_args()
    listed = subprocess.run(["git", "ls-files", *FOLDERS], cwd=ROOT, capture_output=True, text=True, check=True)
    files = [ROOT / name for name in listed.stdout.splitlines() if name.endswith(".py")]
    found = [(path, line, text) for path in files for line, text in sorted(prose(path))]
    for number, (path, line, text) in enumerate(random.Random(args.seed).sample(found, args.n), 1):
        print(f"--- {number}. {path.relative_to(ROOT)}:{line}\n{text}\n")
    print(f"{args.n} of {len(found)}")


if __name__ == "__main__":
    main()
