"""Compose the model cards for adapters and merged models."""

from __future__ import annotations

from insurance_rag.config import TrainingConfig
from insurance_rag.core.prompt_templates import PROMPT_FORMATS
from insurance_rag.core.records import TrainingManifest

_SERVE_HEADING = "Serve base and adapters together:\n\n"


def adapter_card(manifest: TrainingManifest) -> str:
    """Return the text of an adapter's README.md, including the front matter that the Hugging Face Hub reads."""
    config = TrainingConfig.model_validate(manifest.settings)
    base, lora = manifest.base_model, config.lora
    revision = f" at `{manifest.base_revision}`" if manifest.base_revision else ""
    figures = {
        "recipe": manifest.recipe,
        "seed": manifest.seed,
        "optimizer steps": manifest.steps,
        "training loss (mean)": manifest.loss,
        "held-out loss": manifest.eval_loss,
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
        f"A LoRA adapter (rank {lora.r}, alpha {lora.alpha}) for `{base}`{revision}. It was trained on",
        f"{manifest.dataset.rows} rows of Korean questions and answers about insurance policies (dataset SHA-256",
        f"`{manifest.dataset.sha256}`). Quantization of the base model: `{manifest.quantization}`.",
        "",
        *_prompt_section(manifest.prompt_format),
        "| metric | value |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in figures.items()),
        "",
        "Answers come from the context in the prompt and can be wrong: check them before a customer relies on them.",
        "",
        _SERVE_HEADING.rstrip(),
        "",
        f"    vllm serve {base} --enable-lora --max-lora-rank {lora.r} --lora-modules {manifest.version}=.",
        "",
        "All settings are in `training.json`.",
        "",
    ]
    return "\n".join(lines)


def _prompt_section(prompt_format: str) -> list[str]:
    """Return the lines that explain how to ask the model. Raises InvalidInputError for an unknown format."""
    prompt = PROMPT_FORMATS[prompt_format].prompt("{question}", "{context}")
    return [
        "## Prompt",
        "",
        f"The adapter was trained on the prompt format `{prompt_format}`. Use the same format for every question. In",
        "other formats, the answers are worse, and many of them only copy the prompt.",
        "",
        *(f"    {line}".rstrip() for line in prompt.splitlines()),
        "",
        "The answer begins on the line after the last heading. `{context}` is one chunk of a policy, or several chunks",
        "separated by blank lines.",
        "",
    ]


def merged_model_card(manifest: TrainingManifest) -> str:
    """Return the text of a merged model's README.md: the adapter's card with a note about the merge."""
    note = (
        f"The adapter is merged into `{manifest.base_model}`, whose weights were dequantized to bfloat16;\n"
        "this model needs no adapter.\n\n"
        "    vllm serve .\n\n"
    )
    before, _, after = adapter_card(manifest).partition(_SERVE_HEADING)
    return before.replace("library_name: peft", "library_name: transformers") + note + after.partition("\n\n")[2]
