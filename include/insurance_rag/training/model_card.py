"""Compose the model cards for adapters and merged models."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml
from pydantic import JsonValue

from insurance_rag.config import TrainingConfig
from insurance_rag.config.training import LoraSettings
from insurance_rag.core.prompt_templates import PROMPT_FORMATS, read_messages
from insurance_rag.core.records import Decision, EvaluationSummary, TrainingManifest
from insurance_rag.core.records.statistics import Rate
from insurance_rag.models.chat_template import TEMPLATE_VARIABLES

#: Objective -> what the rows of the dataset are.
_ROWS = {
    "sft": "rows of Korean questions and answers",
    "dpo": "pairs of a better and a worse Korean answer (DPO)",
    "orpo": "pairs of a better and a worse Korean answer (ORPO)",
}
_SERVE_HEADING = "Serve base and adapters together:\n\n"


@dataclass(frozen=True)
class Evaluated:
    """An evaluation of the adapter, and the decision about it, for the card on the Hub."""

    summary: EvaluationSummary
    model: str
    """Name of the adapter in the evaluation."""
    decision: Decision
    dataset: str | None = None
    """Dataset on the Hub that the adapter was trained on."""


def adapter_card(manifest: TrainingManifest, evaluated: Evaluated | None = None) -> str:
    """Return the text of an adapter's README.md, including the front matter that the Hugging Face Hub reads.

    Its `model-index` has the held-out loss, and the rates of the evaluation if there is one.
    """
    config = TrainingConfig.model_validate(manifest.settings)
    base, lora = manifest.base_model, config.lora
    revision = f" at `{manifest.base_revision}`" if manifest.base_revision else ""
    figures = {
        "recipe": manifest.recipe,
        "seed": manifest.seed,
        **({"rows of a general dataset": manifest.replay.rows} if manifest.replay else {}),
        "optimizer steps": manifest.steps,
        "epochs": manifest.epochs,
        "training loss (mean)": manifest.loss,
        "held-out loss": manifest.eval_loss,
        **_preference_figures(manifest),
        "tokens/s": manifest.tokens_per_s,
        "peak memory, GiB": manifest.peak_gib,
        "seconds": manifest.seconds,
        "device": manifest.device,
    }
    lines = [
        "---",
        *yaml.safe_dump(_header(manifest, evaluated), allow_unicode=True, sort_keys=False).splitlines(),
        "---",
        "",
        f"# Insurance-policy assistant, adapter {manifest.version}",
        "",
        f"{_kind(lora)} for `{base}`{revision}. It was trained on",
        f"{manifest.dataset.rows} {_ROWS[config.objective]} about insurance policies (dataset SHA-256",
        f"`{manifest.dataset.sha256}`). Quantization of the base model: `{manifest.quantization}`.",
        "",
        *_prompt_section(manifest.prompt_format, manifest.version),
        "| metric | value |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in figures.items()),
        "",
        *(_evaluation_lines(evaluated) if evaluated else []),
        "Answers come from the context in the prompt and can be wrong: check them before a customer relies on them.",
        "",
        _SERVE_HEADING.rstrip(),
        "",
        _serve_command(lora, manifest),
        "",
        "All settings are in `training.json`.",
        "",
    ]
    return "\n".join(lines)


def _header(manifest: TrainingManifest, evaluated: Evaluated | None) -> dict[str, JsonValue]:
    """Return the front matter. The Hub accepts only names as `base_model`, so a local folder is left out."""
    base = manifest.base_model
    header: dict[str, JsonValue] = {"library_name": "peft"}
    if re.fullmatch(r"[\w.-]+/[\w.-]+", base):
        header["base_model"] = base
    header |= {"pipeline_tag": "text-generation", "language": "ko", "tags": ["qlora", "insurance", "rag"]}
    if evaluated and evaluated.dataset:
        header["datasets"] = [evaluated.dataset]
    name = f"{manifest.version}, recipe {manifest.recipe}, seed {manifest.seed}"
    results: list[JsonValue] = [
        {"task": {"type": "text-generation"}, "dataset": dataset, "metrics": metrics}
        for dataset, metrics in _results(manifest, evaluated)
        if metrics
    ]
    return {**header, "model-index": [{"name": name, "results": results}]} if results else header


def _results(
    manifest: TrainingManifest, evaluated: Evaluated | None
) -> Iterator[tuple[dict[str, JsonValue], list[JsonValue]]]:
    """Yield (dataset, metrics) for the model index."""
    loss: list[JsonValue] = [{"type": "loss", "name": "Held-out loss", "value": manifest.eval_loss}]
    held_out: dict[str, JsonValue] = {"name": f"{manifest.heldout_rows} held-out rows", "type": "held-out"}
    yield {**held_out, "revision": manifest.dataset.sha256}, loss if manifest.eval_loss is not None else []
    if evaluated:
        summary, decision = evaluated.summary, evaluated.decision
        questions: dict[str, JsonValue] = {"name": f"{summary.questions} frozen questions", "type": "frozen-questions"}
        rates = summary.models[evaluated.model].rates
        yield (
            {**questions, "revision": decision.question_set},
            [
                {
                    "type": metric,
                    "name": summary.metrics[metric].title if metric in summary.metrics else metric,
                    "value": rate.rate,
                    "args": {"n": rate.n, "low": rate.low, "high": rate.high},
                }
                for metric, rate in rates.items()
                if rate.rate is not None
            ],
        )


def _evaluation_lines(evaluated: Evaluated) -> list[str]:
    """Return the section about the evaluation: the decision, and each rate with its interval next to the base's."""
    summary, decision = evaluated.summary, evaluated.decision
    lines = [
        "## Evaluation",
        "",
        f"Decision of the promotion gate: **{decision.decision}**. {summary.questions} frozen questions "
        f"(SHA-256 `{decision.question_set}`), contexts: {summary.context}.",
        "",
        "| metric | this adapter | base model |",
        "|---|---|---|",
    ]
    own, base = summary.models[evaluated.model].rates, next(iter(summary.models.values())).rates
    for name, info in summary.metrics.items():
        if name in own:
            lines.append(f"| {info.title} | {_rate(own[name])} | {_rate(base.get(name))} |")
    return [*lines, ""]


