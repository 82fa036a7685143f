"""Claims: the sentences of an answer, each as a prompt for the verifier."""

from __future__ import annotations

from typing import NamedTuple

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.prompt_templates import ANSWER_HEADING, VERIFY, question_with_answer
from insurance_rag.evaluation.samples import EvalSample
from insurance_rag.korean import is_refusal_sentence, sentences


class Claim(NamedTuple):
    """A sentence of an answer."""

    sentence: str
    prompt: str
    """Prompt that asks whether the policy supports the sentence."""


def claims_of_answer(sample: EvalSample, answer: str) -> list[Claim]:
    """Return the claims in an answer to the sample's question, in order."""
    context = VERIFY.context(sample.shown)
    question = sample.question.question
    return [Claim(text, VERIFY.prompt(question_with_answer(question, text), context)) for text in claimed(answer)]


def claims_of_row(prompt: str, answer: str) -> list[Claim]:
    """Return the claims in the answer that a verifier row shows. `prompt` is the prompt of the row.

    Raises InvalidInputError if the prompt does not end with the answer.
    """
    end = f"{answer}\n{ANSWER_HEADING}"
    if not prompt.endswith(end):
        raise InvalidInputError("its prompt does not end with its answer")
    start = prompt.removesuffix(end)
    return [Claim(text, f"{start}{text}\n{ANSWER_HEADING}") for text in claimed(answer)]


def claimed(answer: str) -> list[str]:
    """Return the sentences of an answer that claim something. Refusals claim nothing."""
    return [found.text for found in sentences(answer) if not is_refusal_sentence(found.text)]
