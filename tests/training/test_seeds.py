"""Several seeds of one recipe: real trainings, their folders, what a second call repeats, and invalid layouts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.training.conftest import QUICK, manifest_of, quick, weights

from insurance_rag.cli import main as cli
from insurance_rag.config import TrainingConfig
from insurance_rag.core.adapter_folder import seed_folders
from insurance_rag.core.errors import InterruptedRunError, InvalidInputError
from insurance_rag.core.records.training import AdapterArtifact, TrainedSeeds
from insurance_rag.training import seeds, train_adapter, train_seeds

SHORT = {**QUICK, "max_steps": 2, "batch_size": 2, "per_device_train_batch_size": 1, "eval_rows": 2}


def test_the_command_trains_one_adapter_per_seed(
    base_model: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plan.json").write_text("{}")  # makes tmp_path a run folder, to which the progress is written
    out = tmp_path / "adapters" / "mine"
    settings = [f"--set={key}={value}" for key, value in {**SHORT, "seed": 9}.items()]
    paths = ["--dataset", str(dataset), "--base-model", str(base_model), "--out", str(out)]
    argv = ["train", "--recipe", "smoke", *paths, "--seeds", "2", *settings, "--json"]
    assert cli.main(argv) == 0
    result = TrainedSeeds.model_validate_json(capsys.readouterr().out.splitlines()[-1])
    assert [(a.recipe, a.seed, a.uri) for a in result.adapters] == [
        ("smoke", 9, str(out / "seed-9")), ("smoke", 10, str(out / "seed-10")),
    ]  # fmt: skip
    assert [path.name for path in seed_folders(out)] == ["seed-9", "seed-10"]  # by number, not by name
    labels = {path.name for path in (tmp_path / "progress").iterdir()}
    assert labels == {"train-smoke-seed-9.json", "train-smoke-seed-10.json"}
    first, second = (manifest_of(folder) for folder in seed_folders(out))
    assert first.fingerprint != second.fingerprint and first.recipe_fingerprint == second.recipe_fingerprint
    alone = tmp_path / "alone"
    train_adapter(quick(**{**SHORT, "seed": 10}), dataset, str(base_model), alone)
    expected, trained = weights(alone), weights(out / "seed-10")
    assert all(torch.equal(expected[name], trained[name]) for name in expected)
    assert cli.main([*argv[:-1], "--seeds", "1"]) == 2
    assert "holds adapters of several seeds (seed-9, seed-10)" in capsys.readouterr().err


def test_a_second_call_trains_only_the_missing_seeds(
    base_model: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[int] = []

    def record(config: TrainingConfig, *args: object) -> AdapterArtifact:
        if len(trained) == 1:
            raise InterruptedRunError("interrupted at step 1 of 2")
        trained.append(config.seed)
        return train_adapter(config, dataset, str(base_model), tmp_path / f"seed-{config.seed}")

    recipe = quick(**{**SHORT, "max_steps": 1})
    with monkeypatch.context() as patched, pytest.raises(InterruptedRunError):
        patched.setattr(seeds, "train_adapter", record)
        train_seeds(recipe, 2, dataset, str(base_model), tmp_path)
    finished = (tmp_path / "seed-42" / "training.json").stat().st_mtime_ns
    result = train_seeds(recipe, 2, dataset, str(base_model), tmp_path)
    assert [adapter.seed for adapter in result] == [42, 43]
    assert (tmp_path / "seed-42" / "training.json").stat().st_mtime_ns == finished


def test_several_seeds_do_not_go_into_the_folder_of_one_adapter(tmp_path: Path) -> None:
    (tmp_path / "training.json").touch()
    with pytest.raises(InvalidInputError, match="holds a single adapter; choose another --out for 3 seeds"):
        seeds.check_seeds(3, tmp_path)
    seeds.check_seeds(1, tmp_path)
    with pytest.raises(InvalidInputError, match="--seeds 0: too small"):
        seeds.check_seeds(0, tmp_path)


def test_only_the_seed_may_differ_within_a_recipe(base_model: Path, dataset: Path, tmp_path: Path) -> None:
    from insurance_rag.training.preflight import prepare_training

    def fingerprint(**settings: object) -> str:
        return prepare_training(quick(**settings), dataset, str(base_model), tmp_path / "out").recipe_fingerprint

    first = fingerprint()
    assert fingerprint(seed=7, save_steps=3) == first
    assert fingerprint(learning_rate=1e-5) != first
