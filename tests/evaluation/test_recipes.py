"""Adapters are grouped into recipes by their manifests; recipes are compared over seeds and clusters of questions."""

from __future__ import annotations

import random
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.evaluation.fake_model import FakeBackend
from tests.fakes.training_manifest import training_manifest
from tests.promotion.evaluations import row

from insurance_rag.chunks import read_chunks, read_questions
from insurance_rag.config import DecodingConfig
from insurance_rag.core.adapter_folder import AdapterFolder
from insurance_rag.core.files import read_json, write_json
from insurance_rag.core.records import EvaluationSummary, ScoredAnswer
from insurance_rag.core.records.recipes import RecipeAdapters, RecipeTest
from insurance_rag.evaluation import runner
from insurance_rag.evaluation.recipes import compare_all_recipes, group_recipes, summarize_recipes

QUESTIONS = 200


def adapter(folder: Path, recipe: str | None = "v2", seed: int = 42, fingerprint: str = "a") -> Path:
    """Write a training manifest into `folder`, unless `recipe` is None."""
    folder.mkdir()
    if recipe is not None:
        manifest = training_manifest(recipe=recipe, seed=seed, recipe_fingerprint=fingerprint)
        write_json(AdapterFolder(folder).manifest, manifest.model_dump(mode="json"))
    return folder


def grouped(tmp_path: Path, **adapters: tuple[str | None, int, str]) -> dict[str, list[str]]:
    names = {name.replace("_", "-"): facts for name, facts in adapters.items()}
    folders = {name: adapter(tmp_path / name, *facts) for name, facts in names.items()}
    return {name: recipe.adapters for name, recipe in group_recipes(folders).items()}


def test_adapters_that_differ_only_in_the_seed_are_one_recipe(tmp_path: Path) -> None:
    found = grouped(
        tmp_path, v1=("v1", 42, "a"), v2_s10=("v2", 10, "b"), v2_s9=("v2", 9, "b"), v2_long=("v2", 9, "other settings")
    )
    assert found == {"v1": ["v1"], "v2": ["v2-s9", "v2-s10"], "v2-long": ["v2-long"]}


def test_a_recipe_has_the_name_that_its_adapters_share_or_the_recorded_one(tmp_path: Path) -> None:
    found = grouped(
        tmp_path, now_s1=("v2", 1, "a"), now_s2=("v2", 2, "a"), first=("v2", 1, "b"), second=("v2", 2, "b"),
        v2=("v2", 1, "c"),
    )  # fmt: skip
    assert found == {"now": ["now-s1", "now-s2"], "v2": ["first", "second"], "v2 (2)": ["v2"]}


def test_the_same_training_is_not_counted_twice(tmp_path: Path) -> None:
    """The champion of the registry can be a seed that was trained again."""
    found = grouped(tmp_path, champion=("v2", 1, "a"), v2_s1=("v2", 1, "a"), v2_s2=("v2", 2, "a"))
    assert found == {"champion": ["champion"], "v2": ["v2-s1", "v2-s2"]}


def test_an_adapter_without_a_manifest_is_a_recipe_of_its_own(tmp_path: Path) -> None:
    found = group_recipes({"mine": adapter(tmp_path / "mine", None), "v2": adapter(tmp_path / "v2")})
    assert found["mine"] == RecipeAdapters(adapters=["mine"], seeds=[None])
    assert found["v2"] == RecipeAdapters(adapters=["v2"], seeds=[42])


def answers(**rates: float) -> list[ScoredAnswer]:
    """Return each model's answers; a model's rate is its probability of a wrong answer."""
    rng = random.Random(0)
    return [
        row(name.replace("_", "-"), i, wrong=rng.random() < rate)
        for name, rate in rates.items()
        for i in range(QUESTIONS)
    ]


def recipe(*adapters: str) -> RecipeAdapters:
    return RecipeAdapters(adapters=list(adapters), seeds=list(range(len(adapters))))


def find_tests(rows: list[ScoredAnswer], recipes: Mapping[str, RecipeAdapters], metric: str) -> dict[str, RecipeTest]:
    return {
        f"{test.recipe_a} {test.recipe_b}": test for test in compare_all_recipes(rows, recipes) if test.metric == metric
    }


