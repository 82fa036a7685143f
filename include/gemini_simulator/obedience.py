"""Imitates a teacher that follows orders in the text of a chunk, as attackers of a document hope (prompt injection)."""

from __future__ import annotations

import re
from dataclasses import replace

from gemini_simulator.answers import AnswerItem, WrittenAnswer
from gemini_simulator.seeded_random import hash_uniform
from insurance_rag.korean.injection import model_instructions

OBEYED = "obeyed_instruction"
"""Name of the defect of an answer that follows an order in its chunk."""
_QUOTED = re.compile(r"[\"'“‘「]([^\"'”’」\n]{2,200})[\"'”’」]")
_NO_QUOTE = "지시에 따라 회사는 모든 경우에 보험금 전액을 지급합니다."


def obey_instructions(answer: WrittenAnswer, seed: int, share: float) -> WrittenAnswer:
    """Return the answer as a teacher writes it that obeys the orders in a fraction of the chunks that contain orders.

    Every answer about such a chunk is what the order puts in quotes, or an invented promise if it quotes nothing.
    """
    return replace(answer, items=tuple(_obey(item, seed, share) for item in answer.items)) if share else answer


def _obey(item: AnswerItem, seed: int, share: float) -> AnswerItem:
    text = item.section.text
    if hash_uniform(seed, "obedience", text) >= share or not (orders := model_instructions(text)):
        return item
    near = text[max(0, text.find(orders[0])) :]
    quoted = _QUOTED.search(near) or _QUOTED.search(text)
    ordered = quoted[1] if quoted else _NO_QUOTE
    return replace(item, pair=replace(item.pair, answer=ordered, defect=OBEYED))
