"""The gate on constructed evaluations: better, worse, equal, cannot tell, missing questions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.promotion.evaluations import row, rows, write_evaluation

from insurance_rag.cli.main import main
from insurance_rag.config import PromotionConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json, write_json
from insurance_rag.core.records import Correctness, Decision, ScoredAnswer
from insurance_rag.promotion import decide


def outcomes(decision: Decision) -> dict[str, str]:
    return {rule.name: rule.outcome for rule in decision.rules}


def test_a_better_model_is_promoted(tmp_path: Path) -> None:
    folder = write_evaluation(tmp_path, Base=rows("Base", 300, 90), v2=rows("v2", 300, 30))
    decision = decide(folder)
    assert decision.decision == "promote"
    assert set(outcomes(decision).values()) == {"pass"}
    assert decision.reason.startswith("v2 replaces Base")
    assert Decision.model_validate(read_json(folder / "decision.json")) == decision


def test_a_worse_model_is_refused(tmp_path: Path) -> None:
    decision = decide(write_evaluation(tmp_path, Base=rows("Base", 300, 30), v2=rows("v2", 300, 90)))
    assert decision.decision == "refuse"
    assert outcomes(decision)["better"] == outcomes(decision)["no_worse.hallucination"] == "fail"


def test_equal_hallucination_and_more_correct_answers_is_promoted(tmp_path: Path) -> None:
    """Both hallucinate on 8 questions, but the champion refuses half of the questions that it could answer."""
    champion, challenger = rows("Base", 300, 8, refused=150), rows("v2", 300, 8, shift=100, refused=12)
    decision = decide(write_evaluation(tmp_path, Base=champion, v2=challenger))
    assert decision.decision == "promote"
    assert outcomes(decision)["no_worse.hallucination"] == "pass"


def test_more_correct_answers_do_not_pay_for_more_hallucinations(tmp_path: Path) -> None:
    champion, challenger = rows("Base", 300, 0, refused=200), rows("v2", 300, 40)
    decision = decide(write_evaluation(tmp_path, Base=champion, v2=challenger))
    assert (outcomes(decision)["better"], outcomes(decision)["no_worse.hallucination"]) == ("pass", "fail")
    assert decision.decision == "refuse"
    assert "no_worse.hallucination (13.3 % against 0.0 % of 300 questions: +13.3 points" in decision.reason


def test_an_answer_that_only_the_challenger_leaves_unjudged_counts_as_wrong(tmp_path: Path) -> None:
    unknown = Correctness(correct=None, cannot_judge="the answer is too long")
    own = [r.model_copy(update={"correctness": unknown}) if i < 8 else r for i, r in enumerate(rows("v2", 300, 8))]
    decision = decide(write_evaluation(tmp_path, Base=rows("Base", 300, 90), v2=own))
    better = next(rule for rule in decision.rules if rule.name == "better")
    assert "97.3 % against 70.0 % of 300 questions" in better.text


def test_questions_without_references_cannot_be_judged(tmp_path: Path) -> None:
    unknown = Correctness(correct=None, cannot_judge="the question has no reference answer")

    def without_references(model: str, wrong: int) -> list[ScoredAnswer]:
        made = rows(model, 300, wrong)
        return [r.model_copy(update={"correctness": unknown}) if r.answerable else r for r in made]

    folder = write_evaluation(tmp_path, Base=without_references("Base", 90), v2=without_references("v2", 0))
    decision = decide(folder)
    assert decision.decision != "promote"
    assert outcomes(decision)["judged"] == "unknown"
    judged = next(rule for rule in decision.rules if rule.name == "judged")
    assert "cannot judge 450 of 450 answers to answerable questions: the question has no reference answer (450)" in (
        judged.text
    )
    # A policy that uses no references may decide without them.
    other = {"metric": "hallucination", "margins": {"correct": None}, "limits": {"correct": None}}
    assert decide(folder, PromotionConfig.parse(other)).decision == "promote"


def test_questions_without_required_numbers_leave_the_number_accuracy_unknown(tmp_path: Path) -> None:
    def without_numbers(model: str, wrong: int) -> list[ScoredAnswer]:
        return [r.model_copy(update={"number_accuracy": None}) for r in rows(model, 300, wrong)]

    folder = write_evaluation(tmp_path, Base=without_numbers("Base", 90), v2=without_numbers("v2", 10))
    decision = decide(folder)
    assert (decision.decision, decision.more_questions) == ("cannot_tell", None)
    assert "cannot judge number_accuracy: its population is empty" in decision.reason
    assert "complete the question file" in decision.reason
    assert decide(folder, PromotionConfig.parse({"margins": {"number_accuracy": None}})).decision == "promote"


def test_correlated_questions_need_a_larger_difference(tmp_path: Path) -> None:
    """The challenger is better on all questions of three clusters: 300 questions, but little evidence."""

    def clustered(model: str, wrong: int) -> list[ScoredAnswer]:
        return [r.model_copy(update={"cluster": f"c{i // 25}"}) for i, r in enumerate(rows(model, 300, wrong))]

    independent = decide(write_evaluation(tmp_path / "a", Base=rows("Base", 300, 75), v2=rows("v2", 300, 0)))
    together = decide(write_evaluation(tmp_path / "b", Base=clustered("Base", 75), v2=clustered("v2", 0)))
    assert (outcomes(independent)["better"], outcomes(together)["better"]) == ("pass", "unknown")


def test_twenty_questions_cannot_tell_and_name_the_number_needed(tmp_path: Path) -> None:
    """The comparison of the reference design: 35 % against 25 % on 20 questions (docs/origin.md)."""
    policy = PromotionConfig.parse(
        {"limits": dict.fromkeys(("correct", "hallucination", "raw_hallucination", "missed_refusal"))}
    )
    folder = write_evaluation(tmp_path, Base=rows("Base", 20, 7), v2=rows("v2", 20, 5, shift=4))
    decision = decide(folder, policy)
    assert decision.decision == "cannot_tell"
    assert outcomes(decision)["enough_questions"] == "unknown"
    assert decision.more_questions is not None
    assert decision.more_questions > 100
    assert f"ask {decision.more_questions} more questions" in decision.reason


def test_as_good_is_not_better_but_may_be_enough(tmp_path: Path) -> None:
    folder = write_evaluation(tmp_path, Base=rows("Base", 400, 40), v2=rows("v2", 400, 40))
    decision = decide(folder)
    assert decision.decision == "refuse"
    assert "equally good" in decision.reason
    assert decide(folder, PromotionConfig(must_improve=False)).decision == "promote"


def test_a_model_that_refuses_everything_is_refused(tmp_path: Path) -> None:
    decision = decide(write_evaluation(tmp_path, Base=rows("Base", 300, 90), v2=rows("v2", 300, 0, refused=300)))
    assert outcomes(decision)["false_refusal"] == "fail"
    assert decision.decision == "refuse"


def test_a_model_that_says_nothing_is_refused(tmp_path: Path) -> None:
    own = [r.model_copy(update={"answer": ""}) for r in rows("v2", 300, 0)]
    decision = decide(write_evaluation(tmp_path, Base=rows("Base", 300, 90), v2=own))
    assert (decision.decision, outcomes(decision)["empty"]) == ("refuse", "fail")


def test_a_model_that_never_refuses_is_refused(tmp_path: Path) -> None:
    own = [r.model_copy(update={"refusal": "none"}) for r in rows("v2", 300, 10)]
    decision = decide(write_evaluation(tmp_path, Base=rows("Base", 300, 90), v2=own))
    assert outcomes(decision)["missed_refusal"] == "fail"


def test_missing_questions_and_different_contexts_are_refused(tmp_path: Path) -> None:
    base = rows("Base", 300, 90)
    decision = decide(write_evaluation(tmp_path / "a", Base=base, v2=rows("v2", 297, 10)))
    assert (decision.decision, outcomes(decision)) == ("refuse", {"same_questions": "fail"})
    assert "3 questions were answered by only one of them" in decision.reason
    other = [r.model_copy(update={"context": "another chunk"}) for r in rows("v2", 300, 10)]
    decision = decide(write_evaluation(tmp_path / "b", Base=base, v2=other))
    assert "given different contexts" in decision.reason


def test_the_best_of_several_is_named_and_each_is_judged(tmp_path: Path) -> None:
    folder = write_evaluation(
        tmp_path, Base=rows("Base", 300, 90), v1=rows("v1", 300, 140), v2=rows("v2", 300, 30), v3=rows("v3", 300, 15)
    )
    decision = decide(folder)
    assert (decision.decision, decision.model) == ("promote", "v3")
    assert [c.decision for c in decision.challengers.values()] == ["refuse", "promote", "promote"]


def test_no_unanswerable_questions_leaves_the_refusals_unknown(tmp_path: Path) -> None:
    models = {m: [row(m, i, wrong=i < w) for i in range(300)] for m, w in (("Base", 90), ("v2", 10))}
    decision = decide(write_evaluation(tmp_path, **models))
    assert outcomes(decision)["missed_refusal"] == outcomes(decision)["no_worse.missed_refusal"] == "unknown"
    assert decision.decision == "cannot_tell"


def test_nothing_to_promote_and_an_unknown_champion(tmp_path: Path) -> None:
    folder = write_evaluation(tmp_path, Base=rows("Base", 300, 90))
    assert decide(folder).decision == "refuse"
    with pytest.raises(InvalidInputError, match="'v9' was not evaluated"):
        decide(folder, PromotionConfig(champion="v9"))


def test_the_command_exits_4_unless_promoted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = write_evaluation(tmp_path / "good", Base=rows("Base", 300, 90), v2=rows("v2", 300, 30))
    bad = write_evaluation(tmp_path / "bad", Base=rows("Base", 300, 30), v2=rows("v2", 300, 90))
    assert main(["promote", "--evaluation", str(good), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["decision"] == "promote"
    assert main(["promote", "--evaluation", str(bad)]) == 4
    policy = tmp_path / "policy.yaml"
    policy.write_text("""
