"""The gate on constructed evaluations: better, worse, equal, cannot tell, missing questions, the registry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from insurance_rag.cli.main import main
from insurance_rag.config import PromotionConfig
from insurance_rag.core.artifacts import artifact
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json, read_jsonl, write_json, write_jsonl
from insurance_rag.promotion import decide
from insurance_rag.promotion.registry import Registry


def row(model: str, i: int, *, wrong: bool, refusal: str = "none", answerable: bool = True) -> dict[str, Any]:
    return {
        "model": model, "question_id": f"q{i}", "context": f"clause {i}", "answerable": answerable,
        "gold_in_context": answerable or None, "hallucinated": wrong, "refusal": refusal, "answer": "답",
    }  # fmt: skip


def rows(model: str, n: int, wrong: int, shift: int = 0, refused: int = 0) -> list[dict[str, Any]]:
    """`n` questions, a quarter unanswerable and refused rightly; `wrong` hallucinations from question `shift` on."""
    found = []
    for i in range(n):
        answerable = i % 4 != 3
        refusal = "full" if not answerable or i < refused else "none"
        found.append(row(model, i, wrong=shift <= i < shift + wrong, refusal=refusal, answerable=answerable))
    return found


def evaluation(folder: Path, **models: list[dict[str, Any]]) -> Path:
    adapters = {}
    for model in models:
        if model == "Base":
            continue
        (folder / model).mkdir(parents=True)
        (folder / model / "adapter_config.json").write_text(model)
        adapters[model] = artifact(folder / model)
    summary = {
        "base_model": "tiny", "adapters": adapters,
        "models": {m: {"rates": {"hallucination": {"rate": sum(r["hallucinated"] for r in own) / max(1, len(own))}}}
                   for m, own in models.items()},
    }  # fmt: skip
    write_json(folder / "summary.json", summary)
    write_jsonl(folder / "answers.jsonl", [r for own in models.values() for r in own])
    return folder


def outcomes(decision: dict[str, Any]) -> dict[str, str]:
    return {rule["name"]: rule["outcome"] for rule in decision["rules"]}


def test_a_better_model_is_promoted(tmp_path: Path) -> None:
    folder = evaluation(tmp_path, Base=rows("Base", 300, 90), v2=rows("v2", 300, 30))
    decision = decide(folder)
    assert decision["decision"] == "promote"
    assert set(outcomes(decision).values()) == {"pass"}
    assert decision["reason"].startswith("v2 replaces Base")
    assert read_json(folder / "decision.json") == decision


def test_a_worse_model_is_refused(tmp_path: Path) -> None:
    decision = decide(evaluation(tmp_path, Base=rows("Base", 300, 30), v2=rows("v2", 300, 90)))
    assert decision["decision"] == "refuse"
    assert outcomes(decision)["no_worse"] == "fail"


def test_twenty_questions_cannot_tell_and_say_how_many_could(tmp_path: Path) -> None:
    """The source's 35 % against 25 % on 20 questions."""
    decision = decide(evaluation(tmp_path, Base=rows("Base", 20, 7), v2=rows("v2", 20, 5, shift=4)))
    assert decision["decision"] == "cannot_tell"
    assert outcomes(decision)["enough_questions"] == "unknown"
    assert decision["more_questions"] > 100
    assert f"ask about {decision['more_questions']} more questions" in decision["reason"]


def test_as_good_is_not_better_but_may_be_enough(tmp_path: Path) -> None:
    folder = evaluation(tmp_path, Base=rows("Base", 400, 40), v2=rows("v2", 400, 40))
    decision = decide(folder)
    assert decision["decision"] == "refuse"
    assert "as good as each other" in decision["reason"]
    assert decide(folder, PromotionConfig(must_improve=False))["decision"] == "promote"


def test_a_model_that_refuses_everything_is_refused(tmp_path: Path) -> None:
    decision = decide(evaluation(tmp_path, Base=rows("Base", 300, 90), v2=rows("v2", 300, 0, refused=300)))
    assert outcomes(decision)["false_refusal"] == "fail"
    assert decision["decision"] == "refuse"


