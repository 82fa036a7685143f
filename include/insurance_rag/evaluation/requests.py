"""What a model is asked: the prompt of one question, fitted into the model's context.

Every model gets the same RAG prompt, the format v2 was trained on. v1 was trained on plain QA and so answers a format
it has not seen; its own has no place for "say so if the policy does not", which would make refusals incomparable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from insurance_rag.config import DecodingConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.prompt_templates import rag_prompt

#: The base model without an adapter.
BASE = "Base"
JOINT = "\n\n"
#: Raise it when the same settings come to generate something else: kept answers are then asked anew.
VERSION = "2"


@dataclass(frozen=True)
class GenerationRequest:
    """One prompt for one model."""

    key: str
    """Hash of all that the answer depends on: it is resumed by this."""
    model: str
    question_id: str
    prompt: str

    @property
    def noise_identity(self) -> str:
        """Models are compared on the same draws."""
        return self.question_id


@dataclass(frozen=True)
class Reply:
    """A model's answer as generated; `seconds` is its share of its batch's time."""

    text: str
    new_tokens: int
    seconds: float


def check_prompt_penalty(who: str, decoding: DecodingConfig) -> None:
    """InvalidInputError for a penalty on generated tokens alone, where `who` answers can only count the prompt's too."""
    if decoding.repetition_penalty != 1 and decoding.penalty_scope == "generated":
        raise InvalidInputError(
            f"{who}: its repetition_penalty counts the prompt's tokens too: take the preset `after` or "
            "--set decoding.repetition_penalty=1.0"
        )


def answer_key(prompt: str, question_id: str, identity: str, decoding: DecodingConfig) -> str:
    """What an answer is resumed by. Settings that only cut the finished text are left out; so are greedy draws."""
    cuts = {"stop_phrases", "trim_foreign_tail"}
    unused = {"seed", "top_p"} if decoding.temperature == 0 else set()
    return sha256_text(VERSION, prompt, question_id, identity, decoding.model_dump_json(exclude=cuts | unused))


def fit_clauses(clauses: Sequence[str], question: str, room: int, count_tokens: Callable[[str], int]) -> list[str]:
    """As many clauses, best first, as a prompt of `room` tokens holds; the best is cut if even it alone is too long."""
    kept = list(clauses)
    while len(kept) > 1 and count_tokens(rag_prompt(question, JOINT.join(kept))) > room:
        kept.pop()
    while kept and kept[0] and (tokens := count_tokens(rag_prompt(question, JOINT.join(kept)))) > room:
        # A character is at least a third of a byte-level token: a few rounds reach the limit without overshooting far.
        kept[0] = kept[0][: max(0, len(kept[0]) - max(1, (tokens - room) // 3))]
    return kept
