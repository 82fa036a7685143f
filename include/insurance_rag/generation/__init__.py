"""Generate question-answer pairs for every chunk, as fast as the API quotas allow and without losing an answer.

The functions in `__all__` are imported only when they are first used. This keeps `--help` fast: it needs the teacher
registry from this package, but not the HTTP client and the worker.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from insurance_rag.generation.parts import write_open_parts
    from insurance_rag.generation.run import generate_run
    from insurance_rag.generation.shard import generate_shard
    from insurance_rag.planning.work_items import missing_chunks

__all__ = ["generate_run", "generate_shard", "missing_chunks", "write_open_parts"]

_MODULES = {
    "generate_run": "insurance_rag.generation.run",
    "generate_shard": "insurance_rag.generation.shard",
    "missing_chunks": "insurance_rag.planning.work_items",
    "write_open_parts": "insurance_rag.generation.parts",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
