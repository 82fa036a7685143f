"""Turn documents (PDF, HWPX, DOCX, HTML, Markdown, text) into policy chunks, with a report on what was left out.

Writes FILE.jsonl with the chunks, and next to it FILE.documents.json (manifest), FILE.report.html and, with --previous,
FILE.changes.json. A file `documents.yaml` in the folder of a document may set company, product, policy_type and id.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from insurance_rag.core.records.ingest import IngestArtifact

EXAMPLE = "insurance-rag ingest policies/ --out chunks.jsonl --company 한빛생명 --previous chunks_2025.jsonl"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("documents", nargs="+", type=Path, metavar="DOCUMENT", help="file, or folder with documents")
    parser.add_argument("--out", required=True, type=Path, metavar="C.jsonl", help="chunk file to write")
    parser.add_argument("--company", metavar="NAME", help="insurer; default: the one that the document names")
    parser.add_argument("--policy-type", metavar="NAME", help="e.g. 암보험; default: derived from the product's name")
    parser.add_argument("--product", metavar="NAME", help="product; default: the document's title")
    parser.add_argument("--id", dest="document_id", metavar="ID", help="first part of the chunk ids of one document")
    parser.add_argument(
        "--previous", type=Path, metavar="OLD.jsonl", help="chunk file of the previous edition, to report the changes"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set a field of IngestConfig, e.g. max_characters=900; may be repeated",
    )


def run(args: argparse.Namespace) -> IngestArtifact:
    """Write the chunks. Raises an InvalidInputError if a document could not be read; the others are written."""
    from insurance_rag.config.ingest import IngestConfig
    from insurance_rag.core.config_base import parse_settings
    from insurance_rag.ingest import ingest_documents

    options = {name: getattr(args, name) for name in ("company", "policy_type", "product", "document_id")}
    given = {name: value for name, value in options.items() if value is not None}
    config = IngestConfig.parse({**given, **parse_settings(args.set)}, "--set")
    return ingest_documents(args.documents, args.out, config, args.previous)
