"""Check the inputs of an evaluation before any model is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from insurance_rag.chunks.sections import is_held_out
from insurance_rag.config import EvaluationConfig
from insurance_rag.core.adapter_folder import AdapterFolder
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.records import Chunk, Question
from insurance_rag.evaluation.general_tasks import package_problems
from insurance_rag.evaluation.general_text import read_general_text
from insurance_rag.evaluation.requests import BASE


def check_inputs(
    questions: Sequence[Question],
    chunks: Sequence[Chunk],
    adapters: Mapping[str, Path],
    config: EvaluationConfig | None = None,
) -> None:
    """Raise an InvalidInputError that lists all problems if the inputs have any. `adapters` maps names to folders.

    With `config`, its measurements on general text are checked, too.
    """
    known = {chunk.chunk_id for chunk in chunks}
    problems = [
        f"question {q.question_id}: gold chunk {i!r} is not among the chunks; pass the chunks that the questions were "
        "made from"
        for q in questions
        for i in q.gold_chunk_ids
        if i not in known
    ]
    if not questions:
        problems.append("questions: none; give a file with at least one")
    if BASE in adapters:
        problems.append(f"--adapter {BASE}=...: this is the name of the base model; choose another name")
    for name, folder in adapters.items():
        problems += [
            f"adapter {name}: {file} is missing; train the adapter first"
            for file in (AdapterFolder(folder).peft_config, AdapterFolder(folder).weights)
            if not file.is_file()
        ]
    problems += _general_problems(config) if config else []
    if problems:
        raise InvalidInputError(problems)


def _general_problems(config: EvaluationConfig) -> list[str]:
    """Return a message for each reason why the measurements on general text are not possible."""
    problems = package_problems(config.general_tasks)
    settings = {"general_text": config.general_text, "general_tasks": config.general_tasks}
    for name in (name for name, value in settings.items() if value):
        if config.server or config.reference:
            problems.append(f"{name} needs a local model; remove server and reference, or {name}")
    try:
        if config.general_text:
            read_general_text(Path(config.general_text))
    except InvalidInputError as e:
        problems += e.problems
    return problems


def contaminated_questions(
    questions: Sequence[Question], chunks: Sequence[Chunk], adapters: Mapping[str, Path]
) -> dict[str, int]:
    """Return, for each adapter, the number of questions about documents or sections that the adapter was trained on.

    An adapter without a record of what was held out is left out. Raises InvalidInputError if a training manifest cannot
    be read.
    """
    by_id = {chunk.chunk_id: chunk for chunk in chunks}
    contaminated = {}
    for name, folder in adapters.items():
        if (manifest := AdapterFolder(folder).read_manifest()) and (held_out := manifest.dataset.held_out):
            unseen = {i for question in questions for i in question.gold_chunk_ids if is_held_out(by_id[i], held_out)}
            contaminated[name] = sum(not unseen.issuperset(question.gold_chunk_ids) for question in questions)
    return contaminated
