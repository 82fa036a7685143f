"""Train the adapters of bench/real_weights.py in parallel and compute their losses on held-out rows."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from pydantic import JsonValue

from insurance_rag.core.adapter_folder import AdapterFolder

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from insurance_rag.evaluation.backends.local.batched_lora import BatchedLora

VERSIONS = ("v1", "v2", "v3")
RECIPES = (*VERSIONS, "v3-rag")
"""Adapters to train. `v3-rag` is trained on the rows of v3, but in the prompt format of v2. The comparison with v2
shows the effect of the rows, and the comparison with v3 the effect of the format."""
SETTINGS: dict[str, JsonValue] = {
    "quantization": "none", "adapter_dtype": "fp32", "batch_size": 16, "per_device_train_batch_size": 8,
    "max_steps": None, "num_train_epochs": 4, "learning_rate": 5e-4, "warmup_steps": 0.05, "max_length": 1024,
    "logging_steps": 5, "eval_steps": 25, "eval_rows": 128, "save_steps": 1000, "report_to": [],
}  # fmt: skip
"""Settings that override those of the recipes. The base model is so small that 4-bit quantization is not worth the
loss of precision. The dataset is small enough for several epochs. A small model needs a higher learning rate than a
model with 8 billion parameters."""
FALLBACKS: tuple[dict[str, JsonValue], ...] = (
    {},
    {"use_liger_kernel": False},
    {"use_liger_kernel": False, "padding_free": False},
)
"""Additional settings for the first, second and third attempt at training. The second and third attempts turn off
kernels that may not run on the device."""
TRAINING_S = 300
"""Time limit for all training, in seconds since the start of the script. Training that takes longer is killed."""
LOSS_BATCH_ROWS = 32

STARTED = time.monotonic()


class EncodedRow(TypedDict):
    """A tokenized row. Tokens labeled -100 do not count toward the loss."""

    input_ids: list[int]
    labels: list[int]


def elapsed() -> float:
    """Return the seconds since the start of the script."""
    return time.monotonic() - STARTED


def say(text: str) -> None:
    """Print a line that begins with the seconds since the start of the script."""
    print(f"[{elapsed():6.1f} s] {text}", flush=True)


def train_all(base: Path, inputs: Path, work: Path, steps: int | None) -> dict[str, dict[str, JsonValue]]:
    """Train all adapters in parallel with the recipes and the trainer of the pipeline.

    Training runs in parallel, because training one adapter of such a small model leaves most of the GPU idle. Each
    adapter is trained in a separate process, because Liger changes transformers for the whole process. These changes
    must not affect the evaluation.

    Returns a training manifest for each version whose training succeeded. The manifest also contains the loss history
    and the fallback settings.
    """
    waiting, done = list(RECIPES), dict[str, dict[str, JsonValue]]()
    for number, fallback in enumerate(FALLBACKS):
        processes = {version: _start(version, base, inputs, work, number, steps) for version in waiting}
        for version, process in processes.items():
            code = _wait(process)
            manifest = AdapterFolder(work / version).read_manifest() if code == 0 else None
            if manifest is None:
                say(f"{version} with {fallback or 'the fast settings'}: exit {code}")
                print((work / f"{version}.log").read_text(errors="replace")[-1500:], flush=True)
                continue
            history = AdapterFolder(work / version).read_loss_history()
            done[version] = {
                **manifest.model_dump(mode="json"),
                "fallback": fallback,
                "loss_history": [row.model_dump(mode="json", exclude_none=True) for row in history],
            }
            figures = {"steps", "loss", "eval_loss", "tokens_per_s", "peak_gib", "seconds"}
            say(f"{version}: {manifest.model_dump(include=figures)}")
        waiting = [version for version in waiting if version not in done]
        if not waiting or elapsed() > TRAINING_S / 2:
            break
    return {version: done[version] for version in RECIPES if version in done}


def _start(
    version: str, base: Path, inputs: Path, work: Path, fallback: int, steps: int | None
) -> subprocess.Popen[bytes]:
    command: list[object] = [
        sys.executable,
        "-m",
        "bench.real_weights",
        "train",
        "--inputs",
        inputs,
        "--recipe",
        version,
    ]
    command += ["--base", base, "--out", work / version, "--fallback", fallback, "--steps", steps or 0]
    with (work / f"{version}.log").open("ab") as log:
        return subprocess.Popen([*map(str, command)], stdout=log, stderr=subprocess.STDOUT)


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Wait for a training process and return its exit code. Kills the process if it runs past TRAINING_S."""
    try:
        return process.wait(max(1.0, TRAINING_S - elapsed()))
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def train(name: str, dataset: Path, base: Path, out: Path, fallback: int, steps: int) -> None:
    """Train the adapter `name`, one of RECIPES, with the settings FALLBACKS[fallback].

    `steps` is the number of optimizer steps; 0 means complete training. A few steps are enough to test the script, and
    they use small batches.
    """
    from insurance_rag.training import load_recipe, train_adapter
    from insurance_rag.training.dataset_rows import training_file

    settings = SETTINGS | FALLBACKS[fallback]
    if steps:
        settings |= {"max_steps": steps, "eval_steps": steps, "logging_steps": 1, "batch_size": 2, "eval_rows": 4}
    logging.basicConfig(level=logging.INFO)
    recipe = load_recipe(name.removesuffix("-rag"), settings)
    heldout = None
    if name.endswith("-rag"):
        recipe = recipe.model_copy(update={"prompt_format": "rag"})
        heldout = dataset / "heldout.json"
        dataset = _in_rag_format(training_file(dataset, "merged"), out.parent / f"{name}.jsonl")
    train_adapter(recipe, dataset, str(base), out, heldout, recipe_name=name)


