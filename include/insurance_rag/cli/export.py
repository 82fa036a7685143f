"""Write an adapter, or the champion of a registry, in the form that a server needs.

merged     one 16-bit model: the adapter merged into its dequantized base model
vllm       a folder in OUT that vLLM's lora_filesystem_resolver loads by name
gguf       the merged model for llama.cpp
gguf-lora  the adapter alone for llama.cpp

gguf and gguf-lora need llama.cpp's converter (--llama-cpp or LLAMA_CPP).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import BaseModel

EXAMPLE = """insurance-rag export --adapter run/adapters/v2 --base-model run/base_model --out merged
  insurance-rag export --registry registry --format vllm --out /srv/adapters
  insurance-rag export --registry registry --format gguf --llama-cpp ~/llama.cpp --out gguf"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--adapter", type=Path, metavar="DIR", help="folder that `train` wrote")
    source.add_argument("--registry", type=Path, metavar="DIR", help="registry whose champion to export, after a check")
    parser.add_argument(
        "--base-model",
        metavar="NAME|DIR",
        help="base model that the adapter was trained on; with --format vllm, the model that the server is started "
        "with (default: the one in the manifest)",
    )
    parser.add_argument(
        "--format",
        choices=("merged", "vllm", "gguf", "gguf-lora"),
        default="merged",
        help="what to write (default: %(default)s)",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder to write to")
    parser.add_argument("--name", help="with --format vllm: model name (default: version and beginning of the hash)")
    parser.add_argument("--llama-cpp", type=Path, metavar="DIR", help="llama.cpp's source (default: $LLAMA_CPP)")
    parser.add_argument(
        "--outtype",
        choices=("f32", "f16", "bf16", "q8_0"),
        help="number type of the GGUF file (default: bf16; f32 for gguf-lora)",
    )


@dataclass(frozen=True)
class _Source:
    """The adapter to export."""

    folder: Path
    base_model: str
    prompt_format: str
    name: str | None


def run(args: argparse.Namespace) -> BaseModel:
    """Write the export and return the artifact that describes it. Raises InvalidInputError for invalid input."""
    source = _source(args)
    if args.format == "vllm":
        from insurance_rag.training.publish_lora import publish_lora

        return publish_lora(source.folder, source.base_model, args.out, source.prompt_format, source.name)
    base_model = _local_model(source.base_model)
    if args.format == "merged":
        from insurance_rag.training.export import export_adapter

        return export_adapter(source.folder, base_model, args.out)
    from insurance_rag.training.export_gguf import export_gguf, export_gguf_lora
    from insurance_rag.training.gguf_converter import find_llama_cpp

    llama_cpp = find_llama_cpp(args.llama_cpp)
    if args.format == "gguf":
        return export_gguf(source.folder, base_model, args.out, llama_cpp, args.outtype or "bf16")
    return export_gguf_lora(source.folder, base_model, args.out, llama_cpp, args.outtype or "f32")


def _local_model(base_model: str) -> str:
    """Return the folder of a base model that a manifest names by URI, fetched. Other names and paths remain."""
    from insurance_rag.core.artifact_store.locations import is_store_uri
    from insurance_rag.core.artifact_store.workspace import fetched

    return str(fetched(base_model)) if is_store_uri(base_model) else base_model


def _source(args: argparse.Namespace) -> _Source:
    """Return the adapter to export: the checked champion, or a folder with a manifest."""
    if args.registry:
        from insurance_rag.promotion.champions import show_champion

        champion = show_champion(args.registry)
        name = args.name or f"{champion.model}-{champion.sha256[:8]}"
        base_model = args.base_model or champion.base_model
        return _Source(Path(champion.folder), base_model, champion.prompt_format, name)
    from insurance_rag.training.export import require_manifest

    manifest = require_manifest(args.adapter)
    return _Source(args.adapter, args.base_model or manifest.base_model, manifest.prompt_format, args.name)
