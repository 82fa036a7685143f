"""Names of the folders in a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from insurance_rag.core.run_folder import RunFolder


@pytest.mark.parametrize(
    ("base_model", "names"),
    [
        (
            "beomi/Llama-3-Open-Ko-8B",
            ["llama-3-ko-insurance-lora", "llama-3-ko-insurance-lora-v2", "llama-3-ko-insurance-lora-v3"],
        ),
        ("demo", ["demo-insurance-lora", "demo-insurance-lora-v2", "demo-insurance-lora-v3"]),
        (
            "Qwen/Qwen2.5-7B",
            ["qwen2.5-7b-insurance-lora", "qwen2.5-7b-insurance-lora-v2", "qwen2.5-7b-insurance-lora-v3"],
        ),
        ("/models/my model/", ["my-model-insurance-lora", "my-model-insurance-lora-v2", "my-model-insurance-lora-v3"]),
        ("..", ["base-insurance-lora", "base-insurance-lora-v2", "base-insurance-lora-v3"]),
    ],
)
def test_adapters_are_named_after_their_base_model(tmp_path: Path, base_model: str, names: list[str]) -> None:
    run = RunFolder(tmp_path / "run")
    assert [run.adapter(version, base_model) for version in ("v1", "v2", "v3")] == [run.adapters / n for n in names]