def test_a_model_that_says_nothing_is_refused(tmp_path: Path) -> None:
    own = [r | {"answer": "", "hallucinated": False} for r in rows("v2", 300, 0)]
    decision = decide(evaluation(tmp_path, Base=rows("Base", 300, 90), v2=own))
    assert (decision["decision"], outcomes(decision)["empty"]) == ("refuse", "fail")


def test_a_model_that_never_refuses_is_refused(tmp_path: Path) -> None:
    own = [r | {"refusal": "none"} for r in rows("v2", 300, 10)]
    decision = decide(evaluation(tmp_path, Base=rows("Base", 300, 90), v2=own))
    assert outcomes(decision)["missed_refusal"] == "fail"


def test_missing_and_different_questions_are_no_comparison(tmp_path: Path) -> None:
    base = rows("Base", 300, 90)
    decision = decide(evaluation(tmp_path / "a", Base=base, v2=rows("v2", 297, 10)))
    assert (decision["decision"], outcomes(decision)) == ("refuse", {"same_questions": "fail"})
    assert "3 questions were answered by one of them only" in decision["reason"]
    other = [r | {"context": "another clause"} for r in rows("v2", 300, 10)]
    decision = decide(evaluation(tmp_path / "b", Base=base, v2=other))
    assert "shown different clauses" in decision["reason"]


def test_the_best_of_several_is_named_and_each_is_judged(tmp_path: Path) -> None:
    folder = evaluation(
        tmp_path, Base=rows("Base", 300, 90), v1=rows("v1", 300, 140), v2=rows("v2", 300, 30), v3=rows("v3", 300, 15)
    )
    decision = decide(folder)
    assert (decision["decision"], decision["model"]) == ("promote", "v3")
    assert [c["decision"] for c in decision["challengers"].values()] == ["refuse", "promote", "promote"]


def test_no_unanswerable_questions_leaves_the_refusals_unknown(tmp_path: Path) -> None:
    models = {m: [row(m, i, wrong=i < w) for i in range(300)] for m, w in (("Base", 90), ("v2", 10))}
    decision = decide(evaluation(tmp_path, **models))
    assert outcomes(decision)["missed_refusal"] == "unknown"
    assert decision["decision"] == "cannot_tell"


def test_nothing_to_promote_and_an_unknown_champion(tmp_path: Path) -> None:
    folder = evaluation(tmp_path, Base=rows("Base", 300, 90))
    assert decide(folder)["decision"] == "refuse"
    with pytest.raises(InvalidInputError, match="'v9' was not evaluated"):
        decide(folder, PromotionConfig(champion="v9"))


def test_the_registry_keeps_champion_adapters_and_decisions(tmp_path: Path) -> None:
    registry = tmp_path / "registry"
    first = evaluation(tmp_path / "1", Base=rows("Base", 300, 90), v1=rows("v1", 300, 30))
    assert decide(first, registry=registry)["decision"] == "promote"
    champion = read_json(registry / "champion.json")
    assert champion["model"] == "v1"
    assert (registry / champion["adapter"] / "adapter_config.json").read_text() == "v1"
    without = evaluation(tmp_path / "2", Base=rows("Base", 300, 90), v2=rows("v2", 300, 10))
    with pytest.raises(InvalidInputError, match=r"add --adapter champion=.*adapters"):
        decide(without, registry=registry)
    both = evaluation(tmp_path / "3", Base=rows("Base", 300, 90), v1=rows("v1", 300, 30), v2=rows("v2", 300, 29))
    decision = decide(both, registry=registry)
    assert (decision["champion"], decision["decision"]) == ("v1", "refuse")
    assert read_json(registry / "champion.json") == champion
    assert [line["decision"] for line in read_jsonl(registry / "decisions.jsonl")] == ["promote", "refuse"]
    (both / "v2" / "adapter_config.json").write_text("changed later")
    (registry / "adapters").rename(registry / "gone")
    with pytest.raises(InvalidInputError, match="changed since it was evaluated"):
        decide(both, registry=registry)


