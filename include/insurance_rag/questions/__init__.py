"""Make, check, review and freeze evaluation questions for any corpus.

The functions in `__all__` are imported only when they are first used, because they load the morphological analyzer.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from insurance_rag.questions.check import check_questions
    from insurance_rag.questions.freeze import freeze_questions
    from insurance_rag.questions.make import make_questions

__all__ = ["check_questions", "freeze_questions", "make_questions"]

_MODULES = {
    "check_questions": "insurance_rag.questions.check",
    "freeze_questions": "insurance_rag.questions.freeze",
    "make_questions": "insurance_rag.questions.make",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
