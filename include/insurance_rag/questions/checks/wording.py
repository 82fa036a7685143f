"""Checks of how a question is worded."""

from __future__ import annotations

from insurance_rag.chunks.headings import product_name
from insurance_rag.korean import remove_whitespace
from insurance_rag.korean.overlap import content_bigrams, covered_share
from insurance_rag.questions.candidate import Candidate
from insurance_rag.questions.checks.registry import question_check
from insurance_rag.questions.corpus import Corpus, analyzed_sentences

MIN_COPIED = 0.8
MIN_BIGRAMS = 10
"""A question of at least this many content bigrams is a copy if one sentence of the chunk contains MIN_COPIED of them.
5 % of the answerable sample questions are."""


@question_check("other_product", title="Names another product", title_ko="다른 상품을 가리키는 질문")
def other_product(candidate: Candidate, corpus: Corpus) -> str | None:
    """The chunks are about several products, and the question names another one than its gold chunk is about, or none
    at all.
    """
    question = candidate.question
    if not corpus.several_products:
        return None
    if not question.gold_chunk_ids:  # a question about another line of insurance names one of the products
        return None if corpus.named_words(question.question) else "names no product"
    gold = {product_name(corpus.by_id[i]) for i in question.gold_chunk_ids}
    named = corpus.products_named(question.question)
    if not corpus.named_words(question.question):
        return "names no product"
    return None if gold & named else f"names {', '.join(sorted(named)[:2])}"


@question_check(
    "copied_sentence", title="Sentence turned into a question", title_ko="문장을 그대로 옮긴 질문", drops=False
)
def copied_sentence(candidate: Candidate, corpus: Corpus) -> str | None:
    """The question repeats the words of one sentence of its chunk, so that a search for these words finds it. Customers
    use other words.
    """
    question = candidate.question
    if not question.answerable:
        return None
    asked = content_bigrams(corpus.without_names(question.question))
    if len(asked) < MIN_BIGRAMS:
        return None
    spans = [s for i in question.gold_chunk_ids for s in analyzed_sentences(corpus.by_id[i].text)]
    share, text = max(((covered_share(asked, own), span.text) for span, own, _ in spans), default=(0.0, ""))
    return f"{share:.0%} copied from: {text}" if share >= MIN_COPIED else None


@question_check("many_products", title="Product not named exactly", title_ko="상품이 분명하지 않은 질문", drops=False)
def many_products(candidate: Candidate, corpus: Corpus) -> str | None:
    """The question names its product in words that fit other products as well, and the chunks of these differ. The
    filters of the question may still tell them apart.
    """
    question = candidate.question
    if not corpus.several_products or not question.gold_chunk_ids:
        return None
    others = corpus.scope(question) - set(question.gold_chunk_ids)
    gold = {product_name(corpus.by_id[i]) for i in question.gold_chunk_ids}
    same = {remove_whitespace(corpus.by_id[i].text) for i in question.gold_chunk_ids}
    chunks = (corpus.by_id[i] for i in others)
    products = {product_name(c) for c in chunks if remove_whitespace(c.text) not in same} - gold
    return f"also fits {', '.join(sorted(products)[:3])}" if products else None