def test_the_champion_is_evaluated_beside_new_adapters_and_beaten(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    first = evaluation(tmp_path / "1", Base=rows("Base", 300, 90), v2=rows("v2", 300, 60))
    assert registry.beside({"v2": str(first / "v2")}) == {"v2": str(first / "v2")}  # nobody to beat yet
    assert decide(first, registry=registry.root, dry_run=True)["decision"] == "promote"
    assert registry.champion is None
    decide(first, registry=registry.root)
    assert registry.beside({"v2": str(first / "v2")}) == {"v2": str(first / "v2")}  # it is the champion
    new = {"v2": str(tmp_path / "new")}
    assert list(registry.beside(new)) == ["champion", "v2"]
    second = evaluation(
        tmp_path / "2", Base=rows("Base", 300, 90), champion=rows("champion", 300, 60), v2=rows("v2", 300, 5)
    )
    summary = read_json(second / "summary.json")
    kept = artifact(Path(registry.beside(new)["champion"]))
    write_json(second / "summary.json", summary | {"adapters": {**summary["adapters"], "champion": kept}})
    decision = decide(second, registry=registry.root)
    assert (decision["decision"], decision["champion"], decision["model"]) == ("promote", "champion", "v2")
    assert registry.champion and registry.champion["sha256"] == summary["adapters"]["v2"]["sha256"]


def test_the_command_exits_4_unless_promoted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = evaluation(tmp_path / "good", Base=rows("Base", 300, 90), v2=rows("v2", 300, 30))
    bad = evaluation(tmp_path / "bad", Base=rows("Base", 300, 30), v2=rows("v2", 300, 90))
    assert main(["promote", "--evaluation", str(good), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["decision"] == "promote"
    assert main(["promote", "--evaluation", str(bad)]) == 4
    policy = tmp_path / "policy.yaml"
    policy.write_text("margin: 0.5\nmust_improve: false\n")
    assert main(["promote", "--evaluation", str(bad), "--policy", str(policy)]) == 0
    policy.write_text("marign: 0.5\n")
    assert main(["promote", "--evaluation", str(bad), "--policy", str(policy)]) == 2
    assert "did you mean 'margin'" in capsys.readouterr().err
    policy.write_text("[")
    assert main(["promote", "--evaluation", str(bad), "--policy", str(policy)]) == 2
    policy.write_text("- 1")
    assert main(["promote", "--evaluation", str(bad), "--policy", str(policy)]) == 2


def test_the_decision_that_made_the_champion_stands_when_asked_again(tmp_path: Path) -> None:
    folder = evaluation(tmp_path / "1", Base=rows("Base", 300, 90), v1=rows("v1", 300, 30))
    first = decide(folder, registry=tmp_path / "registry")
    assert decide(folder, registry=tmp_path / "registry") == first
    assert len(read_jsonl(tmp_path / "registry" / "decisions.jsonl")) == 1
    stricter = decide(folder, PromotionConfig(margin=0.01), tmp_path / "registry")  # another question
    assert stricter["decision"] == "refuse"


def test_an_evaluation_of_base_alone_is_recorded(tmp_path: Path) -> None:
    folder = evaluation(tmp_path / "1", Base=rows("Base", 300, 90))
    assert decide(folder, registry=tmp_path / "registry")["decision"] == "refuse"
    assert len(read_jsonl(tmp_path / "registry" / "decisions.jsonl")) == 1


def test_who_was_trained_on_the_questions_documents_is_refused(tmp_path: Path) -> None:
    folder = evaluation(tmp_path, Base=rows("Base", 300, 90), v2=rows("v2", 300, 30))
    summary = read_json(folder / "summary.json")
    write_json(folder / "summary.json", summary | {"seen": {"v2": 5}, "questions": 300})
    decision = decide(folder)
    assert decision["decision"] == "refuse"
    assert "5 of 300 questions are about documents it was trained on" in decision["reason"]
