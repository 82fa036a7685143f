"""Export an adapter as GGUF for llama.cpp: merged into its base model, or alone, to be attached with `--lora`."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Literal

from insurance_rag.core.adapter_folder import AdapterFolder
from insurance_rag.core.artifacts import describe
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json, write_json
from insurance_rag.core.records import TrainingManifest
from insurance_rag.core.records.artifacts import Artifact
from insurance_rag.training.export import merge_adapter, new_export, read_export_manifest
from insurance_rag.training.gguf_converter import convert_lora, convert_model
from insurance_rag.training.model_card import gguf_model_card
from insurance_rag.training.peft_config import read_lora_settings

GgufFormat = Literal["gguf", "gguf-lora"]
MODEL_FILE = "model.gguf"
ADAPTER_FILE = "adapter.gguf"


class GgufExport(Artifact):
    """Folder with a GGUF file."""

    format: GgufFormat
    file: str
    """Name of the GGUF file in the folder."""
    prompt_format: str
    """Prompt format in which the model must be asked."""
    outtype: str
    """Number type of the weights."""
    serve: str
    """Command that starts a server."""


def export_gguf(adapter: Path, base_model: str, out: Path, llama_cpp: Path, outtype: str = "bf16") -> GgufExport:
    """Merge the adapter into its base model and write `out`/model.gguf. See `export_adapter` for the errors."""
    manifest, serve = read_export_manifest(adapter, base_model), f"llama-server -m {MODEL_FILE}"
    with (
        new_export(adapter, manifest, out, gguf_model_card(manifest, serve)) as staging,
        tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as merged,
    ):
        merge_adapter(adapter, base_model, manifest, Path(merged))
        convert_model(llama_cpp, Path(merged), staging / MODEL_FILE, outtype)
    return _artifact(out, manifest, "gguf", outtype, serve)


def export_gguf_lora(adapter: Path, base_model: str, out: Path, llama_cpp: Path, outtype: str = "f32") -> GgufExport:
    """Write the adapter as `out`/adapter.gguf. Raises InvalidInputError if it is more than a plain LoRA adapter.

    llama.cpp scales every adapter by alpha / r. The alpha of a rank-stabilized adapter is therefore changed.
    """
    config = read_lora_settings(adapter)
    if config.extras:
        raise InvalidInputError(
            f"{adapter}: llama.cpp cannot attach an adapter with {' and '.join(config.extras)}; use --format gguf"
        )
    manifest, serve = read_export_manifest(adapter, base_model), f"llama-server -m BASE.gguf --lora {ADAPTER_FILE}"
    with (
        new_export(adapter, manifest, out, gguf_model_card(manifest, serve)) as staging,
        tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder,
    ):
        source, plain = AdapterFolder(adapter), AdapterFolder(Path(folder))
        shutil.copyfile(source.weights, plain.weights)
        changed = {"use_rslora": False, "lora_alpha": config.scale * config.r}
        write_json(plain.peft_config, read_json(source.peft_config) | changed)
        convert_lora(llama_cpp, plain.root, base_model, staging / ADAPTER_FILE, outtype)
    return _artifact(out, manifest, "gguf-lora", outtype, serve)


def _artifact(out: Path, manifest: TrainingManifest, kind: GgufFormat, outtype: str, serve: str) -> GgufExport:
    return describe(
        out,
        GgufExport,
        format=kind,
        file=MODEL_FILE if kind == "gguf" else ADAPTER_FILE,
        prompt_format=manifest.prompt_format,
        outtype=outtype,
        serve=serve,
    )
