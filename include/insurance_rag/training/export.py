"""Merge an adapter into 16-bit weights, for servers that do not support adapters and for conversion to other formats.

An adapter that was trained on a 4-bit base model is merged into the dequantized 4-bit weights. Two alternatives are
worse. A merge into the packed 4-bit weights would round away all but 0.2 % of a small adapter. A merge into the
original 16-bit weights would be inaccurate: they differ by 9 % from the NF4 values that the adapter was trained on.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from insurance_rag.core.adapter_folder import AdapterFolder
from insurance_rag.core.artifact_store.locations import public_text, public_uri
from insurance_rag.core.artifacts import describe
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import new_folder, write_json
from insurance_rag.core.records import ExportArtifact, ExportManifest, TrainingManifest
from insurance_rag.models.base_model import load_base_model
from insurance_rag.models.devices import GIB
from insurance_rag.models.quantization import nf4_config
from insurance_rag.models.tokenizer import load_tokenizer
from insurance_rag.training.model_card import merged_model_card

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)


def export_adapter(adapter: Path, base_model: str, out: Path, max_shard_size: str = "4GB") -> ExportArtifact:
    """Merge the adapter into its base model and write a 16-bit model: safetensors files, tokenizer and model card.

    Raises InvalidInputError in four cases: `adapter` is not a finished adapter, it was trained on another base model,
    `out` has other files than an earlier export, or the disk has too little free space.
    """
    manifest = read_export_manifest(adapter, base_model)
    with new_export(adapter, manifest, out, merged_model_card(manifest)) as staging:
        parameters = merge_adapter(adapter, base_model, manifest, staging, max_shard_size)
    return describe(
        out,
        ExportArtifact,
        version=manifest.version,
        prompt_format=manifest.prompt_format,
        parameters=parameters,
        dtype="bfloat16",
        base_revision=manifest.base_revision,
    )


def merge_adapter(
    adapter: Path, base_model: str, manifest: TrainingManifest, folder: Path, max_shard_size: str = "4GB"
) -> int:
    """Write the merged 16-bit model and its tokenizer into a folder. Return the number of parameters.

    Raises InvalidInputError if the disk has too little free space.
    """
    from peft import PeftModel

    model = _load_trained_base(base_model, manifest)
    _check_disk(model, folder.parent)
    merged = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    merged.save_pretrained(folder, max_shard_size=max_shard_size)
    load_tokenizer(str(adapter)).save_pretrained(folder)
    return int(merged.num_parameters())


@contextmanager
def new_export(adapter: Path, manifest: TrainingManifest, out: Path, model_card: str) -> Iterator[Path]:
    """Yield a folder to write an export into. It then replaces `out`, which never holds an incomplete export.

    Raises InvalidInputError if `out` exists and is not an earlier export.
    """
    if out.exists() and not (out / "export.json").is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise InvalidInputError(f"--out {out}: exists and is not an export; choose a new folder")
    with new_folder(out) as staging:
        yield staging
        (staging / "README.md").write_text(model_card, encoding="utf-8")
        export = ExportManifest(adapter=public_uri(adapter), training=manifest)
        write_json(staging / "export.json", export.model_dump(mode="json"))
        shutil.rmtree(out, ignore_errors=True)


def require_manifest(adapter: Path) -> TrainingManifest:
    """Return the adapter's manifest. Raises InvalidInputError if it has none."""
    manifest = AdapterFolder(adapter).read_manifest()
    if manifest is None:
        raise InvalidInputError(
            f"--adapter {adapter}: no training.json; give a folder that `insurance-rag train` wrote"
        )
    return manifest


def read_export_manifest(adapter: Path, base_model: str) -> TrainingManifest:
    """Return the adapter's manifest. Raises InvalidInputError if it has none or was trained on another base model."""
    manifest = require_manifest(adapter)
    if manifest.base_model != public_text(base_model):
        raise InvalidInputError(
            f"--base-model {base_model}: the adapter was trained on {manifest.base_model}; give that base model"
        )
    return manifest


def _load_trained_base(base_model: str, manifest: TrainingManifest) -> PreTrainedModel:
    """Load the base model in bf16 with exactly the weights that the adapter was trained on."""
    import torch

    quantization = None
    if manifest.quantization == "nf4":
        # The adapter compensates for quantization errors, so use the same double quantization setting as in training.
        quantization = nf4_config(torch.bfloat16, double_quantization=manifest.plan.double_quantization)
    model = load_base_model(base_model, torch.bfloat16, revision=manifest.base_revision, quantization=quantization)
    return model.dequantize(torch.bfloat16) if quantization is not None else model


def _check_disk(model: PreTrainedModel, folder: Path) -> None:
    needed, free = 2 * model.num_parameters() * 1.05, shutil.disk_usage(folder).free
    if free < needed:
        raise InvalidInputError(
            f"{folder}: {free / GIB:.1f} GiB free on this disk, but the merged model needs {needed / GIB:.1f} GiB; "
            "free some space, or choose another --out"
        )
