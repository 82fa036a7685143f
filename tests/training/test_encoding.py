"""Training rows as token ids: which tokens carry a label, what is cut, what is skipped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tokenizers.processors import TemplateProcessing

from insurance_rag.core.prompt_templates import RAG, rag_prompt
from insurance_rag.core.records import TrainingRow
from insurance_rag.models.tokenizer import load_training_tokenizer
from insurance_rag.training import load_recipe
from insurance_rag.training.encoding import IGNORE_INDEX, encode_rows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ANSWER = "제3조에 따르면 90일입니다."
CHUNK = "제3조(기간)\n기간은 90일입니다."


@pytest.fixture(scope="module")
def tokenizer(base_model: Path) -> PreTrainedTokenizerBase:
    return load_training_tokenizer(str(base_model))


def row(chunk: str = CHUNK, answer: str = ANSWER, evidence: str | None = None) -> TrainingRow:
    prompt = rag_prompt("며칠인가요?", chunk)
    return TrainingRow(prompt=prompt, completion=answer, input=chunk, evidence=evidence)


def test_loss_covers_the_answer_and_its_end(tokenizer: PreTrainedTokenizerBase) -> None:
    config = load_recipe("smoke")
    for answer in (ANSWER, ANSWER + RAG.end_of_text, ANSWER + tokenizer.eos_token):
        (encoded,) = encode_rows([row(answer=answer)], tokenizer, config).rows
        labels = [label for label in encoded["labels"] if label != IGNORE_INDEX]
        assert tokenizer.decode(labels) == ANSWER + tokenizer.eos_token
        assert labels.count(tokenizer.eos_token_id) == 1
        assert encoded["labels"][-len(labels) :] == labels == encoded["input_ids"][-len(labels) :]
    assert encoded["input_ids"][: -len(labels)] == tokenizer(row().prompt)["input_ids"]  # as in generation


@pytest.fixture(scope="module")
def appending_tokenizer(base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    """Return a tokenizer that ends every text with its end-of-text token, as those of some base models do."""
    tokenizer = load_training_tokenizer(str(base_model))
    bos, eos = str(tokenizer.bos_token), str(tokenizer.eos_token)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{bos} $A {eos}", special_tokens=[(bos, tokenizer.bos_token_id), (eos, tokenizer.eos_token_id)]
    )
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save_pretrained(folder)
    return load_training_tokenizer(str(folder))


def test_appended_eos_is_not_between_prompt_and_answer(
    tokenizer: PreTrainedTokenizerBase, appending_tokenizer: PreTrainedTokenizerBase
) -> None:
    assert appending_tokenizer("질문")["input_ids"][-1] == appending_tokenizer.eos_token_id
    chunk = CHUNK + " 이 문장은 길이를 채우기 위한 것이며 답과는 관계가 없습니다." * 40
    for text in (CHUNK, chunk):  # the second context is cut
        config = load_recipe("smoke", {"max_length": 300})
        (found,), (expected,) = (encode_rows([row(text)], t, config).rows for t in (appending_tokenizer, tokenizer))
        assert found == expected
        assert found["input_ids"].count(appending_tokenizer.eos_token_id) == 1


def test_v1_has_no_eos_and_the_reference_profile_trains_on_the_prompt(tokenizer: PreTrainedTokenizerBase) -> None:
    (v1,) = encode_rows([row()], tokenizer, load_recipe("v1", {"profile": "smoke"})).rows
    assert tokenizer.eos_token_id not in v1["input_ids"]
    (reference,) = encode_rows([row()], tokenizer, load_recipe("v2", {"profile": "reference"})).rows
    assert reference["labels"] == reference["input_ids"]


def test_answers_are_never_cut(tokenizer: PreTrainedTokenizerBase) -> None:
    """TRL's own limit keeps the start of a row, so a long chunk would cost the end of the answer, or all of it."""
    chunk = CHUNK + " 이 문장은 길이를 채우기 위한 것이며 답과는 관계가 없습니다." * 40
    last = " 90일은 청구일부터 셉니다."
    rows = [row(chunk), row(chunk, evidence="기간은 90일입니다."), row(chunk + last, evidence=last.strip())]
    result = encode_rows(rows, tokenizer, load_recipe("smoke", {"max_length": 300}))
    assert (result.contexts_truncated, len(result.skipped)) == (2, 1)  # the third needs the last sentence of its chunk
    assert result.skipped[0].row == 3 and result.skipped[0].tokens > 300
    for encoded in result.rows:
        text = tokenizer.decode(encoded["input_ids"])
        assert len(encoded["input_ids"]) <= 300 and CHUNK in text
        assert text.endswith("### 출력\n" + ANSWER + tokenizer.eos_token) and "관계가 없습니다.\n\n질문:" in text
    assert max(result.lengths) <= 300


@pytest.mark.parametrize("settings", [{}, {"overlong": "skip"}])
def test_rows_that_cannot_be_shortened_are_skipped(
    tokenizer: PreTrainedTokenizerBase, settings: dict[str, object]
) -> None:
    long = row("한 문장뿐인 조항 " * 200)
    without_input = long.model_copy(update={"input": None})
    result = encode_rows([long, without_input], tokenizer, load_recipe("smoke", {"max_length": 200, **settings}))
    assert not result.rows and len(result.skipped) == 2
