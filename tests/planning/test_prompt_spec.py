from __future__ import annotations

from pathlib import Path

import pytest
from tests.planning.conftest import MakeChunks

from insurance_rag.chunks.headings import product_name, section_path
from insurance_rag.config import GenerationConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.records import Chunk
from insurance_rag.planning.prompt_spec import PromptSpec


def make_spec(**settings: object) -> PromptSpec:
    return PromptSpec.from_config(GenerationConfig.model_validate(settings))


def with_breadcrumbs(chunk: Chunk, breadcrumbs: str) -> Chunk:
    return chunk.model_copy(update={"metadata": chunk.metadata.model_copy(update={"breadcrumbs": breadcrumbs})})


def test_the_cache_key_depends_on_the_content_and_on_the_request(make_chunks: MakeChunks) -> None:
    chunk = make_chunks(1)[0]
    same = make_spec().cache_key(chunk.model_copy(update={"chunk_id": "elsewhere"}))
    others = {
        make_spec().cache_key(chunk),
        make_spec().cache_key(chunk.model_copy(update={"text": chunk.text + " "})),
        make_spec().cache_key(make_chunks(1, product="한빛 실손보험")[0]),
        make_spec(model="m").cache_key(chunk),
        make_spec(types=["fact"]).cache_key(chunk),
        make_spec(pairs_per_type=2).cache_key(chunk),
        make_spec(prompt="local_v1").cache_key(chunk),
        make_spec(teacher="openai").cache_key(chunk),
        make_spec(questions={"yes_no_share": 0.5}).cache_key(chunk),
        make_spec().cache_key(with_breadcrumbs(chunk, "한빛 암보험 > 특별약관")),
        make_spec().cache_key(chunk, other=make_chunks(2)[1]),
    }
    assert same in others
    assert len(others) == 11
    assert make_spec(max_retries=1, base_url="http://x").cache_key(chunk) == same


def test_a_prompt_without_styles_has_the_same_cache_key_for_every_style(make_chunks: MakeChunks) -> None:
    chunk = make_chunks(1)[0]
    other_style = make_spec(teacher="local", questions={"yes_no_share": 0.5})
    assert other_style.cache_key(chunk) == make_spec(teacher="local").cache_key(chunk)


def test_an_edited_repair_prompt_is_another_version_but_keeps_the_answers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, make_chunks: MakeChunks
) -> None:
    monkeypatch.setattr("insurance_rag.planning.prompt_spec.PROMPTS", tmp_path)
    for name in ("qa_v2", "repair_v2", "paraphrase_v2"):
        (tmp_path / f"{name}.txt").write_text("{items}")
    before = make_spec()
    version, key = before.prompt_version, before.cache_key(make_chunks(1)[0])
    (tmp_path / "repair_v2.txt").write_text("two")
    assert make_spec().prompt_version != version
    assert make_spec().cache_key(make_chunks(1)[0]) == key


def test_an_edited_prompt_is_another_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("insurance_rag.planning.prompt_spec.PROMPTS", tmp_path)
    (tmp_path / "p.txt").write_text("one")
    before = make_spec(prompt="p").prompt_version
    (tmp_path / "p.txt").write_text("two")
    after = make_spec(prompt="p").prompt_version
    assert before != after
    assert before.startswith("p@")


@pytest.mark.parametrize(("teacher", "prompt"), [("gemini", "qa_v2"), ("openai", "qa_v2"), ("local", "local_v1")])
def test_each_teacher_has_its_default_prompt(teacher: str, prompt: str) -> None:
    assert make_spec(teacher=teacher).prompt == prompt
    assert make_spec(teacher=teacher, prompt="other").prompt == "other"


@pytest.mark.parametrize("name", ["nope", "repair_v2"])
def test_an_unknown_prompt_lists_the_available_ones(name: str) -> None:
    with pytest.raises(InvalidInputError, match=rf"unknown prompt '{name}'.*available: local_v1, qa_v2$"):
        _ = make_spec(prompt=name).prompt_version


def test_the_product_name_has_its_company_once(make_chunks: MakeChunks) -> None:
    chunk = make_chunks(1)[0]
    assert product_name(chunk) == "한빛생명 한빛 암보험"
    crumbs = chunk.metadata.model_copy(update={"breadcrumbs": "한빛생명 암보험 > 제1관"})
    assert product_name(chunk.model_copy(update={"metadata": crumbs})) == "한빛생명 암보험"


@pytest.mark.parametrize(
    ("breadcrumbs", "expected"),
    [
        ("한빛 암보험 > 보통약관 > 제1관 총칙 > 제1조(보험금)", "보통약관 > 제1관 총칙"),
        ("한빛 암보험 > 보통약관 > 제 1조 (보험금)", "보통약관"),
        ("한빛 암보험 > 보통약관 > 제2조(다른 조)", "보통약관 > 제2조(다른 조)"),
        ("한빛 암보험", ""),
    ],
)
def test_the_section_leaves_out_what_the_prompt_already_contains(
    make_chunks: MakeChunks, breadcrumbs: str, expected: str
) -> None:
    assert section_path(with_breadcrumbs(make_chunks(1)[0], breadcrumbs)) == expected
