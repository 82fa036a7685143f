"""Check for sentences that cite an article of the context, but say what another article says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from insurance_rag import korean
from insurance_rag.evaluation.checks.passages import Match, claim_weights
from insurance_rag.evaluation.checks.registry import CheckedAnswer, check
from insurance_rag.korean.articles import Article, articles
from insurance_rag.korean.statements import analyze

MIN_SCORE = 0.45
"""A passage with a smaller cosine similarity to the sentence may be about something else."""
MAX_OWN = 0.7
"""Maximum similarity of the cited article's best passage, relative to the best passage of another article."""

MIN_CHARACTERS = 25
"""A shorter sentence is compared together with the sentence before it."""

# What follows a citation that names the source of the sentence: 제7조에 따르면, 제7조는, 제7조의 표를 보면.
_AS_SOURCE = re.compile(
    r"(?:\s?\([^()\n]{0,40}\))?(?:에\s?따르면|에\s?따라|에\s?의하면|에\s?의해|에서(?:는|도)?|은|는|을?를?\s?보면|에는|의\s|\)|상|,)"
)


@check(
    "wrong_article",
    title="Wrong article among those shown",
    title_ko="다른 조항",
    description="A sentence cites an article as its source, but another article of the context says what it says.",
    order=62,
)
def find_wrong_articles(answer: CheckedAnswer) -> Iterator[str]:
    """Yield every cited article whose text is much less similar to the answer than that of another article."""
    sentences = korean.sentences(answer.text)
    for number, sentence in enumerate(sentences):
        found = [cited for cited in articles(sentence.text) if cited.article is not None]
        for cited in found:
            if not _AS_SOURCE.match(sentence.text, cited.end):
                continue
            said = sentence.text if len(found) == 1 else _clause(sentence.text, cited)
            if len(said) < MIN_CHARACTERS and number:  # little more than the citation: `(제7조)`
                said = f"{sentences[number - 1].text} {said}"
            matches = answer.passages.matches(claim_weights(said, answer.question))
            if _is_wrong(cited, matches):
                yield cited.text


def _clause(sentence: str, cited: Article) -> str:
    """Return the clause of the sentence that contains the citation."""
    return next((s.text for s in analyze(sentence) if s.start <= cited.start < s.end), sentence)


def _is_wrong(cited: Article, matches: Sequence[Match]) -> bool:
    """Return whether another article is much more similar, and does not refer to the cited one."""
    best = matches[0] if matches else None
    if best is None or best.score < MIN_SCORE:
        return False
    wanted = (cited.article, cited.branch)
    source = best.passage.statement
    if source.article is None or source.article == wanted:
        return False
    if any((other.article, other.branch) == wanted for other in articles(source.text)):
        return False
    own = next((match.score for match in matches if match.passage.statement.article == wanted), 0.0)
    return own < MAX_OWN * best.score
