"""Ids and names from files and forms never lead to files outside the folder of their run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.generation.runs import METADATA, keys
from tests.validation.helpers import SETTINGS

from gemini_simulator import running_simulator
from insurance_rag.chunks import read_chunks
from insurance_rag.config import GenerationConfig
from insurance_rag.config.ingest import IngestConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.run_folder import RunFolder, adapter_name
from insurance_rag.generation import generate_run
from insurance_rag.ingest.ingest import ingest_documents
from insurance_rag.orchestration.runs import folder_under
from insurance_rag.planning import load_keys, make_plan, write_plan
from insurance_rag.planning.prompt_spec import PromptSpec
from insurance_rag.training.recipe import load_recipe
from insurance_rag.validation.validate import validate_parts

HOSTILE = ("../../outside", "/tmp/outside", "..", "a/../../b", "a\\..\\b", "a\nb", "a\x00b", "~", "$(id)", "-rf", "CON")


def files_outside(root: Path, inside: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file() and not path.is_relative_to(inside)]


def test_chunk_ids_and_sources_are_never_paths(tmp_path: Path) -> None:
    """A run over chunks with hostile ids, from the plan to the dataset."""
    work = tmp_path / "deep/er/work"
    work.mkdir(parents=True)
    lines = [
        json.dumps({
            "chunk_id": name, "metadata": METADATA | {"source": name},
            "text": f"제{n}조(입원)\n회사는 입원하면 {n}만원을 지급합니다.",
        })
        for n, name in enumerate(HOSTILE, 1)
    ]  # fmt: skip
    (work / "c.jsonl").write_text("\n".join(lines), encoding="utf-8")
    chunks, run = read_chunks(work / "c.jsonl"), RunFolder(work / "run")
    with running_simulator(speed=600, defects=0) as simulator:
        config = GenerationConfig.model_validate({"base_url": simulator.url, "quota_window_s": simulator.window_s})
        write_plan(make_plan(chunks, keys(1), config), run, chunks)
        generate_run(run, keys(1), config)
    validate_parts([run.parts], chunks, run.dataset, SETTINGS)
    assert files_outside(tmp_path, work) == []
    assert not Path("/tmp/outside").exists()


@pytest.mark.parametrize("name", HOSTILE)
def test_run_and_adapter_names_are_single_folder_names(tmp_path: Path, name: str) -> None:
    folder = folder_under(tmp_path, name, name).root
    assert folder.resolve().parents[1] == tmp_path.resolve()
    base = adapter_name("v2", name)
    assert "/" not in base and "\\" not in base and "\0" not in base and base not in (".", "..")


@pytest.mark.parametrize("name", ["../../outside", "/tmp/outside", "a/b", "a b", ""])
def test_key_ids_are_plain_names(tmp_path: Path, name: str) -> None:
    (tmp_path / "keys.json").write_text(json.dumps([{"id": name, "key": "secret"}]))
    with pytest.raises(InvalidInputError, match=r"key 1: id: .*; fix this entry"):
        load_keys(tmp_path / "keys.json")


def test_names_of_documents_do_not_leave_the_folder(tmp_path: Path) -> None:
    work = tmp_path / "deep/work"
    work.mkdir(parents=True)
    text = "\n".join(f"제{n}조(지급)\n회사는 {n}만원을 지급합니다." for n in range(1, 5))
    document = work / "..약관.. ;$(id) <script>.txt"
    document.write_text(text, encoding="utf-8")
    config = IngestConfig(company="../../c", product="../../p", document_id="../../outside")
    ingest_documents([document], work / "out.jsonl", config)
    assert files_outside(tmp_path, work) == []
    ids = [chunk.chunk_id for chunk in read_chunks(work / "out.jsonl")]
    assert all(".." not in part for chunk_id in ids for part in chunk_id.split("/"))


def test_a_settings_file_of_a_folder_cannot_name_other_documents(tmp_path: Path) -> None:
    """`documents.yaml` only gives settings: a name in it adds no document."""
    folder = tmp_path / "documents"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("제1조(비밀)\n비밀입니다.", encoding="utf-8")
    (folder / "a.txt").write_text("제1조(지급)\n회사는 3만원을 지급합니다.", encoding="utf-8")
    (folder / "documents.yaml").write_text("../secret.txt: {company: 한빛생명}\n", encoding="utf-8")
    ingest_documents([folder], tmp_path / "out.jsonl", IngestConfig(company="한빛생명"))
    assert "비밀" not in (tmp_path / "out.jsonl").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["../prompts/qa_v2", "/etc/hosts", "..", "qa_v2/../qa_v2"])
def test_names_of_prompts_and_recipes_are_not_paths(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="unknown prompt"):
        _ = PromptSpec.from_config(GenerationConfig(prompt=name)).template
    with pytest.raises(InvalidInputError, match="unknown recipe"):
        load_recipe(os.path.join("..", "recipes", name))  # noqa: PTH118 - Path would normalize it


@pytest.mark.parametrize("version", ["../v9", "/tmp/v9", "v1/../../x"])
def test_the_version_of_a_recipe_is_a_plain_name(version: str) -> None:
    with pytest.raises(InvalidInputError, match="version"):
        load_recipe("v2", {"version": version})
