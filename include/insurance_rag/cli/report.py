"""Write the report about a run as one self-contained HTML file. The run does not have to be complete.

Reads the folders `dataset`, `adapters` and `evaluation` in the run folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from insurance_rag.core.records import ReportArtifact

EXAMPLE = "insurance-rag report --run runs/today --out report.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", required=True, type=Path, metavar="RUN", help="run folder")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE.html", help="file to write")


def run(args: argparse.Namespace) -> ReportArtifact:
    """Render the report. Raises InvalidInputError if the run folder does not exist."""
    from insurance_rag.core.errors import InvalidInputError
    from insurance_rag.core.run_folder import RunFolder
    from insurance_rag.report.render import render_report

    if not args.run.is_dir():
        raise InvalidInputError(f"{args.run}: no such run folder; create one with `insurance-rag plan --out RUN`")
    return render_report(RunFolder(args.run), args.out)
