"""The pad token of training is never the end-of-text token."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.models.tokenizer import load_tokenizer, load_training_tokenizer


def save_tokenizer(folder: Path, vocabulary: dict[str, int], **tokens: str) -> str:
    inner = Tokenizer(models.WordLevel(vocabulary))
    PreTrainedTokenizerFast(tokenizer_object=inner, **tokens).save_pretrained(folder)
    return str(folder)


def test_pad_token_of_its_own_is_kept(tmp_path: Path) -> None:
    base = save_tokenizer(tmp_path, {"a": 0, "</s>": 1, "<own>": 2}, eos_token="</s>", pad_token="<own>")
    tokenizer = load_training_tokenizer(base)
    assert tokenizer.pad_token == "<own>" and tokenizer.padding_side == "right"


@pytest.mark.parametrize("pad", [{}, {"pad_token": "</s>"}])
def test_spare_token_becomes_the_pad_token(tmp_path: Path, pad: dict[str, str]) -> None:
    """If pad and end-of-text were one token, a collator that masks padding would mask the end of the answer too."""
    base = save_tokenizer(tmp_path, {"a": 0, "</s>": 1, "[PAD]": 2, "<|pad|>": 3}, eos_token="</s>", **pad)
    tokenizer = load_training_tokenizer(base)
    assert tokenizer.pad_token == "<|pad|>" and tokenizer.pad_token_id != tokenizer.eos_token_id


def test_tokenizer_without_a_spare_token_is_rejected(tmp_path: Path) -> None:
    base = save_tokenizer(tmp_path, {"a": 0, "</s>": 1}, eos_token="</s>", pad_token="</s>")
    with pytest.raises(InvalidInputError, match="no spare token"):
        load_training_tokenizer(base)


def test_tokenizer_without_eos_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="has no end-of-text token"):
        load_training_tokenizer(save_tokenizer(tmp_path, {"a": 0, "</s>": 1}))


def test_missing_tokenizer_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="its tokenizer cannot be loaded"):
        load_tokenizer(str(tmp_path / "nothing"))
