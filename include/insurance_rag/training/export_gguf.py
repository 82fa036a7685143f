"""Export an adapter as GGUF for llama.cpp: merged into its base model, or alone, to be attached with `--lora`."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from insurance_rag.core.artifact_store.locations import public_uri
from insurance_rag.core.artifacts import describe
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json, write_json
from insurance_rag.core.records import ExportManifest, TrainingManifest
from insurance_rag.core.records.artifacts import Artifact
from insurance_rag.training.export import check_output_folder, export_adapter, read_export_manifest
from insurance_rag.training.gguf_converter import convert_lora, convert_model
from insurance_rag.training.model_card import gguf_model_card
from insurance_rag.training.peft_config import read_peft_config

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

    def convert(staging: Path) -> None:
        merged = staging / "merged"
        export_adapter(adapter, base_model, merged)
        convert_model(llama_cpp, merged, staging / MODEL_FILE, outtype)
        shutil.rmtree(merged)

    return _export(adapter, base_model, out, "gguf", outtype, convert)


def export_gguf_lora(adapter: Path, base_model: str, out: Path, llama_cpp: Path, outtype: str = "f32") -> GgufExport:
    """Write the adapter as `out`/adapter.gguf. Raises InvalidInputError if it is more than a plain LoRA adapter.

    llama.cpp scales every adapter by alpha / r. The alpha of a rank-stabilized adapter is therefore changed.
    """
    config = read_peft_config(adapter)
    if config.extras:
        raise InvalidInputError(
            f"{adapter}: llama.cpp cannot attach an adapter with {' and '.join(config.extras)}; use --format gguf"
        )

    def convert(staging: Path) -> None:
        with tempfile.TemporaryDirectory(dir=staging) as plain:
            shutil.copyfile(adapter / "adapter_model.safetensors", Path(plain, "adapter_model.safetensors"))
            changed = {"use_rslora": False, "lora_alpha": config.scale * config.r}
            write_json(Path(plain, "adapter_config.json"), read_json(adapter / "adapter_config.json") | changed)
            convert_lora(llama_cpp, Path(plain), base_model, staging / ADAPTER_FILE, outtype)

    return _export(adapter, base_model, out, "gguf-lora", outtype, convert)


def _export(
    adapter: Path, base_model: str, out: Path, kind: GgufFormat, outtype: str, convert: Callable[[Path], None]
) -> GgufExport:
    """Write the folder `out`, which appears complete or not at all. `convert` writes the GGUF file into a folder."""
    manifest: TrainingManifest = read_export_manifest(adapter, base_model)
    check_output_folder(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    file = MODEL_FILE if kind == "gguf" else ADAPTER_FILE
    serve = f"llama-server -m {file}" if kind == "gguf" else f"llama-server -m BASE.gguf --lora {file}"
    try:
        convert(staging)
        (staging / "README.md").write_text(gguf_model_card(manifest, serve), encoding="utf-8")
        export = ExportManifest(adapter=public_uri(adapter), training=manifest)
        write_json(staging / "export.json", export.model_dump(mode="json"))
        staging.chmod(0o755)
        shutil.rmtree(out, ignore_errors=True)
        staging.rename(out)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return describe(
        out,
        GgufExport,
        format=kind,
        file=file,
        prompt_format=manifest.prompt_format,
        outtype=outtype,
        serve=serve,
    )
