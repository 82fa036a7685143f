"""The registry of question checks. A check is a function decorated with `question_check` in a module of this package.

    @question_check("answerable", title="Not answerable", title_ko="답할 수 없는 질문")
    def answerable(candidate: Candidate, corpus: Corpus) -> str | None:
        \"""The reference answer does not follow from the gold chunks.\"""

The docstring describes the fault. Two more checks compare questions with each other: see `questions.duplicates`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from insurance_rag.core.records.questions import CheckedKind, QuestionFinding
from insurance_rag.core.registry import Registry
from insurance_rag.questions.candidate import Candidate
from insurance_rag.questions.corpus import Corpus

MAX_DETAIL_CHARACTERS = 300

FindProblem = Callable[[Candidate, Corpus], str | None]
"""Called with (candidate, corpus). Returns what is wrong with the question, or None if it passes."""


@dataclass(frozen=True)
class QuestionCheck:
    """A rule that finds one kind of fault in a question."""

    name: str
    title: str
    title_ko: str
    description: str
    find: FindProblem
    drops: bool
    """Whether a question with this fault must not be used. If not, the fault is only reported."""

    def info(self) -> CheckedKind:
        """Return the definition of the check for reports."""
        return CheckedKind(title=self.title, title_ko=self.title_ko, description=self.description, drops=self.drops)


QUESTION_CHECKS: Registry[QuestionCheck] = Registry("question check", "insurance_rag.questions.checks")


def question_check(name: str, *, title: str, title_ko: str, drops: bool = True) -> Callable[[FindProblem], FindProblem]:
    """Return a decorator that registers a function as a check. Its docstring is the description."""

    def register(find: FindProblem) -> FindProblem:
        description = " ".join((inspect.getdoc(find) or "").partition("\n\n")[0].split())
        QUESTION_CHECKS.add(name, QuestionCheck(name, title, title_ko, description, find, drops))
        return find

    return register


def find_problems(candidate: Candidate, corpus: Corpus, names: Sequence[str] | None = None) -> list[QuestionFinding]:
    """Apply the checks and return their findings. Without `names`, all checks are applied.

    A question whose gold chunks do not exist is checked no further.
    """
    findings: list[QuestionFinding] = []
    for name in _with_first(names or QUESTION_CHECKS.names):
        check = QUESTION_CHECKS[name]
        if (detail := check.find(candidate, corpus)) is not None:
            findings.append(QuestionFinding(check=name, detail=detail[:MAX_DETAIL_CHARACTERS], drops=check.drops))
            if name == FIRST:
                break
    return findings


FIRST = "unknown_chunk"
"""The check that the others rely on. It is always applied."""


def _with_first(names: Sequence[str]) -> list[str]:
    return [FIRST, *(name for name in names if name != FIRST)]
