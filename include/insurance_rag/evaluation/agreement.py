"""Measures how well a rater (the checks, the judge, or the metric `correct`) agrees with human labels.

The annotation sheet has about as many flagged as unflagged answers from every model, so flagged answers are more or
less frequent in the sheet than among all answers. Each labeled answer therefore gets a weight: the number of answers of
its model with the same flag, divided by how many of them are labeled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from insurance_rag.core.records import ModelAgreement, RaterAgreement, RaterRate
from insurance_rag.core.stats import cohen_kappa, estimate_clustering, rogan_gladen, wilson

MIN_LABELS = 10
"""Minimum number of faulty and of faultless labeled answers for a model's own sensitivity and specificity."""


class Rating(NamedTuple):
    """A rater's verdict on one answer."""

    key: str
    """Key of the answer."""
    model: str
    cluster: str
    """Cluster of the question."""
    flagged: bool


class _Labeled(NamedTuple):
    rating: Rating
    faulty: bool
    weight: float


def agreement(
    labels: Mapping[str, bool],
    ratings: Sequence[Rating],
    models: Sequence[str],
    fault: Literal["hallucinated", "wrong"] = "hallucinated",
) -> RaterAgreement:
    """Return how well a rater agrees with human labels, and each model's rate of faulty answers without its errors.

    `labels` maps answer keys to labels: True means that a person found the fault. `ratings` are the rater's verdicts on
    all answers; answers without a verdict are left out. A rater does not err equally often on all models, so a model
    with at least `MIN_LABELS` labels of both kinds is corrected with its own sensitivity and specificity. Other models
    are corrected with those of all models.
    """
    labeled = _weighted(labels, ratings)
    pooled = _sensitivity(labeled), _specificity(labeled)
    return RaterAgreement(
        fault=fault,
        kappa=cohen_kappa([x.faulty for x in labeled], [x.rating.flagged for x in labeled]),
        sensitivity=pooled[0],
        specificity=pooled[1],
        models={
            model: _model_agreement(
                [x for x in labeled if x.rating.model == model], [r for r in ratings if r.model == model], pooled
            )
            for model in models
        },
    )


def _weighted(labels: Mapping[str, bool], ratings: Sequence[Rating]) -> list[_Labeled]:
    """Return the labeled answers with their weights."""
    answers = Counter((r.model, r.flagged) for r in ratings)
    sheet = Counter((r.model, r.flagged) for r in ratings if r.key in labels)
    return [
        _Labeled(r, labels[r.key], answers[r.model, r.flagged] / sheet[r.model, r.flagged])
        for r in ratings
        if r.key in labels
    ]


def _model_agreement(
    labeled: Sequence[_Labeled], ratings: Sequence[Rating], pooled: tuple[RaterRate, RaterRate]
) -> ModelAgreement:
    faulty = sum(x.faulty for x in labeled)
    faultless = len(labeled) - faulty
    # If no flagged (or unflagged) answer is labeled, the sensitivity would be 0 (or 1), whatever the rater does.
    covered = {x.rating.flagged for x in labeled} == {r.flagged for r in ratings}
    own = min(faulty, faultless) >= MIN_LABELS and covered
    sensitivity, specificity = (_sensitivity(labeled), _specificity(labeled)) if own else pooled
    flags = [r.flagged for r in ratings]
    n = len(flags) / estimate_clustering(flags, [r.cluster for r in ratings]).variance_factor
    return ModelAgreement(
        scope="model" if own else "pooled",
        faulty=faulty,
        faultless=faultless,
        sensitivity=sensitivity,
        specificity=specificity,
        corrected=rogan_gladen(
            n * sum(flags) / len(flags) if flags else 0, n, _effective(sensitivity), _effective(specificity)
        ),
    )


def _sensitivity(labeled: Sequence[_Labeled]) -> RaterRate:
    return _rater_rate([x for x in labeled if x.faulty], right_flag=True)


def _specificity(labeled: Sequence[_Labeled]) -> RaterRate:
    return _rater_rate([x for x in labeled if not x.faulty], right_flag=False)


def _rater_rate(labeled: Sequence[_Labeled], right_flag: bool) -> RaterRate:
    """Return how often the rater is right on these answers.

    The effective number of answers is sum(w)^2 / sum(w^2) for the weights w (Kish 1965), divided by the design effect
    of the clusters.
    """
    if not labeled:
        return RaterRate(right=0, of=0, effective=0.0, rate=None, low=None, high=None)
    right = [x.rating.flagged is right_flag for x in labeled]
    weights = [x.weight for x in labeled]
    clustering = estimate_clustering(right, [x.rating.cluster for x in labeled])
    effective = sum(weights) ** 2 / sum(w * w for w in weights) / clustering.variance_factor
    value = sum(w for w, ok in zip(weights, right, strict=True) if ok) / sum(weights)
    low, high = wilson(value * effective, effective, 0.95) or (None, None)
    return RaterRate(
        right=sum(right),
        of=len(right),
        effective=round(effective, 2),
        rate=round(value, 4),
        low=None if low is None else round(low, 4),
        high=None if high is None else round(high, 4),
    )


def _effective(found: RaterRate) -> tuple[float, float]:
    """Return (number right, total) of the effective answers."""
    return (found.rate or 0.0) * found.effective, found.effective
