"""The registry of $REGISTRY, and base models that a manifest names, may be in an object store."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.artifact_store.conftest import Store
from tests.evaluation.tiny import make_adapter, make_base
from tests.fakes.training_manifest import training_manifest
from tests.promotion.evaluations import rows, write_evaluation

from insurance_rag.cli.main import main
from insurance_rag.core.artifact_store.mirror import Part
from insurance_rag.core.artifact_store.workspace import Workspace
from insurance_rag.core.files import write_json
from insurance_rag.promotion import decide
from insurance_rag.training import load_recipe

SETTINGS = load_recipe("smoke").model_dump(mode="json")


def test_the_registry_of_the_environment_is_fetched_and_published(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REGISTRY", store.uri("registry"))
    first = write_evaluation(tmp_path / "1", Base=rows("Base", 300, 90), v1=rows("v1", 300, 30))
    second = write_evaluation(tmp_path / "2", Base=rows("Base", 300, 90), v1=rows("v1", 300, 30), v2=rows("v2", 300, 2))
    with Workspace([Part(store.path("registry"))]):
        for evaluation in (first, second):
            assert decide(evaluation, registry=store.path("registry")).decision == "promote"
    with store.on("machine-2"):
        assert main(["registry", "rollback", "--by", "kim", "--reason", "wrong amounts"]) == 0
    assert json.loads(store.get("registry/champion.json"))["model"] == "v1"
    capsys.readouterr()
    with store.on("machine-3"):
        assert main(["registry", "show", "--json"]) == 0
        shown = json.loads(capsys.readouterr().out)
        assert (shown["model"], shown["by"], shown["folder"].partition("/adapters/")[0]) == (
            "v1",
            "kim",
            store.uri("registry"),
        )


@pytest.mark.slow
def test_an_adapter_is_merged_into_a_base_model_in_the_store(store: Store, tmp_path: Path) -> None:
    base = store.path("run/base_model")
    with Workspace([Part(base)]):
        make_base(base)
    adapter = make_adapter(base, tmp_path / "v2", 1)
    for file in base.glob("tokenizer*"):
        shutil.copy(file, adapter)
    manifest = training_manifest(base_model=store.uri("run/base_model"), quantization="none", settings=SETTINGS)
    write_json(adapter / "training.json", manifest.model_dump(mode="json"))
    with store.on("machine-2"):
        assert main(["export", "--adapter", str(adapter), "--out", str(tmp_path / "merged")]) == 0
    assert (tmp_path / "merged" / "model.safetensors").is_file()
    assert json.loads((tmp_path / "merged" / "export.json").read_text())["training"]["base_model"].startswith("s3://")
