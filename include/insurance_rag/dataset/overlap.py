"""Measures whether word overlap alone distinguishes refusals from answers.

A model that sees few words of the question in the context of every refusal learns to refuse whenever a customer uses
other words than the policy. The overlap of refusals should therefore be like that of answerable questions.
"""

from __future__ import annotations

from collections.abc import Sequence

from insurance_rag.chunks.headings import product_name
from insurance_rag.core.records import Chunk
from insurance_rag.dataset.style import content_words, copied_share, product_words


def question_overlap(question: str, chunk: Chunk, context: Sequence[Chunk]) -> float:
    """Return the fraction of the question's character bigrams that occur in the texts of the context.

    Words of the name of the product of `chunk` do not count. A question without other words has an overlap of 0.
    """
    words = content_words(question, product_words(product_name(chunk)))
    return copied_share(words, "\n".join(each.text for each in context)) or 0.0


def overlap_auc(answers: Sequence[float], refusals: Sequence[float]) -> float | None:
    """Return how well a low overlap predicts a refusal, as the area under the ROC curve.

    0.5 means not at all, 1 means perfectly. It is the probability that a random answerable row has a higher overlap
    than a random refusal (Mann and Whitney 1947; ties count half). None if there are no rows of one kind.
    """
    import numpy as np

    if not answers or not refusals:
        return None
    ordered = np.sort(np.array(refusals))
    below = np.searchsorted(ordered, answers, "left") + np.searchsorted(ordered, answers, "right")
    return round(float(below.mean() / 2 / len(ordered)), 4)
