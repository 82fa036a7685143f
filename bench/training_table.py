"""The table of the training benchmark, with the duration of a full training run and the utilization of the GPU."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from bench.training_configurations import RUNS
from bench.training_runs import MEASURED_ROWS, Result
from bench.training_weights import EPOCHS, Machine, make_rows, model_config

DATASHEET_TFLOPS = 989.0
"""Peak TFLOP/s of an H100 SXM for bf16 without sparsity."""
ANSWER_SHARE = 0.12
"""Fraction of the tokens that belong to answers. With completion-only loss, the output head processes only these."""
COLUMNS = (
    "configuration", "tokens/s", "median step", "x reference v3", "minutes", "peak GiB", "of the steps", "estimate",
    "start s", "MFU", "of the matmul", "layout",
)  # fmt: skip


def write_table(out: Path, machine: Machine, results: Mapping[str, Result]) -> None:
    """Set `minutes` and `mfu` in each result, then write training.json and training.md to `out`."""
    total_tokens = sum(len(row["input_ids"]) for row in make_rows(tiny=False)) * EPOCHS
    lines = [
        f"{machine.device}, torch {machine.torch}, bf16 matrix multiplication {machine.matmul_tflops or '-'} TFLOP/s;"
        f" {total_tokens / 1e6:.2f} M tokens in {EPOCHS} epochs.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|" + "---|" * len(COLUMNS),
    ]
    reference = results["reference v3"].tokens_per_s if "reference v3" in results else 0
    for name, result in results.items():
        if result.error:
            cells = [name, result.error] + [""] * (len(COLUMNS) - 2)
        else:
            cells = _cells(name, result, machine, total_tokens, reference)
        lines.append(f"| {' | '.join(cells)} |")
    (out / "training.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    document = {
        "machine": machine.model_dump(),
        "runs": {name: result.model_dump(exclude_defaults=True) for name, result in results.items()},
    }
    (out / "training.json").write_text(json.dumps(document, indent=1), encoding="utf-8")


def _cells(name: str, result: Result, machine: Machine, total_tokens: int, reference: int) -> list[str]:
    tflops = result.tokens_per_s * flops_per_token(completion_only="reference" not in name) / 1e12
    tflops /= RUNS[name].processes
    result.minutes = round(total_tokens / result.tokens_per_s / 60, 1)
    result.mfu = round(tflops / DATASHEET_TFLOPS, 3)
    return [
        name,
        f"{result.tokens_per_s:,}",
        f"{result.tokens_per_s_median_step:,}",
        f"{result.tokens_per_s / reference:.2f}" if reference else "-",
        str(result.minutes),
        str(result.peak_gib),
        str(result.peak_gib_of_the_steps),
        "-" if result.estimate_gib is None else str(result.estimate_gib),
        str(result.start_s),
        f"{result.mfu:.0%}",
        f"{tflops / machine.matmul_tflops:.0%}" if machine.matmul_tflops else "-",
        result.layout,
    ]


def flops_per_token(*, completion_only: bool) -> float:
    """Return the floating-point operations that training needs per token, not counting recomputation.

    A frozen parameter needs 4 operations: 2 in the forward pass and 2 for the gradient of the activations. The gradient
    of the parameter is not computed. The forward and backward passes of attention together need 3.5 times as many
    operations as the forward pass alone.
    """
    c = model_config(tiny=False)
    lengths = [len(row["input_ids"]) for row in make_rows(tiny=False, n=MEASURED_ROWS)]
    head_width = c.hidden_size // c.num_attention_heads
    per_layer = c.hidden_size * (2 * c.hidden_size + 2 * c.num_key_value_heads * head_width + 3 * c.intermediate_size)
    head = c.vocab_size * c.hidden_size * (ANSWER_SHARE if completion_only else 1.0)
    mean_context = sum(n * n / 2 for n in lengths) / sum(lengths)
    attention = 2 * 2 * mean_context * c.hidden_size * c.num_hidden_layers * 3.5
    return 4.0 * (c.num_hidden_layers * per_layer + head) + attention
