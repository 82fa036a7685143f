"""Records for rates, differences and agreement, with confidence intervals that respect clusters of questions."""

from __future__ import annotations

from insurance_rag.core.records.data import Record

Interval = tuple[float, float]


class Rate(Record):
    """A proportion with its 95 % confidence interval. `rate`, `low` and `high` are None if `n` is 0."""

    count: int
    n: int
    rate: float | None
    low: float | None
    high: float | None
    clusters: int | None = None
    """Number of clusters of correlated questions; None if the outcomes are independent."""
    design_effect: float | None = None
    """How many times larger the variance is than with `n` independent questions. The interval includes it. None if the
    outcomes are independent, or if it cannot be estimated because all outcomes are equal or in one cluster."""


class PairedDifference(Record):
    """How much more often an outcome occurs in answers from `b` than in answers from `a` to the same questions."""

    n: int
    """Number of questions that `a` and `b` both answered."""
    only_a: int
    """Number of questions on which only `a` has the outcome."""
    only_b: int
    """Number of questions on which only `b` has the outcome."""
    difference: float | None
    """rate(b) - rate(a), between -1 and 1; None if `n` is 0."""
    low: float | None
    """Lower end of the 95 % confidence interval for `difference`."""
    high: float | None
    """Upper end of the 95 % confidence interval for `difference`."""
    clusters: int | None = None
    """Number of clusters of correlated questions; None if the questions are independent."""
    design_effect: float | None = None
    """How many times larger the variance of `difference` is than with `n` independent questions. None if the questions
    are independent, or if it cannot be estimated."""
    p: float
    """Two-sided p value of the sign-flip test over clusters. Without clusters, this is McNemar's exact test."""
    questions_needed: int | None
    """Number of questions needed to show a difference of this size with a power of 80 %, if the design effect stays
    the same; None if there is no difference."""


class PairedTest(PairedDifference):
    """The paired difference between two models in one metric."""

    metric: str
    a: str
    b: str
    p_holm: float
    """`p` after Holm's correction, which covers all pairs of models that were tested on this metric."""


class SeedSpread(Record):
    """The rates of several adapters that were trained with one recipe and different seeds."""

    seeds: int
    mean: float
    min: float
    max: float
    sd: float | None
    """Standard deviation over the seeds; None with one seed."""


class RecipeDifference(Record):
    """How much more often an outcome occurs with recipe `b` than with recipe `a`, as the mean over their seeds."""

    n: int
    """Number of questions that all adapters of both recipes answered."""
    clusters: int
    """Number of clusters of correlated questions."""
    a: SeedSpread | None
    b: SeedSpread | None
    """Spread over the seeds of each recipe; None if `n` is 0."""
    difference: float | None
    """mean rate(b) - mean rate(a), between -1 and 1; None if `n` is 0."""
    low: float | None
    """Lower end of the 95 % confidence interval for `difference`; None if `n` is 0."""
    high: float | None
    """Upper end of the 95 % confidence interval for `difference`; None if `n` is 0."""
    p: float | None
    """Two-sided p value of the t test that belongs to the interval; None if it is undefined."""
    question_variance: float | None
    """Part of the variance of `difference` that comes from the choice of the questions, with their clusters."""
    seed_variance: float | None
    """Part of the variance of `difference` that comes from the seeds. A recipe with one seed contributes 0, so the
    result only holds for its one adapter."""
    degrees_of_freedom: float | None
    """Degrees of freedom of the t quantile; None if it is undefined."""


class Kappa(Record):
    """Cohen's kappa for two raters. `kappa` and `interval` are None if they are undefined."""

    kappa: float | None
    interval: Interval | None
    n: int
    agreement: float | None
    """Fraction of the items on which both raters agree."""


class CorrectedRate(Record):
    """A rate corrected for a rater's errors (Rogan and Gladen 1978). Both fields are None if it cannot be corrected."""

    rate: float | None
    interval: Interval | None
