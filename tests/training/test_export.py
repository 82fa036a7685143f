"""The merged model gives the answers of base model and adapter."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import save_file
from tests.training.conftest import manifest_of, quick, weights
from transformers import AutoModelForCausalLM, AutoTokenizer

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json
from insurance_rag.core.records import ExportManifest
from insurance_rag.models.base_model import load_base_model
from insurance_rag.models.quantization import nf4_config
from insurance_rag.training import export_adapter, train_adapter


@pytest.fixture(
    scope="module", params=[{}, {"use_rslora": True}, {"use_dora": True, "target_modules": "v_proj,up_proj"}]
)
def strong(
    request: pytest.FixtureRequest, base_model: Path, dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return an adapter with larger weights, so that its effect is well above rounding errors."""
    out = tmp_path_factory.mktemp("adapters") / "strong"
    train_adapter(quick(max_steps=1, eval_rows=1, lora=request.param), dataset, str(base_model), out)
    generator = torch.Generator().manual_seed(0)
    noisy = {k: v + 0.05 * torch.randn(v.shape, generator=generator) for k, v in weights(out).items()}
    save_file(noisy, out / "adapter_model.safetensors", {"format": "pt"})
    return out


def test_export_equals_base_plus_adapter(strong: Path, base_model: Path, tmp_path: Path) -> None:
    """The adapter is merged into the dequantized weights; merged into NF4 it would be rounded away."""
    result = export_adapter(strong, str(base_model), tmp_path / "merged")
    assert (result.version, result.prompt_format, result.dtype) == ("v2", "rag", "bfloat16")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "merged")
    ids = tokenizer("제1조(목적) 이 보험계약은", return_tensors="pt")["input_ids"]
    quantization = nf4_config(torch.float32, double_quantization=manifest_of(strong).plan.double_quantization)
    base = load_base_model(str(base_model), torch.float32, quantization=quantization)
    attached = PeftModel.from_pretrained(base, strong).eval()
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32).eval()
    with torch.no_grad():
        expected, exported = attached(ids).logits, merged(ids).logits
        with attached.disable_adapter():
            without = attached(ids).logits
    assert (exported - expected).norm() < 0.05 * (without - expected).norm()  # the rest is the rounding of bfloat16
    card = (tmp_path / "merged" / "README.md").read_text()
    assert "needs no adapter" in card and "library_name: transformers" in card
    manifest = ExportManifest.model_validate(read_json(tmp_path / "merged" / "export.json"))
    assert manifest.training == manifest_of(strong)


def test_another_base_model_is_rejected(straight: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="was trained on"):
        export_adapter(straight, "another/base", tmp_path / "x")


def test_folder_without_manifest_is_rejected(base_model: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"no training\.json"):
        export_adapter(tmp_path, str(base_model), tmp_path / "x")