def test_the_interval_of_a_recipe_contains_the_spread_over_seeds() -> None:
    rows = answers(a_s0=0.3, a_s1=0.3, a_s2=0.3, b_s0=0.1, b_s1=0.3, b_s2=0.5, one=0.3)
    recipes = {"a": recipe("a-s0", "a-s1", "a-s2"), "b": recipe("b-s0", "b-s1", "b-s2"), "one": recipe("one")}
    found = {name: summary.rates["hallucination"] for name, summary in summarize_recipes(rows, recipes).items()}
    a, b, one = found["a"], found["b"], found["one"]
    assert (a.seeds, b.seeds, one.seeds, b.n) == (3, 3, 1, QUESTIONS)
    assert b.min == pytest.approx(0.1, abs=0.06) and b.max == pytest.approx(0.5, abs=0.08)
    assert b.sd is not None and a.sd is not None and b.sd > 3 * a.sd
    assert a.low is not None and a.high is not None and b.low is not None and b.high is not None
    assert a.low < a.mean < a.high and b.high - b.low > 2 * (a.high - a.low)
    assert b.low >= 0 and b.high <= 1
    assert (one.low, one.high, one.sd) == (None, None, None)


def test_a_difference_between_two_adapters_is_no_difference_between_noisy_recipes() -> None:
    rows = answers(Base=0.9, a_s0=0.3, a_s1=0.5, a_s2=0.7, b_s0=0.1, b_s1=0.35, b_s2=0.6)
    recipes = {"a": recipe("a-s0", "a-s1", "a-s2"), "b": recipe("b-s0", "b-s1", "b-s2")}
    found = find_tests(rows, recipes, "hallucination")
    assert list(found) == ["Base a", "Base b", "a b"]
    noisy = found["a b"]
    assert noisy.difference is not None and noisy.difference < -0.05
    assert noisy.low is not None and noisy.high is not None and noisy.low < 0 < noisy.high
    assert noisy.p is not None and noisy.p_holm is not None and noisy.p_holm >= noisy.p > 0.05
    steady = find_tests(answers(a_s0=0.3, a_s1=0.3, b_s0=0.6, b_s1=0.6), {
        "a": recipe("a-s0", "a-s1"), "b": recipe("b-s0", "b-s1")
    }, "hallucination")["a b"]  # fmt: skip
    assert steady.p is not None and steady.p < 0.001


def test_recipes_with_one_adapter_each_are_left_to_the_paired_tests() -> None:
    rows = answers(Base=0.5, v1=0.3, v2_s0=0.2, v2_s1=0.2)
    assert compare_all_recipes(rows, {"v1": recipe("v1")}) == []
    found = find_tests(rows, {"v1": recipe("v1"), "v2": recipe("v2-s0", "v2-s1")}, "correct")
    assert list(found) == ["Base v2", "v1 v2"]


def test_the_summary_has_the_recipes_and_a_rescore_keeps_them(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = {f"v2-s{seed}": adapter(tmp_path / f"v2-s{seed}", seed=seed) for seed in (42, 43)}
    for folder in seeds.values():
        (folder / "adapter_config.json").touch()
        (folder / "adapter_model.safetensors").touch()
    backend = FakeBackend()
    monkeypatch.setattr(backend, "identities", dict.fromkeys(["Base", *seeds], "fake"), raising=False)
    monkeypatch.setattr(runner, "open_backend", lambda *_: backend)
    questions, chunks, out = read_questions("sample")[:12], read_chunks("sample"), tmp_path / "evaluation"
    runner.evaluate(questions, chunks, "fake", seeds, DecodingConfig(), out, cache=cache)
    before = read_json(out / "summary.json")
    summary = EvaluationSummary.model_validate(before)
    assert (summary.recipes["v2"].adapters, summary.recipes["v2"].seeds) == (["v2-s42", "v2-s43"], [42, 43])
    assert {(test.recipe_a, test.recipe_b) for test in summary.recipe_tests} == {("Base", "v2")}
    assert all(summary.recipes["v2"].rates[name].sd == 0 for name in ("correct", "hallucination"))  # equal answers
    for folder in seeds.values():
        shutil.rmtree(folder)
    runner.rescore(out, questions, chunks)
    assert read_json(out / "summary.json")["recipes"] == before["recipes"]


def test_a_metric_without_answers_in_its_population_has_no_rate() -> None:
    rows = answers(v2_s0=0.2, v2_s1=0.2)  # all questions are answerable
    recipes = {"v2": recipe("v2-s0", "v2-s1")}
    assert "missed_refusal" not in summarize_recipes(rows, recipes)["v2"].rates
    missed = find_tests(rows, {**recipes, "v1": recipe("v1")}, "missed_refusal")["v2 v1"]
    assert (missed.n, missed.difference, missed.p_holm) == (0, None, None)
