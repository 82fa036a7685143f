"""The dataset on the Hugging Face Hub: licence, splits, loading offline; uploads of a dataset and of an adapter."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard, ModelCardData
from tests.dataset.corpus import corpus_chunks, generated_rows
from tests.fakes.hub import COMMIT, FakeHub, fake_hub
from tests.fakes.training_manifest import training_manifest
from tests.promotion.evaluations import rows, write_evaluation
from tests.validation.helpers import read_rows, with_dataset, write_part

from insurance_rag.config import PromotionConfig, ValidationConfig
from insurance_rag.core.artifacts import describe
from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json, write_json
from insurance_rag.core.hashing import sha256_file
from insurance_rag.core.records import Artifact, Question
from insurance_rag.dataset.licenses import with_license
from insurance_rag.promotion import decide
from insurance_rag.training.recipe import load_recipe
from insurance_rag.validation.validate import validate_parts

TOKEN = "hf_planted-write-token"


def question() -> Question:
    return Question(question_id="q", question="진단비는?", type="fact", answerable=True, gold_chunk_ids=["p0_00"])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with a document held out."""
    folder = tmp_path_factory.mktemp("built")
    part = write_part(folder / "dataset_part_1.json", generated_rows())
    validate_parts([part], corpus_chunks(), folder / "out", with_dataset(), questions=[question()])
    return folder / "out"


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with fake_hub() as running:
        yield running


