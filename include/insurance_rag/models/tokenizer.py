"""Load the tokenizer of a base model, choose a pad token if the tokenizer has none, and encode prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from insurance_rag.core.errors import InvalidInputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: Unused tokens in the vocabularies of common base models, in order of preference as the pad token.
SPARE_PAD_TOKENS = (
    "<|finetune_right_pad_id|>",
    "<pad>",
    "<|pad|>",
    "<|reserved_special_token_0|>",
    "<unused0>",
    "[PAD]",
)


def load_tokenizer(base_model: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """Load a tokenizer from a model folder or the Hugging Face Hub. Raises InvalidInputError if it cannot be loaded."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(base_model, revision=revision, trust_remote_code=False)
    except (OSError, ValueError) as e:
        reason = next(iter(str(e).splitlines()), type(e).__name__)
        raise InvalidInputError(
            f"base model {base_model}: its tokenizer cannot be loaded ({reason}); check the name and the network, or "
            "give a local folder"
        ) from e


def load_training_tokenizer(base_model: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """Load a tokenizer that pads on the right, with a pad token that differs from its end-of-text token.

    If the two tokens were the same, a collator that masks padding would also mask the end of every answer. The model
    would then never learn to stop. If a pad token is needed, an unused token of the vocabulary is chosen, so that the
    embeddings keep their size. Raises InvalidInputError if there is no end-of-text token, or if a pad token is needed
    and the vocabulary has no unused token.
    """
    tokenizer = load_tokenizer(base_model, revision)
    if tokenizer.eos_token is None:
        raise InvalidInputError(
            f"base model {base_model}: its tokenizer has no end-of-text token; set eos_token in tokenizer_config.json"
        )
    if tokenizer.pad_token is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        tokenizer.pad_token = _spare_token(tokenizer, base_model)
    tokenizer.padding_side = "right"
    return tokenizer


def encode_prompt(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Return the token ids of a prompt, without the end-of-text token that some tokenizers append.

    Training and evaluation both use this function, so that nothing stands between a prompt and its answer.
    """
    ids: list[int] = tokenizer(text)["input_ids"]
    return ids[:-1] if ids and ids[-1] == tokenizer.eos_token_id else ids


def _spare_token(tokenizer: PreTrainedTokenizerBase, base_model: str) -> str:
    """Return a vocabulary token that does not occur in ordinary text."""
    vocabulary = tokenizer.get_vocab()
    for token in (*SPARE_PAD_TOKENS, tokenizer.unk_token):
        if token in vocabulary and token != tokenizer.eos_token:
            return str(token)
    raise InvalidInputError(
        f"base model {base_model}: its pad token is its end-of-text token, and its vocabulary has no spare token; "
        "set pad_token in tokenizer_config.json to a token of the vocabulary that texts do not contain"
    )
