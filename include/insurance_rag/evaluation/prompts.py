"""Choose the prompt formats in which the models are asked.

An adapter that is asked in another format than the one it was trained on mostly copies the unfamiliar parts of the
prompt. The answers then show how well the formats match, not what the adapter has learned.

The base model is asked in `rag`. If all adapters were trained on chat messages, it is asked in `chat`: it is then an
instruction-tuned model, which answers worse outside its own chat template, and the adapters would seem too good.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from insurance_rag.core.adapter_folder import AdapterFolder
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.prompt_templates import CHAT, PROMPT_FORMATS
from insurance_rag.core.records import PromptChoice
from insurance_rag.evaluation.requests import BASE, DEFAULT_FORMAT


@dataclass(frozen=True)
class AskedFormats:
    """The prompt formats of an evaluation."""

    by_choice: Mapping[PromptChoice, Mapping[str, str]]
    """Choice -> model -> prompt format."""
    assumed: Sequence[str]
    """Adapters without a training manifest. Their own format is not known, so they are asked in the default format."""

    @property
    def by_model(self) -> dict[str, list[str]]:
        """Return the formats of each model. A format that two choices share is listed once."""
        models = next(iter(self.by_choice.values()))
        return {model: list(dict.fromkeys(of[model] for of in self.by_choice.values())) for model in models}

    @property
    def all(self) -> list[str]:
        """Return every format in which any model is asked."""
        return list(dict.fromkeys(name for formats in self.by_model.values() for name in formats))


def choose_formats(adapters: Mapping[str, Path], choices: Iterable[PromptChoice]) -> AskedFormats:
    """Return the prompt formats for each choice. `adapters` maps names to folders.

    Raises an InvalidInputError that lists every adapter whose training manifest cannot be read or names an unknown
    format.
    """
    recorded, problems = dict[str, str | None](), list[str]()
    for name, folder in adapters.items():
        try:
            recorded[name] = own_format(folder)
        except InvalidInputError as e:
            problems.append(f"adapter {name}: {e}")
    if problems:
        raise InvalidInputError(problems)
    own = {BASE: _base_format(recorded.values()), **{name: found or DEFAULT_FORMAT for name, found in recorded.items()}}
    of_choice = {"own": own, "rag": dict.fromkeys(own, DEFAULT_FORMAT)}
    return AskedFormats(
        {choice: of_choice[choice] for choice in choices}, [name for name, found in recorded.items() if found is None]
    )


def _base_format(recorded: Iterable[str | None]) -> str:
    """Return the format of the base model, given the formats of the adapters (None for unknown formats)."""
    known = {PROMPT_FORMATS[name].chat for name in recorded if name is not None}
    return CHAT.name if known == {True} else DEFAULT_FORMAT


def own_format(adapter: Path) -> str | None:
    """Return the prompt format that an adapter was trained on, or None if the folder has no training manifest.

    Raises InvalidInputError if the manifest cannot be read or names an unknown format, or if the adapter is a verifier.
    """
    manifest = AdapterFolder(adapter).read_manifest()
    if manifest is None:
        return None
    if manifest.prompt_format not in PROMPT_FORMATS:
        raise InvalidInputError(
            f"{PROMPT_FORMATS.unknown(manifest.prompt_format)}; install the package that registers it"
        )
    if PROMPT_FORMATS[manifest.prompt_format].judges_answers:
        raise InvalidInputError("it is a verifier, which answers no questions; give it as --verifier")
    return manifest.prompt_format
