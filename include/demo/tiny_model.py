"""The demo's tiny base model, which is a small Llama, and its tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from demo.config import PretrainConfig
from demo.induction_init import HEADS, write_induction_circuit
from insurance_rag.core.records import REFUSAL

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

#: Tokens for padding, begin of text and end of text. The last two have the same names as in Llama 3, because
#: train_dataset_rag.json contains Llama's end-of-text token as a string. Padding cannot use the end-of-text token. The
#: loss ignores padding, but it must include the end-of-text token, so that the model learns to end a text.
SPECIAL_TOKENS = ("<|pad|>", "<|begin_of_text|>", "<|end_of_text|>")

#: Fixed phrases from the prompt formats. The tokenizer is also trained on these phrases, so that each becomes only a
#: few tokens. Changing the phrases changes the tokenizer.
FORMAT_TEXT = (
    "### 지시\n### 입력\n[보험약관]\n\n질문: \n### 출력\n제조에 따르면 " + REFUSAL + ".",
    "아래 제공된 [보험약관]을 참고하여 사용자의 질문에 답변하세요. 약관에 명시된 내용에 근거하여 답변해야 하며, "
    f"약관에 없는 내용은 추측하지 말고 '{REFUSAL}'라고 답변하세요.",
)


def train_tokenizer(texts: Sequence[str], config: PretrainConfig) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer. Each digit is a separate token, so that the model can copy any number."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    pad, bos, eos = SPECIAL_TOKENS
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*texts, *FORMAT_TEXT * 20], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        bos_token=bos,
        eos_token=eos,
        model_max_length=config.context,
        clean_up_tokenization_spaces=False,
    )


def new_model(config: PretrainConfig, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Create an untrained Llama that is initialized to copy from its context.

    Uses torch's global random number generator, which the caller must seed.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=config.hidden,
            intermediate_size=config.hidden * 2,
            num_hidden_layers=config.layers,
            num_attention_heads=HEADS,
            num_key_value_heads=HEADS,
            max_position_embeddings=config.context,
            # With a large theta, a token can attend to an equal token anywhere in the context.
            rope_parameters={"rope_type": "default", "rope_theta": 1e6},
            attention_bias=True,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    write_induction_circuit(model)
    return model
