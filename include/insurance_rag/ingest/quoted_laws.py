"""Recognize articles of quoted laws by their style: laws end sentences with `한다`, policies with `합니다`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from insurance_rag.ingest.headings import ArticleHeading
from insurance_rag.ingest.paragraphs import Paragraph

LAW_PENALTY = 4.0
"""Score that a candidate loses if its text is in the style of laws."""
MIN_POLITE = 0.6
"""Minimum fraction of sentences with polite endings in a document whose own articles are not in the style of laws."""
MAX_PARAGRAPHS = 4

_ENDING = re.compile(r"(니)?다[.。]")


def lower_scores_of_laws(candidates: Sequence[ArticleHeading], paragraphs: Sequence[Paragraph]) -> list[ArticleHeading]:
    """Return the candidates; those whose text is in the style of laws have a lower score.

    In a document that is in that style itself, all scores stay the same.
    """
    polite = plain = 0
    for paragraph in paragraphs:
        for ending in _ENDING.finditer(paragraph.text):
            polite, plain = polite + bool(ending[1]), plain + (not ending[1])
    if polite < MIN_POLITE * (polite + plain):
        return [*candidates]
    starts = {candidate.index for candidate in candidates}
    return [
        replace(candidate, score=candidate.score - LAW_PENALTY)
        if _is_plain(_text_below(candidate, paragraphs, starts))
        else candidate
        for candidate in candidates
    ]


def _text_below(candidate: ArticleHeading, paragraphs: Sequence[Paragraph], starts: set[int]) -> str:
    """Return the first paragraphs of the article, at most up to the next candidate."""
    texts = [candidate.body]
    for i in range(candidate.index + 1, min(candidate.index + 1 + MAX_PARAGRAPHS, len(paragraphs))):
        if i in starts:
            break
        texts.append(paragraphs[i].text)
        if _ENDING.search(texts[-1]):
            break
    return "\n".join(texts)


def _is_plain(text: str) -> bool:
    endings = [ending[1] for ending in _ENDING.finditer(text)]
    return bool(endings) and not any(endings)
