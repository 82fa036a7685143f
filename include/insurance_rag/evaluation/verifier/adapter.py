"""Check that an adapter is a verifier for the base model, and read its calibration, before any model is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from insurance_rag.core.adapter_folder import AdapterFolder
from insurance_rag.core.artifact_store.locations import local_path
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.hashing import model_identity
from insurance_rag.core.prompt_templates import PROMPT_FORMATS
from insurance_rag.core.record_files import read_record
from insurance_rag.core.records import TrainingManifest
from insurance_rag.core.records.verifier import VerifierCalibration


def check_verifier(adapter: Path, base_model: str) -> TrainingManifest:
    """Return the training manifest of a verifier.

    Raises InvalidInputError if the folder is not a finished adapter, or if the adapter is not a verifier. Also raises
    it if the adapter was trained on another base model, or is of a kind that cannot be attached.
    """
    folder = AdapterFolder(adapter)
    manifest = folder.read_manifest()
    if manifest is None or not folder.weights.is_file():
        raise InvalidInputError(
            f"verifier {adapter}: not a finished adapter; train one with `insurance-rag train --recipe verifier`"
        )
    form = PROMPT_FORMATS.entries.get(manifest.prompt_format)
    if form is None or not form.judges_answers:
        raise InvalidInputError(
            f"verifier {adapter}: not a verifier, it was trained on the prompt format {manifest.prompt_format}; "
            "give an adapter that was trained with `insurance-rag train --recipe verifier`"
        )
    if problems := list(_base_problems(adapter, manifest, base_model)):
        raise InvalidInputError([f"verifier {adapter}: {problem}" for problem in problems])
    return manifest


def _base_problems(adapter: Path, manifest: TrainingManifest, base_model: str) -> Iterator[str]:
    """Yield why the adapter cannot be attached to the base model."""
    from insurance_rag.evaluation.backends.local.adapter_weights import adapter_problem, read_adapter
    from insurance_rag.models.base_model import load_model_config
    from insurance_rag.models.linear_layers import linear_layers

    if problem := adapter_problem(adapter):
        yield f"cannot be attached: {problem}"
        return
    # A folder may have been moved or be a copy of a Hugging Face model, so its path is not compared.
    trained_on = local_path(manifest.base_model)
    folders = trained_on.is_dir(), Path(base_model).is_dir()
    names_differ = not trained_on.is_absolute() and not folders[1] and manifest.base_model != base_model
    if names_differ or (all(folders) and model_identity(str(trained_on)) != model_identity(base_model)):
        yield f"was trained on {manifest.base_model}, not on {base_model}; give the same base model"
        return
    layers = linear_layers(load_model_config(base_model, manifest.base_revision))
    for name, weights in read_adapter(adapter).items():
        if layers.get(name) != (weights.a.shape[1], weights.b.shape[0]):
            yield f"its layer {name} does not fit {base_model}; give the base model that it was trained on"
            return


def read_calibration(adapter: Path) -> VerifierCalibration:
    """Read verifier.json. Raises InvalidInputError if it is missing or damaged."""
    path = AdapterFolder(adapter).verifier
    if not path.is_file():
        raise InvalidInputError(
            f"verifier {adapter}: has no {path.name}; calibrate it with "
            f"`insurance-rag verifier --adapter {adapter} --dataset DIR --base-model MODEL`"
        )
    return read_record(path, VerifierCalibration, "a calibration", "run `insurance-rag verifier` again")
