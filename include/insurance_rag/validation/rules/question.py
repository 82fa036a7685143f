"""Rules about the question of a row."""

from __future__ import annotations

import re
from functools import lru_cache

from insurance_rag.korean import quantities, remove_whitespace
from insurance_rag.korean.overlap import content_bigrams, covered_share, subject_bigrams
from insurance_rag.validation.row import Row
from insurance_rag.validation.rules.registry import ChunkText, RuleContext, rule

MIN_QUESTION_CHARACTERS = 5

_POINTS_AT_CHUNK = re.compile(
    r"(?:^|[\s,])(?:이|위|본|해당|상기|다음|아래|앞|제시된|제공된|주어진)\s?(?:의\s)?(?:조항|약관|내용|조문|본문|문서|문장|지문|글|규정|항목|표)"
    r"(?!에서\s정한\s(?:질병|재해))(?!(?<=내용)(?:을|를|도)?\s(?:\S{1,6}[가이는은에]\s)?(?:미리\s|뒤늦게\s|나중에\s)?"
    r"(?:안\s|알았|알게|알고|알면|알려야|알리|모르|모른|몰랐|들은|들었|숨기|숨긴))"
    r"|상기\s|앞서\s(?:언급|설명|말)|본문|지문에|윗글"
)
MIN_BIGRAMS = 8
"""An answer with fewer bigrams says too little to tell that it is about something else."""
MIN_SHARED = 3
MIN_SHARE = 0.4
"""A question is about another sentence of the chunk if that sentence contains at least MIN_SHARED of the question's
bigrams, and at least this fraction of them."""
_WORD = re.compile(r"\w+")
_HEADING = re.compile(r"제\s?\d+\s?조(?:의\s?\d+)?\s?\([^)\n]*\)$")
_NAME_ENDING = re.compile(r"(?:손해보험|생명보험|의료보험|보험|생명|화재|해상|공제)$")
_NOT_A_NAME = frozenset(["보험", "상품", "무배당", "유배당", "갱신형", "비갱신형", "특약", "약관", "플랜", "기타"])


@rule("not_standalone", title="Question not self-contained", title_ko="독립적이지 않은 질문", repairable=True)
def not_standalone(row: Row, context: RuleContext) -> str | None:
    """The row has a question that refers to a text the reader does not have, or that has fewer than 5 characters."""
    if match := _POINTS_AT_CHUNK.search(row.instruction):
        return match.group().strip()
    return row.instruction if len(remove_whitespace(row.instruction)) < MIN_QUESTION_CHARACTERS else None


@rule("no_product", title="Question without a product", title_ko="상품 이름이 없는 질문", repairable=True)
def no_product(row: Row, context: RuleContext) -> str | None:
    """The row has a question with no word of its company, product or policy type, although there are several products.

    A question that only part of a name identifies passes, such as 실손 for 실손의료보험.
    """
    if not context.several_products:
        return None
    words = name_words(context.chunk(row).names)
    question = remove_whitespace(row.instruction)
    return None if not words or any(word in question for word in words) else row.instruction


@lru_cache(maxsize=4096)
def name_words(names: str) -> frozenset[str]:
    """Return the words by which a question can name its product, with and without endings such as 보험.

    >>> sorted(name_words("한빛생명 든든 암보험"))
    ['든든', '암보험', '한빛', '한빛생명']
    """
    words = {word for word in _WORD.findall(names) if word not in _NOT_A_NAME}
    return frozenset(word for word in words | {_NAME_ENDING.sub("", word) for word in words} if len(word) > 1)


@rule("unrelated", title="Answer unrelated to the question", title_ko="질문과 무관한 답변", repairable=True)
def unrelated(row: Row, context: RuleContext) -> str | None:
    """The row has a question that shares no words with the answer and the evidence, but is about another sentence of
    the chunk. Also, a question of type `fact` must share words with its chunk or its answer. Without evidence, the
    answer must share words or numbers with the chunk.

    Words are compared by their bigrams, without those that most chunks contain. A question in everyday words often
    shares none with the right answer, and is kept.
    """
    if not row.answerable:
        return None
    chunk = context.chunk(row)
    if not row.evidence:
        return row.output if _shares_nothing(row.output, chunk) else None
    question = _without_names(row.instruction, chunk)
    asked = subject_bigrams(question)
    answered = content_bigrams(row.output)
    if asked & answered:
        return None
    if row.type == "fact" and not content_bigrams(question) & (chunk.content | answered):
        return row.instruction
    if not asked or asked & (content_bigrams(row.evidence) | content_bigrams(chunk.other)):
        return None
    return row.output if any(_is_about(asked, s.text) for s in chunk.sentences if not _HEADING.match(s.text)) else None


def _shares_nothing(answer: str, chunk: ChunkText) -> bool:
    """Return whether an answer of some length shares no bigram and no quantity with its chunk."""
    bigrams = content_bigrams(answer)
    if len(bigrams) < MIN_BIGRAMS or bigrams & chunk.content:
        return False
    return not any(quantity.key in chunk.amounts for quantity in quantities(answer))


def _is_about(asked: frozenset[str], sentence: str) -> bool:
    content = content_bigrams(sentence)
    return len(asked & content) >= MIN_SHARED and covered_share(asked, content) >= MIN_SHARE


def _without_names(question: str, chunk: ChunkText) -> str:
    """Return the question without the words of the product's name, which say nothing about its subject."""
    for word in _longest_first(chunk.names):
        question = question.replace(word, " ")
    return question


@lru_cache(maxsize=4096)
def _longest_first(names: str) -> list[str]:
    return sorted(name_words(names), key=lambda word: (-len(word), word))
