"""An optional LLM judge, which reads each answer with its context and quotes evidence for every supported claim.

`docs/judge.md` describes what a judgement contains, when it is usable, and which rates are computed from it.
"""

from __future__ import annotations

from insurance_rag.evaluation.judge.judgements import AnswerToJudge, JudgedClaim, Judgement
from insurance_rag.evaluation.judge.requests import judge_answers
from insurance_rag.evaluation.judge.summary import summarize_judgements

__all__ = ["AnswerToJudge", "JudgedClaim", "Judgement", "judge_answers", "summarize_judgements"]
