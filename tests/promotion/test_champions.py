"""The champion is shown, promoted and rolled back by hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.promotion.evaluations import rows, write_evaluation

from insurance_rag.cli.main import main
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json, write_json
from insurance_rag.promotion import decide
from insurance_rag.promotion.champions import list_registry, promote_by_hand, roll_back, show_champion
from insurance_rag.promotion.model_registry import ModelRegistry


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    """Return a registry in which v1 and then v2 became the champion, and v3 was refused."""
    root = tmp_path / "registry"
    first = write_evaluation(tmp_path / "1", Base=rows("Base", 300, 90), v1=rows("v1", 300, 30))
    second = write_evaluation(tmp_path / "2", Base=rows("Base", 300, 90), v1=rows("v1", 300, 30), v2=rows("v2", 300, 2))
    third = write_evaluation(tmp_path / "3", Base=rows("Base", 300, 90), v2=rows("v2", 300, 2), v3=rows("v3", 300, 90))
    decisions = [decide(folder, registry=root).decision for folder in (first, second, third)]
    assert decisions == ["promote", "promote", "refuse"]
    return ModelRegistry(root)


def model(registry: ModelRegistry) -> str | None:
    return registry.champion.model if registry.champion else None


def test_a_rollback_restores_the_replaced_champion_and_is_logged(
    registry: ModelRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["registry", "rollback", "--registry", str(registry.root), "--by", "kim", "--reason", "wrong amounts"]
    assert main([*argv, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (shown["model"], model(registry)) == ("v1", "v1")
    assert main(argv) == 0  # the same command again changes nothing
    listing = list_registry(registry.root)
    assert [(c.decision, c.model, c.by, c.reason) for c in listing.history][2:] == [
        ("rollback", "v1", "kim", "wrong amounts")
    ]
    assert [(a.model, a.files, a.is_champion, a.was_champion) for a in listing.adapters] == [
        ("v1", "ok", True, True),
        ("v2", "ok", False, True),
        ("v3", "ok", False, False),
    ]
    assert main([*argv[:-1], "again"]) == 2  # v1 was the first champion; v2 is not "before" it
    assert "--to" in capsys.readouterr().err
    assert roll_back(registry.root, "lee", "fixed", to="v2").model == "v2"
    assert main([*argv[:-1], "wrong again"]) == 0
    assert model(registry) == "v1"
    assert main(["registry", "show", "--registry", str(registry.root)]) == 0
    assert "wrong again" in capsys.readouterr().out


def test_a_refused_adapter_can_be_promoted_by_hand(registry: ModelRegistry) -> None:
    champion = promote_by_hand(registry.root, "v3", "kim", "asked for by claims")
    assert (champion.model, model(registry)) == ("v3", "v3")
    assert show_champion(registry.root).by == "kim"
    digest = champion.sha256
    assert roll_back(registry.root, "kim", "no").model == "v2"
    assert promote_by_hand(registry.root, digest[:8], "kim", "yes").sha256 == digest
    with pytest.raises(InvalidInputError, match=r"no adapter 'v9' to choose; there are: v1 \("):
        promote_by_hand(registry.root, "v9", "kim", "typo")
    with pytest.raises(InvalidInputError, match="--by: empty"):
        promote_by_hand(registry.root, "v1", " ", "x")


@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_no_rollback_to_files_that_are_gone_or_changed(registry: ModelRegistry, damage: str) -> None:
    before = {path.name: path.read_bytes() for path in registry.root.glob("*.json*")}
    v1 = next(a for a in list_registry(registry.root).adapters if a.model == "v1")
    folder = registry.adapter(v1.sha256)
    if damage == "gone":
        shutil.rmtree(folder)
    else:
        (folder / "adapter_config.json").write_text("edited")
    argv = ["registry", "rollback", "--registry", str(registry.root), "--by", "kim", "--reason", "x"]
    assert main(argv) == 2
    with pytest.raises(InvalidInputError, match=damage):
        roll_back(registry.root, "kim", "x")
    assert {path.name: path.read_bytes() for path in registry.root.glob("*.json*")} == before
    states = {a.model: a.files for a in list_registry(registry.root).adapters}
    assert states == {"v1": "missing" if damage == "gone" else "changed", "v2": "ok", "v3": "ok"}


def test_a_registry_that_was_edited_by_hand_is_reported(registry: ModelRegistry) -> None:
    path = registry.root / "champion.json"
    champion = read_json(path)
    write_json(path, {**champion, "adapter": "../../elsewhere", "since": "2020-01-01T00:00:00+00:00"})
    with pytest.raises(InvalidInputError, match=r"edited by hand; .* champion is v2; .*--to"):
        show_champion(registry.root)
    assert list_registry(registry.root).problems
    assert roll_back(registry.root, "kim", "restore", to="v2").model == "v2"
    assert show_champion(registry.root).model == "v2"
    path.write_text("{")
    assert main(["registry", "show", "--registry", str(registry.root)]) == 2
    assert roll_back(registry.root, "kim", "restore again", to="v2").model == "v2"
    log = registry.root / "decisions.jsonl"
    log.write_bytes(log.read_bytes().replace(b"restore again", b"something else"))
    with pytest.raises(InvalidInputError, match=r"decisions.jsonl: 1 lines are damaged or were edited"):
        show_champion(registry.root)


def test_a_log_of_an_earlier_version_says_how_to_continue(registry: ModelRegistry, tmp_path: Path) -> None:
    """Lines without the adapters and the new champion, as earlier versions wrote them."""
    first, *_ = registry.decisions()
    champion = first.promoted
    assert champion
    (registry.root / "decisions.jsonl").unlink()
    registry.log(first.model_copy(update={"adapters": [], "promoted": None}))
    registry.publish(champion)
    with pytest.raises(InvalidInputError, match=r"of an earlier version, .* remove champion.json, and run"):
        show_champion(registry.root)
    (registry.root / "champion.json").unlink()
    assert decide(tmp_path / "1", registry=registry.root).decision == "promote"
    assert show_champion(registry.root).model == "v1"


def test_an_interrupted_rollback_is_completed_by_the_same_command(registry: ModelRegistry) -> None:
    before = read_json(registry.root / "champion.json")
    roll_back(registry.root, "kim", "wrong amounts")
    write_json(registry.root / "champion.json", before)  # as if the process was killed before the last step
    with pytest.raises(InvalidInputError, match="the change to v1 was interrupted"):
        show_champion(registry.root)
    assert roll_back(registry.root, "kim", "wrong amounts").model == "v1"
    assert show_champion(registry.root).model == "v1"
    assert len(list_registry(registry.root).history) == 3
