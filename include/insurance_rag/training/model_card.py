"""The model card that lies beside an adapter or a merged model."""

from __future__ import annotations

from typing import Any


def model_card(manifest: dict[str, Any]) -> str:
    """Markdown with the front matter that the Hugging Face hub reads."""
    settings, dataset, base = manifest["settings"], manifest["dataset"], manifest["base_model"]
    lora = settings["lora"]
    revision = f" at `{manifest['base_revision']}`" if manifest["base_revision"] else ""
    figures = {
        "optimizer steps": manifest["steps"],
        "training loss (mean)": manifest["loss"],
        "held-out loss": manifest["eval_loss"],
        "tokens/s": manifest["tokens_per_s"],
        "peak memory, GiB": manifest["peak_gib"],
        "seconds": manifest["seconds"],
        "device": manifest["device"],
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
        f"# Insurance-policy assistant, adapter {manifest['version']}",
        "",
        f"A LoRA adapter (rank {lora['r']}, alpha {lora['alpha']}) of `{base}`{revision}, trained with the base",
        f"in {settings['quantization']} on {dataset['rows']} rows of Korean policy questions and answers",
        f"(dataset sha256 `{dataset['sha256']}`).",
        "",
        "| figure | value |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in figures.items()),
        "",
        "It answers from the clause in its prompt and can be wrong: check answers before a customer relies on them.",
        "",
        "Serve base and adapters together:",
        "",
        f"    vllm serve {base} --enable-lora --max-lora-rank {lora['r']} --lora-modules {manifest['version']}=.",
        "",
        "All settings are in `training.json`.",
        "",
    ]
    return "\n".join(lines)


def merged_card(manifest: dict[str, Any]) -> str:
    """The card of a merged model: the adapter's, with what was merged into what."""
    card = model_card(manifest)
    note = (
        f"The adapter is merged into `{manifest['base_model']}`, dequantised to bfloat16 as it was trained;\n"
        "this model needs no adapter.\n\n"
        "    vllm serve .\n\n"
    )
    before, _, after = card.partition("Serve base and adapters together:\n\n")
    return before.replace("library_name: peft", "library_name: transformers") + note + after.partition("\n\n")[2]