def _rate(rate: Rate | None) -> str:
    """Return a rate with its count and interval."""
    if rate is None or rate.rate is None or rate.low is None or rate.high is None:
        return "none"
    return f"{100 * rate.rate:.1f} % ({rate.count} of {rate.n}; {100 * rate.low:.1f} to {100 * rate.high:.1f})"


def _kind(lora: LoraSettings) -> str:
    """Return the kind, size and placement of the adapter, as the beginning of a sentence."""
    kind = ("rank-stabilized " if lora.use_rslora else "") + ("DoRA" if lora.use_dora else "LoRA")
    targets = lora.target_modules if isinstance(lora.target_modules, str) else ", ".join(lora.target_modules)
    return f"Adapter ({kind}, rank {lora.r}, alpha {lora.alpha}, layers: {targets})"


def _serve_command(lora: LoraSettings, manifest: TrainingManifest) -> str:
    """Return the indented command that serves base model and adapter. Servers must merge DoRA adapters first."""
    if lora.use_dora:
        merge = f"insurance-rag export --adapter . --base-model {manifest.base_model} --out merged"
        return f"    {merge}  # vLLM cannot attach DoRA adapters\n    vllm serve merged"
    options = f"--enable-lora --max-lora-rank {lora.r} --lora-modules {manifest.version}=."
    return f"    vllm serve {manifest.base_model} {options}"


def _preference_figures(manifest: TrainingManifest) -> dict[str, float | None]:
    """Return the figures of an adapter that learned from preference pairs."""
    if manifest.eval_rewards_margin is None:
        return {}
    return {
        "held-out preference accuracy": manifest.eval_rewards_accuracy,
        "held-out reward margin": manifest.eval_rewards_margin,
    }


def _prompt_section(prompt_format: str, version: str) -> list[str]:
    """Return the lines that explain how to ask the model. Raises InvalidInputError for an unknown format."""
    form = PROMPT_FORMATS[prompt_format]
    prompt = form.prompt("{question}", "{context}")
    lines = (
        _chat_lines(prompt, version)
        if form.chat
        else [*_indented(prompt), "", "The answer begins on the line after the last heading."]
    )
    return [
        "## Prompt",
        "",
        f"The adapter was trained on the prompt format `{prompt_format}`. Use the same format for every question. In",
        "other formats, the answers are worse, and many of them only copy the prompt.",
        "",
        *lines,
        "`{context}` is one chunk of a policy, or several chunks separated by blank lines.",
        "",
    ]


def _chat_lines(prompt: str, version: str) -> list[str]:
    """Return the lines that show chat messages, and how they become a prompt. `prompt` is the text of the messages."""
    variables = ", ".join(f"{name}={value!r}" for name, value in TEMPLATE_VARIABLES.items())
    server_variables = json.dumps(dict(TEMPLATE_VARIABLES))
    return [
        *_indented(f"messages = {json.dumps(read_messages(prompt), ensure_ascii=False, indent=2)}"),
        "",
        "The tokenizer's chat template turns the messages into text:",
        "",
        f"    tokenizer.apply_chat_template(messages, add_generation_prompt=True, {variables})",
        "",
        "A server does the same for requests to `/v1/chat/completions`:",
        "",
        f'    {{"model": "{version}", "messages": [...], "chat_template_kwargs": {server_variables}}}',
        "",
    ]


def _indented(text: str) -> list[str]:
    return [f"    {line}".rstrip() for line in text.splitlines()]


def merged_model_card(manifest: TrainingManifest) -> str:
    """Return the text of a merged model's README.md: the adapter's card with a note about the merge."""
    note = (
        f"The adapter is merged into `{manifest.base_model}`, whose weights were dequantized to bfloat16;\n"
        "this model needs no adapter.\n\n"
        "    vllm serve .\n\n"
    )
    return _with_note(manifest, "transformers", note)


def gguf_model_card(manifest: TrainingManifest, serve: str) -> str:
    """Return the text of the README.md next to a GGUF file. `serve` is the command that starts llama.cpp's server."""
    return _with_note(manifest, "gguf", f"Made from `{manifest.base_model}` for llama.cpp:\n\n    {serve}\n\n")


def _with_note(manifest: TrainingManifest, library: str, note: str) -> str:
    """Return the adapter's card for another library, with a note in place of the command that serves the adapter."""
    before, _, after = adapter_card(manifest).partition(_SERVE_HEADING)
    return before.replace("library_name: peft", f"library_name: {library}") + note + after.partition("\n\n")[2]
