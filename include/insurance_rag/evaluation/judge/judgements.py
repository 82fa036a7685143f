"""Reads the judge's output: its claims, whether their evidence holds, and the verdict that follows from them."""

from __future__ import annotations

from typing import Annotated, Protocol

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints, ValidationError

from insurance_rag.core.records import Record
from insurance_rag.evaluation.judge.evidence import missing_support
from insurance_rag.korean import is_refusal_sentence, refusal

NOT_JSON = "the output is not the requested JSON"
NO_CLAIMS = "no claim is listed, but the answer is not a refusal"


class AnswerToJudge(Protocol):
    """An answer with its question and context. `ScoredAnswer` is one."""

    @property
    def key(self) -> str: ...
    @property
    def question_id(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def question(self) -> str: ...
    @property
    def context(self) -> str: ...
    @property
    def answer(self) -> str: ...


def _as_quotes(value: object) -> object:
    """Return the quotes in the judge's field `evidence`, which may be one string, a list of strings, or null."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else value


class _Claim(BaseModel):
    """One factual claim, as the judge writes it. Additional fields are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    claim: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
    supported: bool
    evidence: Annotated[tuple[str, ...], BeforeValidator(_as_quotes)] = ()


class _Output(BaseModel):
    """The JSON object that the prompt asks the judge to return."""

    claims: list[_Claim]
    relevant: bool | None = None


class JudgedClaim(Record):
    """One factual claim in an answer, with the judge's verdict."""

    claim: str
    supported: bool
    """Whether the judge says that the context supports the claim."""
    evidence: tuple[str, ...] = ()
    """Quotes from the context that support the claim."""
    unverified: str | None = None
    """Why the evidence does not support the claim; None if it does, or if the judge says that the claim is not
    supported."""


class Judgement(Record):
    """The judge's verdict on one answer."""

    key: str
    """Key of the judged answer."""
    question_id: str
    model: str
    hallucinated: bool | None
    """True if a claim is not supported, and False if all claims are supported by a quote. None if the judgement is
    unusable."""
    relevant: bool | None
    """Whether the answer addresses the question. None for refusals, and if the judge does not say."""
    claims: list[JudgedClaim]
    unusable: str | None = None
    """Why the judgement is unusable; None if it is usable."""
    tries: int
    """Number of outputs that were requested from the judge; 0 for an empty answer."""


def read_judgement(output: str, answer: AnswerToJudge, tries: int) -> Judgement:
    """Return the judgement that the judge's output contains. The output may contain other text around the JSON object.

    One unsupported claim makes the answer a hallucination, whatever the other claims are. Without an unsupported
    claim, the judgement is unusable if the evidence of a claim does not support it. An empty list of claims is usable
    only if the answer is a full refusal, because any other answer states something. Sentences that refuse are no
    claims, although some judges list them.
    """
    refuses = refusal(answer.answer) == "full"
    start, end = output.find("{"), output.rfind("}")
    try:
        found = _Output.model_validate_json(output[start : end + 1])
    except ValidationError:
        return _judgement(answer, tries, unusable=NOT_JSON)
    claims = [_checked(claim, answer) for claim in found.claims if not is_refusal_sentence(claim.claim)]
    relevant = None if refuses else found.relevant
    if any(not claim.supported for claim in claims):
        return _judgement(answer, tries, True, relevant, claims)
    unverified = next((claim.unverified for claim in claims if claim.unverified), None)
    unusable = unverified if claims or refuses else NO_CLAIMS
    return _judgement(answer, tries, None if unusable else False, relevant, claims, unusable)


def judgement_of_empty_answer(answer: AnswerToJudge) -> Judgement:
    """Return the judgement of an empty answer: it states nothing, and does not address the question."""
    return _judgement(answer, 0, hallucinated=False, relevant=False)


def _checked(claim: _Claim, answer: AnswerToJudge) -> JudgedClaim:
    problem = None
    if claim.supported:
        problem = missing_support(claim.claim, claim.evidence, answer.context, answer.question)
    return JudgedClaim(claim=claim.claim, supported=claim.supported, evidence=claim.evidence, unverified=problem)


def _judgement(
    answer: AnswerToJudge,
    tries: int,
    hallucinated: bool | None = None,
    relevant: bool | None = None,
    claims: list[JudgedClaim] | None = None,
    unusable: str | None = None,
) -> Judgement:
    return Judgement(
        key=answer.key,
        question_id=answer.question_id,
        model=answer.model,
        hallucinated=hallucinated,
        relevant=relevant,
        claims=claims or [],
        unusable=unusable,
        tries=tries,
    )
