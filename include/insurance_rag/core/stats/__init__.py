"""Statistics for comparing models: confidence intervals, paired tests, sample sizes and rater agreement.

Rates, p values and confidence levels are between 0 and 1, and differences between -1 and 1. An undefined result is
None, never NaN. Nothing here uses random numbers. `bench/statistics.py` measures the coverage of the intervals.
"""

from __future__ import annotations

from insurance_rag.core.stats.agreement import cohen_kappa, rogan_gladen
from insurance_rag.core.stats.clusters import INDEPENDENT, Clustering, estimate_clustering, z
from insurance_rag.core.stats.paired import holm, paired_difference, paired_interval, sign_flip_test
from insurance_rag.core.stats.perplexity import perplexity, perplexity_ratio
from insurance_rag.core.stats.power import questions_needed, visible_difference
from insurance_rag.core.stats.rates import clustered_rate, rate, wilson
from insurance_rag.core.stats.recipes import compare_recipes, recipe_interval, seed_spread

__all__ = [
    "INDEPENDENT",
    "Clustering",
    "clustered_rate",
    "cohen_kappa",
    "compare_recipes",
    "estimate_clustering",
    "holm",
    "paired_difference",
    "paired_interval",
    "perplexity",
    "perplexity_ratio",
    "questions_needed",
    "rate",
    "recipe_interval",
    "rogan_gladen",
    "seed_spread",
    "sign_flip_test",
    "visible_difference",
    "wilson",
    "z",
]
