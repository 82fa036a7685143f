"""The registry of teachers. To add a teacher, add a module to this package and decorate its factory with `@teacher`.

`--help` imports the modules of all teachers, so they must not import anything slow at module level.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from insurance_rag.core.records.generation import TeacherInfo
from insurance_rag.core.registry import Registry

if TYPE_CHECKING:
    from insurance_rag.config import GenerationConfig
    from insurance_rag.core.records import ApiKey
    from insurance_rag.generation.teachers.base import Teacher
    from insurance_rag.planning.prompt_spec import PromptSpec

TeacherFactory = Callable[["GenerationConfig", "ApiKey", "PromptSpec"], "Teacher"]
Factory = TypeVar("Factory", bound=TeacherFactory)


@dataclass(frozen=True, kw_only=True)
class TeacherEntry(TeacherInfo):
    """Describes a kind of teacher and holds the function that creates one."""

    create: TeacherFactory


TEACHERS: Registry[TeacherEntry] = Registry("teacher", "insurance_rag.generation.teachers")


def teacher(
    name: str,
    *,
    title: str,
    description: str,
    key_variable: str | None = None,
    model_variable: str | None = None,
    key_required: bool = False,
    default_prompt: str = "qa_v2",
    supports_repair: bool = True,
    supports_packs: bool = True,
    supports_batch: bool = False,
    required_packages: tuple[str, ...] = (),
) -> Callable[[Factory], Factory]:
    """Return a decorator that registers a factory `(config, key, prompt_spec) -> Teacher`.

    `TeacherInfo` documents the parameters.
    """

    def register(create: Factory) -> Factory:
        entry = TeacherEntry(
            name=name,
            title=title,
            description=description,
            key_variable=key_variable,
            model_variable=model_variable,
            key_required=key_required,
            default_prompt=default_prompt,
            supports_repair=supports_repair,
            supports_packs=supports_packs,
            supports_batch=supports_batch,
            required_packages=required_packages,
            create=create,
        )
        TEACHERS.add(name, entry)
        return create

    return register


def make_teacher(config: GenerationConfig, key: ApiKey) -> Teacher:
    """Create the configured teacher. Raises InvalidInputError if its settings are invalid."""
    from insurance_rag.planning.prompt_spec import PromptSpec

    return TEACHERS[config.teacher].create(config, key, PromptSpec.from_config(config))
