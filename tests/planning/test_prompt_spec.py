from __future__ import annotations

from pathlib import Path

import pytest
from tests.planning.conftest import MakeChunks

from insurance_rag.config import GenerationConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.planning.prompt_spec import PromptSpec, product_name


def make_spec(**settings: object) -> PromptSpec:
    return PromptSpec.from_config(GenerationConfig.model_validate(settings))


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
    }
    assert same in others
    assert len(others) == 8
    assert make_spec(max_retries=1, base_url="http://x").cache_key(chunk) == same


def test_an_edited_prompt_is_another_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("insurance_rag.planning.prompt_spec.PROMPTS", tmp_path)
    (tmp_path / "p.txt").write_text("one")
    before = make_spec(prompt="p").prompt_version
    (tmp_path / "p.txt").write_text("two")
    after = make_spec(prompt="p").prompt_version
    assert before != after
    assert before.startswith("p@")


@pytest.mark.parametrize(("teacher", "prompt"), [("gemini", "qa_v1"), ("openai", "qa_v1"), ("local", "local_v1")])
def test_each_teacher_has_its_default_prompt(teacher: str, prompt: str) -> None:
    assert make_spec(teacher=teacher).prompt == prompt
    assert make_spec(teacher=teacher, prompt="other").prompt == "other"


def test_an_unknown_prompt_lists_the_available_ones() -> None:
    with pytest.raises(InvalidInputError, match=r"unknown prompt 'nope'.*available: local_v1, qa_v1"):
        _ = make_spec(prompt="nope").prompt_version


def test_the_product_name_has_its_company_once(make_chunks: MakeChunks) -> None:
    chunk = make_chunks(1)[0]
    assert product_name(chunk) == "한빛생명 한빛 암보험"
    crumbs = chunk.metadata.model_copy(update={"breadcrumbs": "한빛생명 암보험 > 제1관"})
    assert product_name(chunk.model_copy(update={"metadata": crumbs})) == "한빛생명 암보험"