def test_the_folder_loads_offline_with_both_splits(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datasets import get_dataset_config_names, load_dataset

    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    folder = DatasetFolder(built)
    names = get_dataset_config_names(str(built))
    assert {"rag", "plain", "merged", "chat"} <= set(names)
    loaded = load_dataset(str(built), cache_dir=str(tmp_path))  # the default configuration is `rag`
    assert {name: split.num_rows for name, split in loaded.items()} == {
        "train": len(read_rows(folder.training("rag"))),
        "heldout": len(read_rows(folder.heldout())),
    }
    for name in names:
        splits = load_dataset(str(built), name, cache_dir=str(tmp_path))
        assert set(splits) == {"train", "heldout"} and splits["heldout"].num_rows
        assert not set(splits["train"]["chunk_id"]) & set(splits["heldout"]["chunk_id"])


def test_the_header_names_parquet_files_and_a_licence(built: Path, tmp_path: Path) -> None:
    header = yaml.safe_load(DatasetFolder(built).card.read_text(encoding="utf-8").split("---\n")[1])
    assert (header["license"], header["license_name"]) == ("other", "terms-of-the-insurers")
    files = [file for config in header["configs"] for file in config["data_files"]]
    assert all(file["path"].endswith(".parquet") and (built / file["path"]).is_file() for file in files)
    part = write_part(tmp_path / "p.json", generated_rows())
    validate_parts([part], corpus_chunks(), tmp_path / "out", with_dataset(parquet=False, license="cc-by-4.0"))
    text = (tmp_path / "out/README.md").read_text(encoding="utf-8")
    header = yaml.safe_load(text.split("---\n")[1])
    assert header["license"] == "cc-by-4.0"
    assert {f["split"] for config in header["configs"] for f in config["data_files"]} == {"train"}, (
        "nothing is held out"
    )


def test_a_licence_that_contradicts_the_chunks_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    part = write_part(tmp_path / "p.json", generated_rows())
    chunks = [
        chunk.model_copy(update={"metadata": chunk.metadata.model_copy(update={"license": "cc-by-nc-4.0"})})
        for chunk in corpus_chunks()
    ]
    with pytest.raises(
        InvalidInputError, match=r"dataset.license: 'mit' contradicts .*'cc-by-nc-4.0' of chunk 'p0_00'"
    ):
        validate_parts([part], chunks, tmp_path / "out", with_dataset(license="mit"))
    assert not (tmp_path / "out").exists()
    validate_parts([part], chunks, tmp_path / "out", with_dataset(parquet=False))
    assert "license: cc-by-nc-4.0\n" in (tmp_path / "out/README.md").read_text(encoding="utf-8")
    for others in (["CC BY-NC 4.0"] * len(chunks), ["cc-by-nc-4.0", *[None] * (len(chunks) - 1)]):
        found = [
            chunk.model_copy(update={"metadata": chunk.metadata.model_copy(update={"license": name})})
            for chunk, name in zip(chunks, others, strict=True)
        ]
        assert with_license(ValidationConfig(), found).dataset.license is None, "no licence of all rows, or unknown"


def push(hub: FakeHub, *argv: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0"}
    command = [sys.executable, "-m", "insurance_rag", "push", *map(str, argv)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert TOKEN not in done.stdout + done.stderr
    return done


@pytest.fixture
def evaluated(built: Path, tmp_path: Path) -> Path:
    """An evaluation in which `v2`, trained on the dataset `built`, is better than the base model."""
    folder = write_evaluation(tmp_path / "evaluation", Base=rows("Base", 400, 200), v2=rows("v2", 400, 20))
    adapter = folder / "v2"
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    (adapter / "logs/seed").mkdir(parents=True)
    for name in ("logs/events", "logs/seed/events"):
        (adapter / name).write_text("not for the Hub")
    training_file = DatasetFolder(built).training("rag")
    dataset = {"uri": str(training_file), "sha256": sha256_file(training_file)}
    manifest = training_manifest(
        dataset=dataset, base_model="acme/base-8b", settings=load_recipe("v2").model_dump(mode="json")
    )
    write_json(adapter / "training.json", manifest.model_dump(mode="json"))
    summary = read_json(folder / "summary.json")
    summary["adapters"]["v2"] = describe(adapter, Artifact).model_dump(mode="json")
    write_json(folder / "summary.json", summary)
    assert decide(folder, PromotionConfig()).decision == "promote"
    return folder


def test_a_dataset_is_uploaded_without_the_rejected_rows(hub: FakeHub, built: Path) -> None:
    done = push(hub, "--dataset", built, "--dataset-repo", "acme/policy-qa")
    assert done.returncode == 0, done.stderr
    files = hub.files["datasets/acme/policy-qa"]
    assert {"README.md", "report.json", "parquet/train_dataset_rag.parquet", "parquet/heldout.parquet"} <= set(files)
    assert "rejects.jsonl" not in files
    digest = DatasetFolder(built).read_report().lineage.data_sha256 or ""
    assert hub.tags == {"datasets/acme/policy-qa": {f"data-{digest[:8]}": COMMIT}}
    assert hub.private == {"datasets/acme/policy-qa": True} and hub.tokens == {f"Bearer {TOKEN}"}


def test_adapter_and_dataset_get_the_decision_as_a_tag(hub: FakeHub, built: Path, evaluated: Path) -> None:
    argv: list[str | Path] = ["--evaluation", evaluated, "--adapter-repo", "acme/policy-v2"]
    for _ in range(2):  # the same command again moves the tag
        done = push(hub, *argv, "--dataset", built, "--dataset-repo", "acme/policy-qa")
        assert done.returncode == 0, done.stderr
    tag = f"promote-{sha256_file(evaluated / 'answers.jsonl')[:8]}"
    assert hub.tags == {"models/acme/policy-v2": {tag: COMMIT}, "datasets/acme/policy-qa": {tag: COMMIT}}
    files = hub.files["models/acme/policy-v2"]
    assert set(files) == {"README.md", "adapter_config.json", "adapter_model.safetensors", "training.json"}
    card = ModelCard(files["README.md"].decode())
    assert isinstance(card.data, ModelCardData)
    assert (card.data.base_model, card.data.datasets) == ("acme/base-8b", ["acme/policy-qa"])
    found = {(r.dataset_type, r.metric_type): r.metric_value for r in card.data.eval_results or []}
    assert found["frozen-questions", "correct"] == 0.95 and found["held-out", "loss"] == 1.34
    assert "| Correct answer | 95.0 % (380 of 400; " in card.text and "gate: **promote**" in card.text
    assert "prompt format `rag`" in card.text


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("v2/adapter_config.json", "changed since it was evaluated; evaluate it again"),
        ("answers.jsonl", "the answers have changed since the decision; run .* promote"),
        ("decision.json", "invalid JSON .*; fix this line"),
    ],
)
def test_nothing_is_uploaded_if_files_have_changed(
    hub: FakeHub, built: Path, evaluated: Path, damage: str, message: str
) -> None:
    with (evaluated / damage).open("a") as file:
        file.write(" x")
    argv: list[str | Path] = ["--evaluation", evaluated, "--adapter-repo", "acme/policy-v2"]
    done = push(hub, *argv, "--dataset", built, "--dataset-repo", "acme/policy-qa")
    assert done.returncode == 2 and re.search(message, done.stderr), done.stderr
    assert hub.files == {} and hub.private == {}


def test_another_dataset_and_a_refusal_of_the_hub_are_explained(
    hub: FakeHub, built: Path, evaluated: Path, tmp_path: Path
) -> None:
    part = write_part(tmp_path / "p.json", generated_rows()[:40])
    validate_parts([part], corpus_chunks(), tmp_path / "other", with_dataset(parquet=False))
    argv: list[str | Path] = ["--evaluation", evaluated, "--adapter-repo", "acme/policy-v2"]
    done = push(hub, *argv, "--dataset", tmp_path / "other", "--dataset-repo", "acme/policy-qa")
    assert done.returncode == 2 and "v2 was trained on other rows" in done.stderr and not hub.files
    hub.refuse = True
    done = push(hub, *argv)
    assert done.returncode == 2 and "set HF_TOKEN to a token with write access" in done.stderr and not hub.files
    done = push(hub, "--dataset", built, "--adapter-repo", "no-owner")
    lines = done.stderr.count("give --")
    assert done.returncode == 2 and lines == 2 and "not of the form OWNER/NAME" in done.stderr
