"""Compose the model cards for adapters and merged models."""

from __future__ import annotations

import json

from insurance_rag.config import TrainingConfig
from insurance_rag.config.training import LoraSettings
from insurance_rag.core.prompt_templates import PROMPT_FORMATS, read_messages
from insurance_rag.core.records import TrainingManifest
from insurance_rag.models.chat_template import TEMPLATE_VARIABLES

#: Objective -> what the rows of the dataset are.
_ROWS = {
    "sft": "rows of Korean questions and answers",
    "dpo": "pairs of a better and a worse Korean answer (DPO)",
    "orpo": "pairs of a better and a worse Korean answer (ORPO)",
}
_SERVE_HEADING = "Serve base and adapters together:\n\n"


def adapter_card(manifest: TrainingManifest) -> str:
    """Return the text of an adapter's README.md, including the front matter that the Hugging Face Hub reads."""
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
        "library_name: peft",
        f"base_model: {base}",
        "pipeline_tag: text-generation",
        "language: ko",
        "tags: [qlora, insurance, rag]",
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
