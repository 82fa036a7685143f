"""Merge an adapter into 16-bit weights, for servers that take no adapters and for conversion to other formats.

The adapter was trained on the dequantised 4-bit weights, so it is merged into those. Merging into the 4-bit weights
themselves rounds most of the adapter away (0.2 % of a small one is kept), and the original weights are another model:
NF4 is 9 % off them.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

from insurance_rag.core.artifacts import artifact
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json, write_json
from insurance_rag.training.model_card import merged_card

log = logging.getLogger(__name__)


def export_adapter(adapter: Path, base_model: str, out: Path, max_shard_size: str = "4GB") -> dict[str, Any]:
    """Write base + adapter as one 16-bit model (safetensors in shards, tokenizer, card); returns `{uri, sha256, ...}`.

    Raises InvalidInputError where `adapter` is no finished adapter, its base is another one, or the disk is too small.
    """
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    from insurance_rag.training.model import forbid_cpu_repacking

    manifest = _manifest(adapter, base_model)
    quantization = None
    if manifest["settings"]["quantization"] == "nf4":
        # Exactly as it was trained, double quantisation and all: the adapter corrects this rounding.
        quantization = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=manifest["plan"]["double_quantization"],
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    model = AutoModelForCausalLM.from_pretrained(
        base_model,
        revision=manifest["base_revision"],
        dtype=torch.bfloat16,
        device_map={"": 0 if torch.cuda.is_available() else "cpu"},
        quantization_config=quantization,
    )
    if quantization:
        forbid_cpu_repacking(model)
        model = model.dequantize(torch.bfloat16)
    _check_disk(model, out)
    merged = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    staging = out.with_name(f".{out.name}.staging")
    shutil.rmtree(staging, ignore_errors=True)
    merged.save_pretrained(staging, max_shard_size=max_shard_size)
    AutoTokenizer.from_pretrained(adapter).save_pretrained(staging)
    (staging / "README.md").write_text(merged_card(manifest), encoding="utf-8")
    write_json(staging / "export.json", {"adapter": str(adapter.resolve()), **manifest})
    shutil.rmtree(out, ignore_errors=True)
    staging.rename(out)
    return artifact(out, parameters=merged.num_parameters(), dtype="bfloat16", base_revision=manifest["base_revision"])


def _manifest(adapter: Path, base_model: str) -> dict[str, Any]:
    path = adapter / "training.json"
    if not path.is_file():
        raise InvalidInputError(
            f"--adapter {adapter}: no training.json there; give the folder that `insurance-rag train` wrote"
        )
    manifest: dict[str, Any] = read_json(path)
    if manifest["base_model"] != base_model:
        raise InvalidInputError(
            f"--base-model {base_model}: the adapter was trained on {manifest['base_model']}; give that one"
        )
    return manifest


def _check_disk(model: Any, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    needed, free = 2 * model.num_parameters() * 1.05, shutil.disk_usage(out.parent).free
    if free < needed:
        raise InvalidInputError(
            f"{out}: {free / 2**30:.1f} GiB free on this disk, the merged model wants {needed / 2**30:.1f} GiB"
        )
