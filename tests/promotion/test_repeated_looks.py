"""Several decisions on the same questions: counted, shown, and corrected for if the policy says so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.promotion.evaluations import rows, write_evaluation

from insurance_rag.config import PromotionConfig
from insurance_rag.core.records import Decision, ScoredAnswer
from insurance_rag.promotion import decide
from insurance_rag.promotion.model_registry import ModelRegistry
from insurance_rag.promotion.repeated_looks import corrected_confidence, looks_text, question_set

UNCHANGED = rows("Base", 240, 40)


def decide_on(folder: Path, challenger: Sequence[ScoredAnswer], policy: PromotionConfig | None = None) -> Decision:
    write_evaluation(folder, Base=UNCHANGED, v2=challenger)
    return decide(folder, policy, folder.parent / "registry")


def refused(shift: int) -> list[ScoredAnswer]:
    """Return answers of a challenger that is as good as the base model, on different questions for each `shift`."""
    return rows("v2", 240, 40, shift=shift)


def test_decisions_on_the_same_questions_are_counted_and_shown(tmp_path: Path) -> None:
    decisions = [decide_on(tmp_path / str(i), refused(i)) for i in range(3)]
    assert [decision.earlier_decisions for decision in decisions] == [0, 1, 2]
    assert "the 1st decision on these 240 questions" in decisions[0].reason
    assert "the 3rd decision on these 240 questions" in decisions[2].reason
    assert "up to 8 %" in decisions[2].reason
    shown = next(rule for rule in decisions[2].rules if rule.name == "repeated_looks")
    assert (shown.outcome, shown.text in decisions[2].reason) == ("pass", True)
    log = ModelRegistry(tmp_path / "registry").decisions()
    assert [entry.earlier_decisions for entry in log] == [0, 1, 2]
    assert {entry.question_set for entry in log} == {decisions[0].question_set}


def test_a_repeated_decision_counts_once_and_gives_the_same_result(tmp_path: Path) -> None:
    first = decide_on(tmp_path / "0", refused(0))
    decide_on(tmp_path / "1", refused(1))
    again = decide(tmp_path / "0", registry=tmp_path / "registry")
    assert again == first
    assert decide_on(tmp_path / "2", refused(2)).earlier_decisions == 2


def test_other_questions_are_counted_separately(tmp_path: Path) -> None:
    decide_on(tmp_path / "0", refused(0))
    changed = [row.model_copy(update={"reference_answer": "3일입니다."}) for row in UNCHANGED]
    assert question_set(changed) != question_set(UNCHANGED) == question_set(reversed(UNCHANGED))
    own = [row.model_copy(update={"reference_answer": "3일입니다."}) for row in refused(1)]
    write_evaluation(tmp_path / "1", Base=changed, v2=own)
    assert decide(tmp_path / "1", registry=tmp_path / "registry").earlier_decisions == 0


def test_without_a_registry_nothing_is_counted(tmp_path: Path) -> None:
    decision = decide(write_evaluation(tmp_path, Base=UNCHANGED, v2=refused(0)))
    assert decision.earlier_decisions is None
    assert "decision on these" not in decision.reason


def test_adjust_widens_the_intervals_until_luck_promotes_nothing(tmp_path: Path) -> None:
    adjust = PromotionConfig(repeated_looks="adjust")
    better = rows("v2", 240, 20, shift=100)
    assert decide_on(tmp_path / "fresh" / "0", better, adjust).decision == "promote"
    for i in range(4):
        decide_on(tmp_path / "used" / str(i), refused(i), adjust)
    late = decide_on(tmp_path / "used" / "4", better, adjust)
    assert (late.decision, late.earlier_decisions) == ("cannot_tell", 4)
    assert late.confidence == pytest.approx(1 - 0.05 / 30)
    assert "the 5th decision on these 240 questions; the intervals are at 99.83 %" in late.reason


def test_the_chances_of_all_decisions_add_up_to_the_configured_one() -> None:
    policy = PromotionConfig(repeated_looks="adjust")
    spent = sum(1 - corrected_confidence(policy, 1, earlier) for earlier in range(10_000))
    assert spent == pytest.approx(0.05, abs=1e-5)
    assert corrected_confidence(PromotionConfig(), 5, 7) == pytest.approx(0.99)


@pytest.mark.parametrize(("earlier", "ordinal"), [(0, "1st"), (1, "2nd"), (10, "11th"), (20, "21st"), (111, "112th")])
def test_ordinals(earlier: int, ordinal: str) -> None:
    assert looks_text(PromotionConfig(), earlier, 300, 0.95)[0].startswith(f"the {ordinal} decision on these 300")
