from __future__ import annotations

import pytest

from insurance_rag.config import GenerationConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.planning.prompt_spec import PromptSpec, product


def content(**settings: object) -> PromptSpec:
    return PromptSpec.from_config(GenerationConfig.model_validate(settings))


def test_the_key_is_of_the_content_and_how_it_is_asked_for(make_chunks) -> None:
    chunk = make_chunks(1)[0]
    same = content().key(chunk.model_copy(update={"chunk_id": "elsewhere"}))
    others = {
        content().key(chunk),
        content().key(chunk.model_copy(update={"text": chunk.text + " "})),
        content().key(make_chunks(1, product="한빛 실손보험")[0]),
        content(model="m").key(chunk),
        content(types=["fact"]).key(chunk),
        content(pairs_per_type=2).key(chunk),
        content(prompt="local_v1").key(chunk),
        content(teacher="openai").key(chunk),
    }
    assert same in others
    assert len(others) == 8
    assert content(max_retries=1, base_url="http://x").key(chunk) == same


def test_an_edited_prompt_is_another_version(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("insurance_rag.planning.prompt_spec.PROMPTS", tmp_path)
    (tmp_path / "p.txt").write_text("one")
    before = content(prompt="p").prompt_version
    (tmp_path / "p.txt").write_text("two")
    after = content(prompt="p").prompt_version
    assert before != after
    assert before.startswith("p@")


def test_an_unknown_prompt_lists_those_there_are() -> None:
    with pytest.raises(InvalidInputError, match="there are: local_v1, qa_v1"):
        _ = content(prompt="nope").prompt_version


def test_the_product_names_its_company_once(make_chunks) -> None:
    chunk = make_chunks(1)[0]
    assert product(chunk) == "한빛생명 한빛 암보험"
    crumbs = chunk.metadata.model_copy(update={"breadcrumbs": "한빛생명 암보험 > 제1관"})
    assert product(chunk.model_copy(update={"metadata": crumbs})) == "한빛생명 암보험"
