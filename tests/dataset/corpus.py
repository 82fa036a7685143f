"""A small corpus of three sister products, and rows about it."""

from __future__ import annotations

from typing import cast

from tests.validation.helpers import CHUNK_TEXT, GeneratedRow, chunk, row

from insurance_rag.core.records import Chunk, QARow

PRODUCTS = ("든든", "여성든든", "다시든든")
TOPICS = ("청약", "해지", "부활", "소멸", "대출", "배당", "분쟁", "관할", "청구", "통지", "연체", "갱신", "특약")


def qa_row(**changed: object) -> QARow:
    """Return a validated row about CHUNK_TEXT with these changes."""
    return cast(QARow, row() | changed)


def corpus_chunks() -> list[Chunk]:
    """Return 14 chunks per product; the first ones differ only in the amount."""
    found = []
    for n, name in enumerate(PRODUCTS):
        source, product = f"{n}.pdf", f"한빛 {name} 암보험"
        found.append(chunk(f"p{n}_00", CHUNK_TEXT.replace("3,000", f"{3 + n},000"), source=source, product=product))
        for k, topic in enumerate(TOPICS):
            text = (
                f"제{k + 10}조({topic}의 절차)\n{topic}에 관한 {name} 상품의 업무는 {topic} 신청서를 받은 뒤 "
                f"{topic} 부서가 맡습니다."
            )
            found.append(chunk(f"p{n}_{k + 1:02}", text, source=source, product=product))
    return found


def generated_rows() -> list[GeneratedRow]:
    """Return two good rows per chunk."""
    rows = []
    for n, owner in enumerate(corpus_chunks()):
        product = owner.metadata.breadcrumbs.split(" > ")[0]
        title = owner.text[owner.text.index("(") + 1 : owner.text.index(")")]
        article = owner.text[: owner.text.index("(")]
        answer = f"{article}에 따르면 {owner.text.splitlines()[1].removeprefix('① ')}"
        questions = (
            f"{product}에서 {title}는 어떤가요?",
            f"{product} 가입자입니다. {title} 부분이 궁금한데 알려 주시겠어요?",
        )
        for k, question in enumerate(questions):
            fields = {
                "chunk_id": owner.chunk_id,
                "type": ("fact", "easy")[k],
                "instruction": question,
                "input": owner.text,
                "output": answer if k else answer + f" {title}에 적혀 있습니다.",
                "evidence": "",
                "meta": {"n": n},
            }
            rows.append(fields)
    return rows
