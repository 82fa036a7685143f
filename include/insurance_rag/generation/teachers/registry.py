"""The registry of teachers. To add a teacher, add a module to this package and decorate its factory with `@teacher`.

`--help` imports the modules of all teachers, so they must not import anything slow at module level.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from insurance_rag.core.records.generation import TeacherInfo
from insurance_rag.core.registry import Registry

if TYPE_CHECKING:
    from insurance_rag.config import GenerationConfig
    from insurance_rag.core.records import ApiKey
    from insurance_rag.generation.teachers.base import Teacher
    from insurance_rag.planning.prompt_spec import PromptSpec

TeacherFactory = Callable[["GenerationConfig", "ApiKey", "PromptSpec"], "Teacher"]
Factory = TypeVar("Factory", bound=TeacherFactory)
Params = ParamSpec("Params")


@dataclass(frozen=True, kw_only=True)
class TeacherEntry(TeacherInfo):
    """Describes a kind of teacher and holds the function that creates one."""

    create: TeacherFactory


TEACHERS: Registry[TeacherEntry] = Registry("teacher", "insurance_rag.generation.teachers")


def _registration(
    make_info: Callable[Params, TeacherInfo],
) -> Callable[Params, Callable[[Factory], Factory]]:
    """Return a function that takes the parameters of `make_info` and returns the decorator that registers a factory."""

    def teacher(*args: Params.args, **kwargs: Params.kwargs) -> Callable[[Factory], Factory]:
        info = make_info(*args, **kwargs)

        def register(create: Factory) -> Factory:
            TEACHERS.add(info.name, TeacherEntry(**vars(info), create=create))
            return create

        return register

    return teacher


teacher = _registration(TeacherInfo)
"""Takes the fields of `TeacherInfo` and returns a decorator that registers a factory `(config, key, prompt_spec) ->
Teacher`."""


def make_teacher(config: GenerationConfig, key: ApiKey) -> Teacher:
    """Create the configured teacher. Raises InvalidInputError if its settings are invalid."""
    from insurance_rag.planning.prompt_spec import PromptSpec

    return TEACHERS[config.teacher].create(config, key, PromptSpec.from_config(config))
