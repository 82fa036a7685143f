"""All problems are reported together, before the model is loaded, and existing files are not changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.fakes.training_manifest import PLAN

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.models import devices
from insurance_rag.models.devices import Device
from insurance_rag.training import checks, load_recipe, train_adapter
from insurance_rag.training.preflight import prepare_training


class DiskUsage(NamedTuple):
    total: int
    used: int
    free: int


def problems(dataset: Path, base_model: str, out: Path, **settings: object) -> str:
    """Return the message of the error that a training with these settings raises."""
    recipe = load_recipe("smoke", {"max_length": 512, **settings})
    with pytest.raises(InvalidInputError) as error:
        train_adapter(recipe, dataset, base_model, out)
    return str(error.value)


def test_every_problem_is_listed(tmp_path: Path) -> None:
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps([{"prompt": "a"}]))
    found = problems(
        rows,
        str(tmp_path),
        tmp_path / "out",
        memory_preset="24GB",
        fsdp=True,
        use_liger_kernel=True,
        report_to=["trackio", "mlflow"],
    )
    assert found.startswith("7 problems:")
    for part in (
        "row 1 has no completion", "holds no config.json", "memory_preset=24GB, but no CUDA device", "fsdp needs CUDA",
        "pip install trackio", "pip install mlflow", "pip install liger-kernel",
    ):  # fmt: skip
        assert part in found
    assert not (tmp_path / "out" / "training.json").exists()


def test_unavailable_base_model(dataset: Path, tmp_path: Path) -> None:
    assert "check the name and the network" in problems(dataset, "no/such-model", tmp_path / "out")
    assert "cannot be read" in problems(tmp_path / "none.json", "no/such-model", tmp_path / "out")


def test_gated_base_model_needs_its_license(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    def raise_gated(*_: object, **__: object) -> None:
        raise OSError("You are trying to access a gated repo.\nMake sure to have access to it")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", raise_gated)
    found = problems(dataset, "meta-llama/Meta-Llama-3-8B", tmp_path / "out")
    assert "accept its license at https://huggingface.co/meta-llama/Meta-Llama-3-8B" in found


def test_folder_must_be_writable(dataset: Path, base_model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert "cannot be written" in problems(dataset, str(base_model), tmp_path / "file" / "out")
    assert (tmp_path / "file").read_text() == "mine"


def test_length_limit_below_all_rows_or_over_the_model(
    dataset: Path, base_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert "all 16 rows are over 20 tokens" in problems(dataset, str(base_model), tmp_path / "out", max_length=20)
    assert "because they are longer than 20 tokens; answers are never cut" in caplog.text
    assert "over the 512 positions of the base model" in problems(
        dataset, str(base_model), tmp_path / "out", max_length=4096
    )


def test_full_disk(dataset: Path, base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: DiskUsage(100, 99, 1))
    assert "free on this disk, but checkpoints and adapter need" in problems(dataset, str(base_model), tmp_path / "out")


def test_gpu_that_is_too_small_or_too_old(
    dataset: Path, base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "find_device", lambda: Device("cuda", "T4", 0.001, (7, 5)))
    assert "T4 has compute capability 7.5, but bf16 needs 8.0" in problems(dataset, str(base_model), tmp_path / "out")
    found = problems(
        dataset,
        str(base_model),
        tmp_path / "out",
        compute_dtype="fp32",
        compute="fp8",
        lora={"use_dora": True, "target_modules": "v_proj"},
    )
    assert "compute=fp8 needs a GPU with compute capability 8.9 or higher, but T4 has 7.5" in found
    assert "compute=fp8 does not keep the weights in NF4 that DoRA measures" in found
    found = problems(dataset, str(base_model), tmp_path / "out", compute_dtype="fp32")
    assert "T4 has 0.0 GiB free, but this layout needs about" in found and "even short rows do not fit" in found
    found = problems(
        dataset, str(base_model), tmp_path / "out", compute="cached", torch_compile=True, prepare_for_kbit_training=True
    )
    assert "compute=cached does not work with fsdp or prepare_for_kbit_training" in found
    assert "torch_compile=True does not work" in found and "host_embeddings" not in found


def test_target_modules_that_the_base_model_lacks(dataset: Path, base_model: Path, tmp_path: Path) -> None:
    found = problems(dataset, str(base_model), tmp_path / "out", lora={"target_modules": "q_proj,query,lm_head"})
    assert found.startswith("2 problems:")
    assert "no linear layer 'query'" in found and "no linear layer 'lm_head'" in found and "down_proj" in found


def test_run_shorter_than_an_epoch_is_a_warning(
    dataset: Path, base_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def prepare(**settings: object) -> None:
        prepare_training(
            load_recipe("smoke", {"max_length": 512, **settings}), dataset, str(base_model), tmp_path / "a"
        )

    prepare(max_steps=2, batch_size=8)
    assert "epochs of" not in caplog.text
    prepare(max_steps=2, batch_size=4)
    assert "max_steps=2 with batch_size=4 covers 0.50 epochs of the 16 training rows" in caplog.text


def test_batch_that_processes_cannot_share(
    dataset: Path, base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "find_device", lambda: Device("cpu", "CPU", 8.0, count=3))
    assert "cannot be divided among 3 processes" in problems(dataset, str(base_model), tmp_path / "out")


def test_estimate_close_to_the_free_memory_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    plan, device = PLAN.model_copy(update={"estimate_gib": 9.5}), Device("cuda", "L4", 10.0, (8, 9))
    assert checks.memory_problems(plan, device, lambda: None) == []
    assert "close to the free memory" in caplog.text


def test_empty_heldout_file_only_forbids_early_stopping(base_model: Path, dataset: Path, tmp_path: Path) -> None:
    copy = tmp_path / "dataset"
    shutil.copytree(dataset, copy)
    (copy / "heldout.json").write_text("[]")
    recipe = load_recipe("smoke", {"max_length": 512})
    assert prepare_training(recipe, copy, str(base_model), tmp_path / "out").heldout.rows == []
    found = problems(copy, str(base_model), tmp_path / "out", early_stopping_patience=2)
    assert "early_stopping_patience needs held-out rows" in found
