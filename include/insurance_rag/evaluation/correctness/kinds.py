"""Titles of the kinds of problems that make an answer wrong. The summary copies them for the report."""

from __future__ import annotations

from insurance_rag.core.records import CorrectnessProblemKind, ProblemInfo

_TITLES: tuple[tuple[CorrectnessProblemKind, str, str], ...] = (
    ("empty", "Empty answer", "빈 답"),
    ("refusal", "Refuses although the policy has the answer", "약관에 답이 있는데 거절"),
    ("missed_refusal", "Answers although no policy has the answer", "약관에 답이 없는데 답변"),
    ("missing_number", "Required number missing", "필요한 숫자 누락"),
    ("contradicting_number", "Number contradicts the policy", "약관과 다른 숫자"),
    ("bound", "Wrong bound, e.g. more than instead of at least", "범위 오류(이상·초과·이하·미만)"),
    ("polarity", "Says the opposite", "긍정과 부정이 반대"),
    ("roles", "People, items or conditions mixed up", "대상이나 조건이 뒤바뀜"),
    ("article", "Wrong article cited", "조항을 잘못 인용"),
    ("content", "Does not say what the reference says", "기준 답변과 내용이 다름"),
    ("focus", "Off the point, too long, or copied from the chunks", "요점 이탈, 과도한 길이 또는 원문 복사"),
)
PROBLEM_KINDS = {kind: ProblemInfo(title=title, title_ko=title_ko) for kind, title, title_ko in _TITLES}
"""Maps every kind to its titles, in display order."""
