"""The model registry: champion, adapters, the log of decisions."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.promotion.evaluations import rows, write_evaluation

from insurance_rag.config import PromotionConfig
from insurance_rag.core.artifacts import describe
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json, write_json
from insurance_rag.core.records import Artifact, EvaluationSummary
from insurance_rag.promotion import decide
from insurance_rag.promotion.model_registry import ModelRegistry


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    return ModelRegistry(tmp_path / "registry")


def test_it_keeps_champion_adapters_and_decisions(tmp_path: Path, registry: ModelRegistry) -> None:
    first = write_evaluation(tmp_path / "1", Base=rows("Base", 300, 90), v1=rows("v1", 300, 30))
    assert decide(first, registry=registry.root).decision == "promote"
    champion = registry.champion
    assert champion is not None
    assert champion.model == "v1"
    assert (registry.root / champion.adapter / "adapter_config.json").read_text() == "v1"
    without = write_evaluation(tmp_path / "2", Base=rows("Base", 300, 90), v2=rows("v2", 300, 10))
    with pytest.raises(InvalidInputError, match=r"add --adapter champion=.*adapters"):
        decide(without, registry=registry.root)
    both = write_evaluation(tmp_path / "3", Base=rows("Base", 300, 90), v1=rows("v1", 300, 30), v2=rows("v2", 300, 29))
    decision = decide(both, registry=registry.root)
    assert (decision.champion, decision.decision) == ("v1", "refuse")
    assert registry.champion == champion
    assert [entry.decision for entry in registry.decisions()] == ["promote", "refuse"]
    (both / "v2" / "adapter_config.json").write_text("changed later")
    (registry.root / "adapters").rename(registry.root / "gone")
    with pytest.raises(InvalidInputError, match="changed since it was evaluated"):
        decide(both, registry=registry.root)


def test_the_champion_is_evaluated_next_to_new_adapters_and_replaced(tmp_path: Path, registry: ModelRegistry) -> None:
    first = write_evaluation(tmp_path / "1", Base=rows("Base", 300, 90), v2=rows("v2", 300, 30))
    own = {"v2": str(first / "v2")}
    assert registry.with_champion(own) == own  # there is no champion yet
    assert decide(first, registry=registry.root, dry_run=True).decision == "promote"
    assert registry.champion is None
    decide(first, registry=registry.root)
    assert registry.with_champion(own) == own  # it is the champion
    new = {"v2": str(tmp_path / "new")}
    assert list(registry.with_champion(new)) == ["champion", "v2"]
    second = write_evaluation(
        tmp_path / "2", Base=rows("Base", 300, 90), champion=rows("champion", 300, 30), v2=rows("v2", 300, 2)
    )
    summary = EvaluationSummary.model_validate(read_json(second / "summary.json"))
    kept = describe(Path(registry.with_champion(new)["champion"]), Artifact)
    changed = summary.model_copy(update={"adapters": {**summary.adapters, "champion": kept}})
    write_json(second / "summary.json", changed.model_dump(mode="json"))
    decision = decide(second, registry=registry.root)
    assert (decision.decision, decision.champion, decision.model) == ("promote", "champion", "v2")
    assert registry.champion is not None
    assert registry.champion.sha256 == summary.adapters["v2"].sha256


def test_the_decision_that_promoted_the_champion_is_returned_again(tmp_path: Path, registry: ModelRegistry) -> None:
    folder = write_evaluation(tmp_path / "1", Base=rows("Base", 300, 90), v1=rows("v1", 300, 30))
    first = decide(folder, registry=registry.root)
    assert decide(folder, registry=registry.root) == first
    assert len(registry.decisions()) == 1
    stricter = decide(folder, PromotionConfig(power=0.9), registry.root)  # another policy judges again
    assert (stricter.champion, stricter.model) == ("v1", None)


def test_an_evaluation_of_the_base_model_only_is_recorded(tmp_path: Path, registry: ModelRegistry) -> None:
    folder = write_evaluation(tmp_path / "1", Base=rows("Base", 300, 90))
    assert decide(folder, registry=registry.root).decision == "refuse"
    assert len(registry.decisions()) == 1


def test_any_flipped_bit_costs_at_most_its_own_decision(tmp_path: Path, registry: ModelRegistry) -> None:
    for i in range(3):
        decide(write_evaluation(tmp_path / str(i), Base=rows("Base", 60, 20)), registry=registry.root)
    log = registry.root / "decisions.jsonl"
    content, entries = log.read_bytes(), registry.decisions()
    second_line = content.index(b"\n") + 1
    for position in range(second_line, content.index(b"\n", second_line), 7):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        log.write_bytes(damaged)
        readable = registry.decisions()
        assert readable[0] == entries[0]
        assert readable[-1] == entries[2]


def test_the_champion_states_the_prompt_format_in_which_it_was_evaluated(
    tmp_path: Path, registry: ModelRegistry
) -> None:
    folder = write_evaluation(tmp_path / "1", Base=rows("Base", 300, 90), v1=rows("v1", 300, 30))
    summary = read_json(folder / "summary.json")
    write_json(folder / "summary.json", {**summary, "prompt_formats": {"Base": "rag", "v1": "plain"}})
    decide(folder, registry=registry.root)
    assert registry.champion is not None
    assert registry.champion.prompt_format == "plain"


def test_a_damaged_champion_is_an_error(registry: ModelRegistry) -> None:
    write_json(registry.root / "champion.json", {"model": "v1"})
    with pytest.raises(InvalidInputError, match=r"champion.json: not a champion .*restore it"):
        _ = registry.champion
