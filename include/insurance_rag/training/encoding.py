"""Turn training rows into token ids and labels. Contexts of overlong rows can be shortened; answers are never cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypedDict, TypeVar

from insurance_rag.config import TrainingConfig
from insurance_rag.core.records import SkippedRow, TrainingPair, TrainingRow
from insurance_rag.korean import sentences
from insurance_rag.training.encoders import Encoder, prompt_encoder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: Tokens with this label do not count towards the loss. It is the default `ignore_index` of torch's cross entropy.
IGNORE_INDEX = -100


class EncodedRow(TypedDict):
    """One row as the trainer reads it. Both lists have one entry per token."""

    input_ids: list[int]
    labels: list[int]


class EncodedPair(TypedDict):
    """One preference pair as the trainer reads it. Both answers continue the same prompt."""

    prompt_ids: list[int]
    chosen_ids: list[int]
    rejected_ids: list[int]


Row = TypeVar("Row", EncodedRow, EncodedPair)


@dataclass
class Encoded(Generic[Row]):
    """Encoded rows or pairs, and a record of those that exceeded the length limit."""

    rows: list[Row] = field(default_factory=list)
    contexts_truncated: int = 0
    skipped: list[SkippedRow] = field(default_factory=list)


@dataclass
class EncodedRows(Encoded[EncodedRow]):
    """Encoded rows, and a record of the rows that exceeded the length limit."""

    @property
    def lengths(self) -> list[int]:
        """Number of tokens in each row."""
        return [len(row["input_ids"]) for row in self.rows]


@dataclass
class EncodedPairs(Encoded[EncodedPair]):
    """Encoded preference pairs, and a record of the pairs that exceeded the length limit."""

    @property
    def lengths(self) -> list[int]:
        """Number of tokens in each pair's prompt and longer answer."""
        return [pair_length(pair) for pair in self.rows]


def pair_length(pair: EncodedPair) -> int:
    """Return the number of tokens of the prompt and the longer answer."""
    return len(pair["prompt_ids"]) + max(len(pair["chosen_ids"]), len(pair["rejected_ids"]))


def encode_rows(rows: Sequence[TrainingRow], tokenizer: PreTrainedTokenizerBase, config: TrainingConfig) -> EncodedRows:
    """Encode rows. A row longer than `max_length` gets a shorter context or is skipped, depending on `overlong`.

    Raises InvalidInputError if the prompt format needs a chat template and the tokenizer has none that can be used.
    """
    result, encoder = EncodedRows(), prompt_encoder(tokenizer, config)
    for number, row in enumerate(rows, 1):
        answer, learned = encoder.encode_answer(row.prompt, row.completion)
        prompt = encoder.encode_prompt(row.prompt)
        excess = len(prompt) + len(answer) - config.max_length
        if excess > 0:
            shorter = truncate_context(row, encoder, excess) if config.overlong == "cut_context" else None
            if not shorter:
                tokens = len(prompt) + len(answer)
                result.skipped.append(SkippedRow(row=number, tokens=tokens, chunk_id=row.chunk_id))
                continue
            prompt = shorter
            result.contexts_truncated += 1
        ids = prompt + answer
        is_label = [False] * len(prompt) + learned if config.completion_only_loss else [True] * len(ids)
        labels = [token if kept else IGNORE_INDEX for token, kept in zip(ids, is_label, strict=True)]
        result.rows.append({"input_ids": ids, "labels": labels})
    return result


def truncate_context(row: TrainingRow | TrainingPair, encoder: Encoder, excess: int) -> list[int] | None:
    """Return the tokens of the prompt after removing at least `excess` tokens from the end of its context.

    Only whole sentences are removed. The quote that supports the answer is always kept. Returns None if the prompt
    cannot be shortened enough, or if the row's context is not found in its prompt.
    """
    context, evidence = row.context or row.input or "", row.evidence or ""
    if not context:
        return None
    full_length = len(encoder.encode_prompt(row.prompt))
    required = context.find(evidence) + len(evidence) if evidence and evidence in context else 0
    for sentence in reversed(sentences(context)):
        kept = context[: sentence.start].rstrip()
        prompt = encoder.replace_context(row.prompt, context, kept)
        if not kept or len(kept) < required or prompt is None:
            return None
        ids = encoder.encode_prompt(prompt)
        if full_length - len(ids) >= excess:
            return ids
    return None
