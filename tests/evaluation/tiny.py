"""A tiny random Llama with a byte-level tokenizer, and random adapters: real files without training."""

from __future__ import annotations

import gc
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from insurance_rag.chunks import read_chunks
from insurance_rag.core.prompt_templates import rag_prompt


def make_base(folder: Path, **changes: object) -> Path:
    """Write a base model whose weights are large enough for greedy answers to differ between questions."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<pad>", "<eos>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    texts = [chunk.text for chunk in read_chunks("sample")[:60]] + [rag_prompt("", "")]
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    settings = {
        "vocab_size": 600, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 2048,
        "eos_token_id": 1, "pad_token_id": 0, "bos_token_id": None, "initializer_range": 0.3,
    }  # fmt: skip
    LlamaForCausalLM(LlamaConfig(**(settings | changes))).save_pretrained(folder)
    gc.freeze()  # a backend that unloads its model runs a full collection, which need not visit imported libraries
    return folder


def make_adapter(base: Path, folder: Path, seed: int, **changes: object) -> Path:
    """Write a LoRA adapter whose B is not zero, so that it changes the answers."""
    torch.manual_seed(seed)
    settings = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj", "o_proj"], "task_type": "CAUSAL_LM"}
    model = get_peft_model(LlamaForCausalLM.from_pretrained(base), LoraConfig(**(settings | changes)))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.3)
    model.save_pretrained(folder)
    return folder