def _in_rag_format(rows: Path, target: Path) -> Path:
    """Write the rows of a training file to `target` with prompts in the format `rag`, and return `target`."""
    from insurance_rag.core.files import write_jsonl
    from insurance_rag.core.prompt_templates import RAG
    from insurance_rag.training.dataset_rows import read_rows

    read = ((row, RAG.prompt(row.instruction or "", row.input or "")) for row in read_rows(rows))
    write_jsonl(target, (row.model_copy(update={"prompt": prompt}).model_dump(mode="json") for row, prompt in read))
    return target


def heldout_losses(base: Path, adapters: Mapping[str, Path], dataset: Path, rows: int) -> dict[str, object]:
    """Return the mean loss per answer token on the first `rows` held-out rows.

    The result maps version -> model -> loss. For each version, the rows are in this version's prompt format. The
    additional key `rows` holds the number of rows.
    """
    import torch

    from insurance_rag.evaluation.backends.local.batched_lora import BatchedLora
    from insurance_rag.evaluation.backends.local.inference_model import load_inference_model
    from insurance_rag.models.tokenizer import load_training_tokenizer
    from insurance_rag.training import load_recipe
    from insurance_rag.training.dataset_rows import heldout_file, read_rows
    from insurance_rag.training.encoding import encode_rows

    model, _ = load_inference_model(str(base), "bf16" if torch.cuda.is_available() else "fp32")
    lora, tokenizer = BatchedLora(model, adapters), load_training_tokenizer(str(base))
    losses: dict[str, object] = {"rows": rows}
    for version in VERSIONS:
        config = load_recipe(version, SETTINGS)
        held = heldout_file(dataset, config.prompt_format)
        assert held is not None
        encoded = encode_rows(read_rows(held)[:rows], tokenizer, config).rows
        by_model = {
            name: round(mean_loss(model, lora, name, encoded, tokenizer.pad_token_id), 4)
            for name in ("Base", *adapters)
        }
        losses[version] = by_model
        say(f"held-out loss, prompt format of {version}: {by_model}")
    lora.remove()
    return losses


def mean_loss(model: PreTrainedModel, lora: BatchedLora, name: str, rows: Sequence[EncodedRow], pad: int) -> float:
    """Return the mean loss of the model or adapter `name` over all tokens that count toward the loss."""
    import torch
    from torch.nn.functional import cross_entropy

    total, count = 0.0, 0
    for start in range(0, len(rows), LOSS_BATCH_ROWS):
        batch = rows[start : start + LOSS_BATCH_ROWS]
        longest = max(len(row["input_ids"]) for row in batch)
        ids = torch.tensor(
            [r["input_ids"] + [pad] * (longest - len(r["input_ids"])) for r in batch], device=model.device
        )
        labels = torch.tensor([r["labels"] + [-100] * (longest - len(r["labels"])) for r in batch], device=model.device)
        lora.select([name] * len(batch))
        with torch.inference_mode():
            states = model.get_decoder()(input_ids=ids).last_hidden_state[:, :-1]
            learned = labels[:, 1:] != -100
            logits = model.get_output_embeddings()(states[learned]).float()
            total += float(cross_entropy(logits, labels[:, 1:][learned], reduction="sum"))
        count += int(learned.sum())
    return total / count