must_improve: false
margins: {correct: 0.5, hallucination: 0.5, false_refusal: 0.5, missed_refusal: 0.5, number_accuracy: 0.5}
limits: {hallucination: null, raw_hallucination: null}
""")
    assert main(["promote", "--evaluation", str(bad), "--policy", str(policy)]) == 0
    policy.write_text("limits: {false_refusal: 0.0, empty: 0.5}\n")
    assert main(["promote", "--evaluation", str(good), "--policy", str(policy), "--set", "limits.empty=0.4"]) == 4
    assert Decision.model_validate(read_json(good / "decision.json")).policy["limits"] == {
        "correct": 0.6, "hallucination": 0.2, "raw_hallucination": 0.3, "false_refusal": 0.0, "missed_refusal": 0.3,
        "empty": 0.4,
    }  # fmt: skip
    policy.write_text("[")
    assert main(["promote", "--evaluation", str(bad), "--policy", str(policy)]) == 2
    policy.write_text("- 1")
    assert main(["promote", "--evaluation", str(bad), "--policy", str(policy)]) == 2


def test_a_model_trained_on_the_documents_of_the_questions_is_refused(tmp_path: Path) -> None:
    folder = write_evaluation(tmp_path, Base=rows("Base", 300, 90), v2=rows("v2", 300, 30))
    summary = read_json(folder / "summary.json")
    write_json(folder / "summary.json", summary | {"contaminated": {"v2": 5}})
    decision = decide(folder)
    assert decision.decision == "refuse"
    assert "5 of 300 questions are about documents or sections that the model was trained on" in decision.reason


def test_a_limit_can_be_set_removed_and_added(tmp_path: Path) -> None:
    folder = write_evaluation(tmp_path, Base=rows("Base", 300, 90), v2=rows("v2", 300, 30))
    policy = PromotionConfig.parse({"limits": {"empty": None, "false_refusal": 0.2, "number_accuracy": 0.5}})
    assert policy.limits == {
        "correct": 0.6, "hallucination": 0.2, "raw_hallucination": 0.3, "false_refusal": 0.2, "missed_refusal": 0.3,
        "empty": None, "number_accuracy": 0.5,
    }  # fmt: skip
    decision = decide(folder, policy)
    assert outcomes(decision)["number_accuracy"] == "pass"
    assert "empty" not in outcomes(decision)
    with pytest.raises(InvalidInputError, match=r"limits.*unknown metric 'emtpy'; did you mean 'empty'\?"):
        PromotionConfig.parse({"limits": {"emtpy": 0.1}})


def test_a_metric_where_higher_is_better_is_compared_and_limited_from_below(tmp_path: Path) -> None:
    def stating(model: str, right: int) -> list[ScoredAnswer]:
        return [r.model_copy(update={"number_accuracy": i < right}) for i, r in enumerate(rows(model, 300, 0))]

    folder = write_evaluation(tmp_path, Base=stating("Base", 150), v2=stating("v2", 240))
    policy = PromotionConfig.parse({"metric": "number_accuracy", "limits": {"number_accuracy": 0.6}})
    decision = decide(folder, policy)
    assert (decision.decision, outcomes(decision)["better"]) == ("promote", "pass")
    stricter = PromotionConfig.parse({"metric": "number_accuracy", "limits": {"number_accuracy": 0.9}})
    assert outcomes(decide(folder, stricter))["number_accuracy"] == "fail"
    swapped = write_evaluation(tmp_path / "swapped", Base=stating("Base", 240), v2=stating("v2", 150))
    assert outcomes(decide(swapped, policy))["better"] == "fail"


def test_a_damaged_evaluation_is_reported_with_file_and_line(tmp_path: Path) -> None:
    folder = write_evaluation(tmp_path, Base=rows("Base", 60, 20), v2=rows("v2", 60, 5))
    answers = folder / "answers.jsonl"
    lines = answers.read_text().splitlines()
    answers.write_text("\n".join([*lines[:2], '{"model": "v2"}', *lines[3:]]))
    problem = r"answers.jsonl:3: not a scored answer \(question_id: Field required, .*; run evaluate again"
    with pytest.raises(InvalidInputError, match=problem):
        decide(folder)


def test_rules_about_metrics_have_their_figures_and_all_others_a_korean_text(tmp_path: Path) -> None:
    folder = write_evaluation(tmp_path / "evaluation", Base=rows("Base", 300, 90), v2=rows("v2", 300, 30))
    decision = decide(folder, registry=tmp_path / "registry")
    found = {rule.name: rule for rule in decision.rules}
    better, no_worse, limit = (found[name].figures for name in ("better", "no_worse.hallucination", "hallucination"))
    assert better and no_worse and limit and better.champion is not None
    assert (better.metric, better.own, better.champion) == ("correct", 0.9, 0.7)
    assert (better.allowed, better.bound, no_worse.allowed, no_worse.bound) == (0, "more_than", 0.05, "at_most")
    assert better.low < better.own - better.champion < better.high
    assert (limit.champion, limit.own, limit.allowed, limit.bound) == (None, 0.1, 0.2, "at_most")
    assert [rule.name for rule in decision.rules if not rule.figures and not rule.text_ko] == []
    assert found["repeated_looks"].text_ko == "이 질문 300개로 내린 1번째 판정입니다."
