"""The local teacher: a tiny model is loaded in NF4 and generates noise; tests of the text replace its output."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.generation.runs import chunks

from insurance_rag.config import GenerationConfig
from insurance_rag.core.errors import InvalidAnswerError, InvalidInputError
from insurance_rag.core.records import QuestionType
from insurance_rag.generation.prompt import ChunkRequest
from insurance_rag.generation.teachers.base import TeacherRequest
from insurance_rag.generation.teachers.local import PAIR_RETRIES, LocalTeacher, is_grounded
from insurance_rag.planning.prompt_spec import PromptSpec
from insurance_rag.planning.question_plan import PlannedPair

CHUNK = chunks(1)[0]


def asked(kind: QuestionType) -> TeacherRequest:
    return TeacherRequest((ChunkRequest(CHUNK, (PlannedPair(kind),)),))


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = str(tmp_path_factory.mktemp("tiny"))
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(sorted(alphabet))}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="!").save_pretrained(folder)
    sizes = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=256, max_position_embeddings=8192, **sizes)).save_pretrained(folder)
    return folder


def teacher(model: str, **settings: object) -> LocalTeacher:
    config = GenerationConfig.model_validate({"teacher": "local", "model": model, **settings})
    return LocalTeacher(config, PromptSpec.from_config(config))


def test_four_bit_model_generates(tiny_model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("insurance_rag.generation.teachers.local.MAX_NEW_TOKENS", 8)
    local = teacher(tiny_model)
    text, read, written = local._complete("제1조")
    assert (read, isinstance(text, str)) == (len("제1조".encode()), True)
    assert 0 < written <= 8
    assert "Linear4bit" in str(local._loaded)
    asyncio.run(local.close())


def test_noise_is_an_invalid_answer_after_four_tries(tiny_model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("insurance_rag.generation.teachers.local.MAX_NEW_TOKENS", 2)
    with pytest.raises(InvalidAnswerError, match=rf"in {1 + PAIR_RETRIES} tries per type \(fact\)"):
        asyncio.run(teacher(tiny_model).generate(asked("fact")))


def test_ungrounded_answer_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = iter(
        [
            " 얼마인가요?\n답변: 제1조에 따르면 9만원입니다.",
            "답이 없습니다",
            " 얼마인가요?\n답변: 제1조에 따르면 1만원입니다.\n질문: 또",
        ]
    )
    local = teacher("none")
    prompts: list[str] = []

    def complete(prompt: str) -> tuple[str, int, int]:
        prompts.append(prompt)
        return next(texts), 10, 5

    monkeypatch.setattr(local, "_complete", complete)
    answer = asyncio.run(local.generate(asked("scenario")))
    assert [(p.type, p.question, p.answer) for p in answer.pairs[0]] == [
        ("scenario", "얼마인가요?", "제1조에 따르면 1만원입니다.")
    ]
    assert (answer.tokens_in, answer.tokens_out) == (30, 15)
    assert prompts[0].rstrip().endswith("질문:")
    assert "- scenario" in prompts[0]
    assert "- fact" not in prompts[0]


@pytest.mark.parametrize(
    ("answer", "grounded"),
    [
        ("제1조에 따르면 1만원입니다.", True),
        ("제2조에 따르면 1만원입니다.", False),
        ("2만원입니다.", False),
        ("지급합니다.", True),
    ],
)
def test_grounded_means_every_number_and_article_is_in_the_chunk(answer: str, grounded: bool) -> None:
    assert is_grounded(answer, CHUNK.text) is grounded


def test_model_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="cannot be loaded"):
        asyncio.run(teacher(str(tmp_path / "none")).generate(asked("fact")))
