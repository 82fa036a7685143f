"""The optional rule against forgetting: it limits the challenger's perplexity on general text."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.promotion.evaluations import rows, write_evaluation

from insurance_rag.config import PromotionConfig
from insurance_rag.core.files import read_json, write_json
from insurance_rag.core.records import RuleOutcome
from insurance_rag.core.records.general_text import GeneralText, ModelPerplexity
from insurance_rag.core.stats import perplexity, perplexity_ratio
from insurance_rag.promotion import decide

WINDOW_TOKENS = [100, 100, 100, 100]
BASE = [200.0, 220.0, 240.0, 260.0]


def evaluation(folder: Path, losses: list[float] | None) -> Path:
    """Write an evaluation in which v2 is better than Base and has these losses on general text."""
    write_evaluation(folder, Base=rows("Base", 300, 90), v2=rows("v2", 300, 30))
    if losses:
        models = {
            "Base": ModelPerplexity(losses=BASE, perplexity=perplexity(BASE, WINDOW_TOKENS), against_base=None),
            "v2": ModelPerplexity(
                losses=losses,
                perplexity=perplexity(losses, WINDOW_TOKENS),
                against_base=perplexity_ratio(losses, BASE, WINDOW_TOKENS),
            ),
        }
        measured = GeneralText(key="k", file="/t", tokens=400, window_tokens=WINDOW_TOKENS, models=models)
        summary = read_json(folder / "summary.json")
        write_json(folder / "summary.json", {**summary, "general_text": measured.model_dump(mode="json")})
    return folder


def rule_of(folder: Path, **policy: float) -> tuple[str, RuleOutcome]:
    decision = decide(folder, PromotionConfig(general_perplexity_ratio=1.1, **policy))
    rule = next(rule for rule in decision.rules if rule.name == "general_text")
    return decision.reason if rule.outcome == "unknown" else decision.decision, rule


@pytest.mark.parametrize(
    ("added", "outcome", "decision"),
    [
        ([5.0, 5.1, 4.9, 5.0], "pass", "promote"),
        ([15.0, 15.1, 14.9, 15.0], "fail", "refuse"),
        ([2.0, 16.0, 1.0, 17.0], "unknown", "measure the perplexity on more general text"),
    ],
)
def test_the_whole_interval_must_satisfy_the_limit(
    added: list[float], outcome: str, decision: str, tmp_path: Path
) -> None:
    found, rule = rule_of(evaluation(tmp_path, [a + b for a, b in zip(BASE, added, strict=True)]))
    assert rule.outcome == outcome and decision in found
    assert "times that of the base model" in rule.text and "4 windows; at most 1.1 allowed" in rule.text
    assert rule.text_ko and "최대 1.1배 허용" in rule.text_ko and rule.title_ko == "일반 텍스트 능력 유지"


def test_the_interval_has_the_confidence_level_of_the_decision(tmp_path: Path) -> None:
    folder = evaluation(tmp_path, [base + added for base, added in zip(BASE, [8.6, 9.2, 8.8, 9.0], strict=True)])
    assert rule_of(folder)[1].outcome == "pass"
    assert rule_of(folder, confidence=0.999)[1].outcome == "unknown"


def test_without_a_measurement_the_rule_is_unknown_and_without_a_limit_there_is_no_rule(tmp_path: Path) -> None:
    folder = evaluation(tmp_path, None)
    found, rule = rule_of(folder)
    assert rule.outcome == "unknown" and "evaluate again with general_text" in rule.text
    assert found.startswith("cannot tell")
    decision = decide(folder)
    assert decision.decision == "promote" and "general_text" not in {rule.name for rule in decision.rules}
