"""Write the documents that are generated from the code, or check that they are current.

    python tools/make_docs.py            write the pages that `pages` lists, and the diagram in docs/architecture.md
    python tools/make_docs.py --check    write nothing; name every outdated document and exit with 1 if there is one

`make docs` runs the first command.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def pages() -> dict[str, str]:
    """Return the text of every generated page, by its name in docs."""
    sys.path.insert(0, str(ROOT))  # a script finds only its own folder
    from tools.doc_pages.airflow import airflow_page
    from tools.doc_pages.architecture import with_diagram
    from tools.doc_pages.command_line import command_line_page
    from tools.doc_pages.environment import environment_page
    from tools.doc_pages.errors import errors_page
    from tools.doc_pages.file_formats import file_formats_page
    from tools.doc_pages.reference import reference_page

    return {
        "airflow.md": airflow_page(),
        "architecture.md": with_diagram((ROOT / "docs/architecture.md").read_text(encoding="utf-8")),
        "command-line.md": command_line_page(),
        "environment.md": environment_page(),
        "errors.md": errors_page(),
        "file-formats.md": file_formats_page(),
        "reference.md": reference_page(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a document is outdated")
    args = parser.parse_args()
    current = {ROOT / "docs" / name: text for name, text in pages().items()}
    stale = [path for path, text in current.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    if args.check:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is outdated; run `make docs`", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        path.write_text(current[path], encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
