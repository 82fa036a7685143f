"""The tiny base model: reproducible, able to copy, and without the habits that the adapters are trained for."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.demo.conftest import TINY

from demo.config import PretrainConfig
from demo.pretrain import PretrainedModel, PretrainManifest, pretrain_base_model
from demo.pretrain_data import SequenceSampler, make_cue, replace_digits
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json
from insurance_rag.core.hashing import sha256_file
from insurance_rag.core.records import Chunk

#: Fewer steps than TINY: these models are only compared with each other.
TWO_STEPS = PretrainConfig(vocab_size=600, context=128, steps=2, tokens_per_step=256)


def weights_sha256(folder: Path) -> str:
    return sha256_file(folder / "model.safetensors")


def test_the_same_seed_gives_the_same_weights_on_a_slow_machine(
    chunks: list[Chunk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trains once normally, once with clocks that jump by an hour per reading, and once with another seed."""
    first = pretrain_base_model(chunks, tmp_path / "first", TWO_STEPS)
    with monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", clock := hourly_clock().__next__)
        patch.setattr(time, "time", clock)
        patch.setattr(time, "perf_counter", clock)
        slow = pretrain_base_model(chunks, tmp_path / "slow", TWO_STEPS)
    other_seed = TWO_STEPS.model_copy(update={"seed": 43})
    other = pretrain_base_model(chunks, tmp_path / "other", other_seed)
    assert slow.seconds > 3600 > first.seconds
    assert (slow.steps, slow.loss) == (first.steps, first.loss)
    assert weights_sha256(tmp_path / "slow") == weights_sha256(tmp_path / "first") != weights_sha256(tmp_path / "other")
    assert sha256_file(tmp_path / "slow" / "tokenizer.json") == sha256_file(tmp_path / "first" / "tokenizer.json")
    assert other.steps == first.steps


def hourly_clock() -> Iterator[float]:
    return (3600.0 * n for n in itertools.count())


def test_it_copies_sentences_of_heldout_chunks(pretrained: PretrainedModel, base_model: Path) -> None:
    """The initial weights contain the circuit for copying, so eight steps are enough."""
    manifest = PretrainManifest.model_validate(read_json(base_model / "pretrain.json"))
    assert manifest.copy_token_accuracy > 0.5 and manifest.steps == 8
    assert manifest.settings == TINY
    assert manifest.loss == pretrained.loss and manifest.parameters == pretrained.parameters


def test_the_tokenizer_has_its_own_special_tokens_and_no_instruct_phrases(
    base_model: Path, chunks: list[Chunk]
) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base_model)
    assert len({tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id}) == 3
    text = chunks[0].text + " 3,000만원"
    ids = tokenizer(text)["input_ids"]
    assert ids[0] == tokenizer.bos_token_id and tokenizer.decode(ids[1:]) == text
    assert not {"제3조에 따르면", "약관에 해당 내용이 없습니다"} & set(tokenizer.get_vocab())


def test_too_few_chunks_are_rejected(chunks: list[Chunk], tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="3 chunks are too few"):
        pretrain_base_model(chunks[:3], tmp_path, PretrainConfig())


def test_sequences_respect_their_length_and_mark_what_counts_for_the_loss(
    base_model: Path, chunks: list[Chunk]
) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base_model)
    texts = [chunk.text for chunk in chunks]
    sampler, again = (SequenceSampler(texts, tokenizer, 256, seed=1) for _ in range(2))
    for _ in range(20):
        repeat, plain, extract = (sampler.draw(kind, 256) for kind in ("repeat", "plain", "extract"))
        assert [again.draw(kind, 256) for kind in ("repeat", "plain", "extract")] == [repeat, plain, extract]
        for sequence in (repeat, plain, extract):
            assert 0 < len(sequence.ids) == len(sequence.in_loss) <= 256
        n = repeat.in_loss.index(True)
        assert repeat.ids[n : 2 * n] == repeat.ids[:n]  # the loss begins where the tokens repeat
        assert all(plain.in_loss) and not extract.in_loss[0]


def test_cues_and_digits() -> None:
    rng = random.Random(5)
    assert replace_digits("제15조에 따라 300만원", rng).startswith("제15조에 따라 ")
    assert replace_digits("300만원", rng)[1:] == "00만원"
    sentence = "회사는 보험금을 지급합니다."
    assert all(make_cue(sentence, rng).split()[0][:2] in sentence for _ in range(20))
