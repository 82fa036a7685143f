"""Real NF4 + LoRA trainings of the small model: adapter folder, resumption, signals, out-of-memory, early stopping."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.training.conftest import QUICK

from insurance_rag.cli import main as cli
from insurance_rag.config import TrainingConfig
from insurance_rag.core.errors import GpuMemoryError, InterruptedRunError, InvalidInputError
from insurance_rag.training import export_adapter, load_recipe, train_adapter
from insurance_rag.training import trainer as trainer_module


def quick(**settings: Any) -> TrainingConfig:
    return load_recipe("smoke", {**QUICK, "max_length": 512, **settings})


def weights(adapter: Path) -> dict[str, torch.Tensor]:
    return load_file(adapter / "adapter_model.safetensors")


def same(a: Path, b: Path) -> bool:
    left, right = weights(a), weights(b)
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


@pytest.fixture(scope="module")
def straight(base_model: Path, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run from start to end, with dropout, so that resuming has to restore the random state too."""
    out = tmp_path_factory.mktemp("adapters") / "straight"
    train_adapter(quick(lora={"dropout": 0.1}), dataset, str(base_model), out)
    return out


def test_the_adapter_folder_is_complete(straight: Path, base_model: Path) -> None:
    names = {path.name for path in straight.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= names
    assert {"training.json", "loss_history.jsonl", "README.md"} <= names
    assert not {"checkpoints", ".staging", "training_args.bin"} & names
    manifest = json.loads((straight / "training.json").read_text())
    assert manifest["steps"] == 4 and manifest["eval_loss"] > 0 and manifest["tokens_per_s"] > 0
    assert manifest["settings"]["lora"]["dropout"] == 0.1 and manifest["dataset"]["rows"] == 16
    history = [json.loads(line) for line in (straight / "loss_history.jsonl").read_text().splitlines()]
    assert [row["step"] for row in history] == [1, 2, 3, 4]
    assert all("loss" in row and "learning_rate" in row for row in history) and "eval_loss" in history[1]
    config = json.loads((straight / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(base_model) and config["r"] == 16
    assert str(manifest["dataset"]["sha256"]) in (straight / "README.md").read_text()


def test_the_same_command_returns_the_finished_adapter(straight: Path, dataset: Path, base_model: Path) -> None:
    before = (straight / "training.json").stat().st_mtime_ns
    result = train_adapter(quick(lora={"dropout": 0.1}), dataset, str(base_model), straight)
    assert (straight / "training.json").stat().st_mtime_ns == before and result["steps"] == 4


def start(base_model: Path, dataset: Path, out: Path, **settings: Any) -> Any:
    """`insurance-rag train` in a process of its own, forked so that it need not import torch again."""
    sets = [f"--set={k}={v}" for k, v in {**QUICK, "max_length": 512, "lora.dropout": 0.1, **settings}.items()]
    paths = ["--dataset", str(dataset), "--base-model", str(base_model), "--out", str(out)]

    def body() -> None:
        with out.with_suffix(".err").open("w") as errors:
            os.dup2(errors.fileno(), 2)
            sys.stderr = errors
            code = cli.main(["train", "--recipe", "smoke", *paths, *sets])
        os._exit(code)

    process = multiprocessing.get_context("fork").Process(target=body)
    process.start()
    return process


def wait_for(path: Path, pattern: str, process: Any) -> None:
    deadline = time.monotonic() + 120
    while not list(path.glob(pattern)):
        assert process.is_alive() and time.monotonic() < deadline, path.with_suffix(".err").read_text()
        time.sleep(0.01)


def test_a_killed_run_resumes_to_the_very_same_weights(
    straight: Path, base_model: Path, dataset: Path, tmp_path: Path
) -> None:
    """kill -9 after the first checkpoint; the resumed adapter equals the straight one bit for bit (trap 2)."""
    out = tmp_path / "killed"
    process = start(base_model, dataset, out)
    wait_for(out, "checkpoints/*/checkpoint-2/complete.json", process)
    process.kill()
    process.join()
    assert not (out / "training.json").exists()  # nothing partial looks finished
    torn = next(out.glob("checkpoints/*")) / "checkpoint-3"
    torn.mkdir()  # a checkpoint that the kill cut off: it is passed over
    (torn / "adapter_model.safetensors").write_bytes(b"torn")
    result = train_adapter(quick(lora={"dropout": 0.1}), dataset, str(base_model), out)
    assert result["steps"] == 4 and same(straight, out)
    rows = [(out / "loss_history.jsonl").read_text(), (straight / "loss_history.jsonl").read_text()]
    losses = [[json.loads(line)["loss"] for line in text.splitlines()] for text in rows]
    assert losses[0] == losses[1]


def test_sigterm_saves_and_exits_3_and_the_same_command_goes_on(
    straight: Path, base_model: Path, dataset: Path, tmp_path: Path
) -> None:
    out = tmp_path / "stopped"
    process = start(base_model, dataset, out, save_every=1, max_steps=2000)
    wait_for(out, "checkpoints/*/checkpoint-1/complete.json", process)
    process.terminate()
    process.join(120)
    assert process.exitcode == 3
    assert "the same command goes on from there" in out.with_suffix(".err").read_text()
    steps = [int(p.parent.name.split("-")[1]) for p in out.glob("checkpoints/*/*/complete.json")]
    assert steps and max(steps) < 2000


def out_of_memory_over(limit: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Make every forward pass of more than `limit` rows fail as a full GPU does; returns the rows of each try."""
    tried: list[int] = []
    compute_loss = trainer_module.AdapterTrainer.compute_loss

    def full_above(self: Any, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        rows = trainer_module.count_rows(inputs)
        if model.training:
            tried.append(rows)
            if rows > limit:
                raise torch.OutOfMemoryError("CUDA out of memory")
        return compute_loss(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(trainer_module.AdapterTrainer, "compute_loss", full_above)
    return tried


@pytest.mark.parametrize("padding_free", [True, False])
def test_out_of_memory_halves_the_micro_batch_and_changes_nothing_else(
    base_model: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, padding_free: bool
) -> None:
    settings = quick(max_steps=2, batch_size=8, micro_batch=4, eval_every=None, padding_free=padding_free)
    train_adapter(settings, dataset, str(base_model), tmp_path / "roomy")
    tried = out_of_memory_over(1, monkeypatch)
    train_adapter(settings, dataset, str(base_model), tmp_path / "tight")
    assert tried[:3] == [4, 2, 1] and set(tried[3:]) == {1}
    assert json.loads((tmp_path / "tight" / "training.json").read_text())["micro_batch_pieces"] == 4
    a, b = weights(tmp_path / "roomy"), weights(tmp_path / "tight")
    assert max(float((a[k] - b[k]).abs().max()) for k in a) < 1e-4  # sums in another order


def test_out_of_memory_with_one_row_says_what_to_change(
    base_model: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out_of_memory_over(0, monkeypatch)
    with pytest.raises(GpuMemoryError, match="memory=8GB or a shorter max_length"):
        train_adapter(quick(), dataset, str(base_model), tmp_path / "a")


def test_early_stopping_keeps_the_best_adapter(base_model: Path, dataset: Path, tmp_path: Path) -> None:
    """With a rate that destroys the adapter the held-out loss rises, and the run ends before its steps are up."""
    settings = quick(early_stopping=1, max_steps=30, eval_every=1, save_every=1, learning_rate=0.5, warmup=0)
    result = train_adapter(settings, dataset, str(base_model), tmp_path / "a")
    history = [json.loads(line) for line in (tmp_path / "a" / "loss_history.jsonl").read_text().splitlines()]
    assert result["steps"] < 30
    assert result["eval_loss"] == pytest.approx(
        min(row["eval_loss"] for row in history if "eval_loss" in row), abs=1e-3
    )


def test_tensorboard_is_written_beside_the_adapter(base_model: Path, dataset: Path, tmp_path: Path) -> None:
    train_adapter(quick(max_steps=1, report_to=["tensorboard"]), dataset, str(base_model), tmp_path / "a")
    assert list((tmp_path / "a" / "logs").glob("events.out.tfevents.*"))


def test_another_dataset_starts_afresh_and_replaces_the_adapter_only_when_done(
    base_model: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a"
    train_adapter(quick(max_steps=1), dataset, str(base_model), out)
    before = weights(out)
    with monkeypatch.context() as patch, pytest.raises(GpuMemoryError):
        out_of_memory_over(0, patch)
        train_adapter(quick(max_steps=1, seed=7), dataset, str(base_model), out)
    assert all(
        torch.equal(before[k], v) for k, v in weights(out).items()
    )  # the old one stands until the new one is done
    train_adapter(quick(max_steps=1, seed=7), dataset, str(base_model), out)
    assert json.loads((out / "training.json").read_text())["settings"]["seed"] == 7


def test_a_signal_without_main_thread_is_no_error(base_model: Path, dataset: Path, tmp_path: Path) -> None:
    import threading

    from insurance_rag.training.callbacks import stop_on_signals

    def body() -> None:
        with stop_on_signals() as stop:
            assert not stop.is_set()

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    with stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(5)
    assert issubclass(InterruptedRunError, Exception)


def test_export_equals_base_plus_adapter(straight: Path, base_model: Path, tmp_path: Path) -> None:
    """Merged into the dequantised base it says what base + adapter say; merged into NF4 it would not (trap 3)."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    from insurance_rag.training.model import forbid_cpu_repacking

    strong = tmp_path / "strong"
    strong.mkdir()
    for path in straight.iterdir():
        (strong / path.name).write_bytes(path.read_bytes())
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(0)
    noisy = {k: v + 0.05 * torch.randn(v.shape, generator=generator) for k, v in weights(straight).items()}
    save_file(noisy, strong / "adapter_model.safetensors", {"format": "pt"})
    export_adapter(strong, str(base_model), tmp_path / "merged")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "merged")
    ids = tokenizer("제1조(목적) 이 보험계약은", return_tensors="pt")["input_ids"]
    quantization = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32,
        bnb_4bit_use_double_quant=json.loads((straight / "training.json").read_text())["plan"]["double_quantization"],
    )  # fmt: skip
    base = AutoModelForCausalLM.from_pretrained(base_model, quantization_config=quantization, dtype=torch.float32)
    forbid_cpu_repacking(base)
    attached = PeftModel.from_pretrained(base, strong).eval()
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32).eval()
    with torch.no_grad():
        wanted, got = attached(ids).logits, merged(ids).logits
        with attached.disable_adapter():
            without = attached(ids).logits
    assert (got - wanted).norm() < 0.15 * (without - wanted).norm()  # the rest is bfloat16's rounding
    card = (tmp_path / "merged" / "README.md").read_text()
    assert "needs no adapter" in card and "library_name: transformers" in card
    with pytest.raises(InvalidInputError, match="was trained on"):
        export_adapter(strong, "another/base", tmp_path / "x")
    with pytest.raises(InvalidInputError, match=r"no training\.json"):
        export_adapter(tmp_path, str(base_model), tmp_path / "x")
