"""Summarizes judgements: rates with intervals, paired tests between models, and counts of unusable judgements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations

from insurance_rag.core.records import JudgedModel, JudgeSummary, PairedTest, Rate
from insurance_rag.core.stats import clustered_rate, holm, paired_difference
from insurance_rag.evaluation.judge.judgements import Judgement

_Verdict = Callable[[Judgement], bool | None]

VERDICTS: dict[str, _Verdict] = {
    "judged_hallucination": lambda judgement: judgement.hallucinated,
    "judged_relevance": lambda judgement: judgement.relevant,
}
"""Name of a paired test -> the verdict that it compares."""


def summarize_judgements(
    name: str, judgements: Sequence[Judgement], models: Sequence[str], clusters: Mapping[str, str]
) -> JudgeSummary:
    """Return the judge's rates for each model, and its paired tests between models.

    `name` is the judge's name, and `clusters` maps question ids to clusters. Answers without a verdict are left out.
    """
    by_model = {model: [j for j in judgements if j.model == model] for model in models}
    return JudgeSummary(
        name=name,
        models={model: _judged_model(own, clusters) for model, own in by_model.items()},
        tests=[test for metric in VERDICTS for test in _paired_tests(metric, by_model, clusters)],
    )


def _judged_model(own: Sequence[Judgement], clusters: Mapping[str, str]) -> JudgedModel:
    again = [judgement for judgement in own if judgement.tries > 1]
    return JudgedModel(
        hallucination=_rate(_outcomes(own, VERDICTS["judged_hallucination"]), clusters),
        relevance=_rate(_outcomes(own, VERDICTS["judged_relevance"]), clusters),
        unusable=dict(sorted(Counter(judgement.unusable for judgement in own if judgement.unusable).items())),
        second_tries=len(again),
        recovered=sum(judgement.unusable is None for judgement in again),
    )


def _rate(outcomes: Mapping[str, bool], clusters: Mapping[str, str]) -> Rate:
    return clustered_rate(list(outcomes.values()), [clusters[question] for question in outcomes])


def _outcomes(own: Sequence[Judgement], verdict: _Verdict) -> dict[str, bool]:
    """Return the verdicts by question id. Answers without a verdict are left out."""
    found = {judgement.question_id: verdict(judgement) for judgement in own}
    return {question: outcome for question, outcome in found.items() if outcome is not None}


def _paired_tests(
    metric: str, by_model: Mapping[str, Sequence[Judgement]], clusters: Mapping[str, str]
) -> Iterator[PairedTest]:
    """Yield one test per pair of models. The p values are Holm-corrected for the number of pairs."""
    outcomes = {model: _outcomes(own, VERDICTS[metric]) for model, own in by_model.items()}
    pairs = list(combinations(by_model, 2))
    differences = [paired_difference(outcomes[a], outcomes[b], clusters) for a, b in pairs]
    adjusted = holm([difference.p for difference in differences])
    for (a, b), difference, p_holm in zip(pairs, differences, adjusted, strict=True):
        yield PairedTest(metric=metric, a=a, b=b, p_holm=p_holm, **dict(difference))
