"""Start training from the weights of an adapter that is already trained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from insurance_rag.config import LoraSettings, TrainingConfig
from insurance_rag.core.adapter_folder import AdapterFolder
from insurance_rag.core.artifact_store.locations import public_text
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.records import TrainingManifest
from insurance_rag.models.linear_layers import LinearLayers
from insurance_rag.training.target_modules import adapted_layers

if TYPE_CHECKING:
    from peft import PeftModel

#: Settings of `lora` that determine the shapes of the weights and how they change the base model's answers.
_SAME_LORA_SETTINGS = ("r", "alpha", "use_rslora", "use_dora")


def init_weights(config: TrainingConfig) -> list[Path]:
    """Return the weights file of the adapter to start with, or an empty list if training starts from the base model."""
    return [AdapterFolder(Path(config.init_adapter)).weights] if config.init_adapter else []


def init_recipe(config: TrainingConfig) -> str | None:
    """Return the fingerprint of the recipe of the adapter to start with. None if training starts from the base model.

    Raises InvalidInputError if the adapter's manifest cannot be read.
    """
    manifest = AdapterFolder(Path(config.init_adapter)).read_manifest() if config.init_adapter else None
    return manifest.recipe_fingerprint if manifest else None


def check_init_adapter(config: TrainingConfig, base_model: str, revision: str | None, layers: LinearLayers) -> None:
    """Check that the recipe's `init_adapter`, if there is one, fits the base model and the recipe.

    Raises an InvalidInputError that lists all differences, or that the folder does not contain a finished adapter.
    """
    if not config.init_adapter:
        return
    folder = AdapterFolder(Path(config.init_adapter))
    manifest = folder.read_manifest()
    if manifest is None or not folder.weights.is_file():
        raise InvalidInputError(
            f"init_adapter {folder.root}: not a finished adapter; give a folder that `insurance-rag train` wrote"
        )
    if problems := list(_differences(config, manifest, base_model, revision, layers)):
        raise InvalidInputError([f"init_adapter {folder.root}: {problem}" for problem in problems])


def _differences(
    config: TrainingConfig, manifest: TrainingManifest, base_model: str, revision: str | None, layers: LinearLayers
) -> Iterator[str]:
    """Yield a message for each difference that prevents the adapter's weights from being used."""
    identities = [(manifest.base_model, manifest.base_revision), (public_text(base_model), revision)]
    if identities[0] != identities[1]:
        bases = [f"{base} (revision {r})" if r else base for base, r in identities]
        yield f"was trained on {bases[0]}, not on {bases[1]}; train on the same base model"
    if manifest.prompt_format != config.prompt_format:
        yield (
            f"was trained on the prompt format {manifest.prompt_format}, but the recipe has {config.prompt_format}; "
            "give an adapter of the same format"
        )
    theirs, ours = LoraSettings.model_validate(manifest.settings["lora"]), config.lora
    for name in _SAME_LORA_SETTINGS:
        if getattr(theirs, name) != getattr(ours, name):
            value = getattr(theirs, name)
            yield f"has lora.{name}={value}, but the recipe has {getattr(ours, name)}; set lora.{name}={value}"
    if adapted_layers(layers, theirs.target_modules).keys() != adapted_layers(layers, ours.target_modules).keys():
        yield f"adapts lora.target_modules={_text(theirs)}, but the recipe {_text(ours)}; set the same in the recipe"


def _text(lora: LoraSettings) -> str:
    targets = lora.target_modules
    return targets if isinstance(targets, str) else ",".join(targets)


def load_init_weights(model: PeftModel, config: TrainingConfig) -> None:
    """Replace the weights of the model's new adapter by those of `init_adapter`, if the recipe names one."""
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    for path in init_weights(config):
        set_peft_model_state_dict(model, load_file(path))
