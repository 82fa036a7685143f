"""All problems at once, before the model is loaded, and nothing existing harmed."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.training import load_recipe, preflight, train_adapter
from insurance_rag.training.memory import Device

Usage = namedtuple("Usage", "total used free")


def problems(*args: object, **settings: object) -> str:
    recipe = load_recipe("smoke", {"max_length": 512, **settings})
    with pytest.raises(InvalidInputError) as error:
        train_adapter(recipe, *args)  # type: ignore[arg-type]
    return str(error.value)


def test_every_problem_is_listed(tmp_path: Path) -> None:
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps([{"prompt": "a"}]))
    found = problems(
        rows, str(tmp_path), tmp_path / "out", memory="24GB", fsdp=True, liger=True, report_to=["trackio", "mlflow"]
    )
    assert found.startswith("7 problems:")
    for part in (
        "row 1 has no completion", "holds no config.json", "memory=24GB but no CUDA device", "fsdp needs CUDA",
        "pip install trackio", "pip install mlflow", "pip install liger-kernel",
    ):  # fmt: skip
        assert part in found
    assert not (tmp_path / "out" / "training.json").exists()


def test_a_base_model_that_cannot_be_had_names_the_way_out(dataset: Path, tmp_path: Path) -> None:
    assert "check the name and the network" in problems(dataset, "no/such-model", tmp_path / "out")
    assert "cannot be read" in problems(tmp_path / "none.json", "no/such-model", tmp_path / "out")


def test_a_gated_base_model_asks_for_its_licence(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers

    def gated(*_: object, **__: object) -> None:
        raise OSError("You are trying to access a gated repo.\nMake sure to have access to it")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", gated)
    found = problems(dataset, "meta-llama/Meta-Llama-3-8B", tmp_path / "out")
    assert "accept its licence at https://huggingface.co/meta-llama/Meta-Llama-3-8B" in found


def test_the_folder_must_be_writable(dataset: Path, base_model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert "cannot be written" in problems(dataset, str(base_model), tmp_path / "file" / "out")
    assert (tmp_path / "file").read_text() == "mine"


def test_rows_that_are_all_too_long_and_a_limit_over_the_models(
    dataset: Path, base_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert "all 16 rows are over 20 tokens" in problems(dataset, str(base_model), tmp_path / "out", max_length=20)
    assert "left out whole; no answer is cut" in caplog.text
    assert "over the base model's 512 positions" in problems(
        dataset, str(base_model), tmp_path / "out", max_length=4096
    )


def test_a_full_disk_is_seen_before_the_training(
    dataset: Path, base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(100, 99, 1))
    assert "free on this disk, checkpoints and adapter want" in problems(dataset, str(base_model), tmp_path / "out")


def test_a_card_that_is_too_small_or_too_old(
    dataset: Path, base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from insurance_rag.training import model

    monkeypatch.setattr(model, "find_device", lambda: Device("cuda", "T4", 0.001, (7, 5)))
    assert "T4 has compute capability 7.5; bf16 wants 8.0" in problems(dataset, str(base_model), tmp_path / "out")
    found = problems(dataset, str(base_model), tmp_path / "out", compute="fp32")
    assert "T4 has 0.0 GiB free, and this layout wants about" in found
    monkeypatch.setattr(model, "find_device", lambda: Device("cpu", "CPU", 8.0, count=3))
    assert "cannot be shared by 3 processes" in problems(dataset, str(base_model), tmp_path / "out")


def test_a_tight_card_is_only_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    from types import SimpleNamespace

    plan, device = SimpleNamespace(estimate_gib=9.5), Device("cuda", "L4", 10.0, (8, 9))
    assert preflight._memory_problems(plan, device) == []  # type: ignore[arg-type]
    assert "close to all that is free" in caplog.text
