"""Turn training rows into token ids and labels. Contexts of overlong rows can be shortened; answers are never cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

from insurance_rag.config import TrainingConfig
from insurance_rag.core.prompt_templates import PLAIN, PROMPT_FORMATS
from insurance_rag.core.records import SkippedRow, TrainingRow
from insurance_rag.korean import sentences

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: Tokens with this label do not count towards the loss. It is the default `ignore_index` of torch's cross entropy.
IGNORE_INDEX = -100


class EncodedRow(TypedDict):
    """One row as the trainer reads it. Both lists have one entry per token."""

    input_ids: list[int]
    labels: list[int]


@dataclass
class EncodedRows:
    """Encoded rows, and a record of the rows that exceeded the length limit."""

    rows: list[EncodedRow] = field(default_factory=list)
    contexts_truncated: int = 0
    skipped: list[SkippedRow] = field(default_factory=list)

    @property
    def lengths(self) -> list[int]:
        """Number of tokens in each row."""
        return [len(row["input_ids"]) for row in self.rows]


def encode_rows(rows: Sequence[TrainingRow], tokenizer: PreTrainedTokenizerBase, config: TrainingConfig) -> EncodedRows:
    """Encode rows. A row longer than `max_length` gets a shorter context or is skipped, depending on `overlong`."""
    result = EncodedRows()
    for number, row in enumerate(rows, 1):
        answer = _encode_answer(row.completion, tokenizer, append_eos=config.append_eos)
        prompt: list[int] = tokenizer(row.prompt)["input_ids"]
        excess = len(prompt) + len(answer) - config.max_length
        if excess > 0:
            shorter = _truncate_context(row, tokenizer, excess) if config.overlong == "cut_context" else None
            if not shorter:
                tokens = len(prompt) + len(answer)
                result.skipped.append(SkippedRow(row=number, tokens=tokens, chunk_id=row.chunk_id))
                continue
            prompt = shorter
            result.contexts_truncated += 1
        prompt_labels = [IGNORE_INDEX] * len(prompt) if config.completion_only_loss else prompt
        result.rows.append({"input_ids": prompt + answer, "labels": prompt_labels + answer})
    return result


def _encode_answer(completion: str, tokenizer: PreTrainedTokenizerBase, *, append_eos: bool) -> list[int]:
    """Return the tokens that the model has to generate after the prompt.

    `completion` may end with an end-of-text token written out as text. This text is removed. With `append_eos`, the id
    of the tokenizer's end-of-text token is appended.
    """
    spelled_out = [form.end_of_text for form in PROMPT_FORMATS.entries.values() if form.end_of_text]
    for token in (*spelled_out, tokenizer.eos_token):
        completion = completion.removesuffix(token)
    ids: list[int] = tokenizer(completion, add_special_tokens=False)["input_ids"]
    return [*ids, tokenizer.eos_token_id] if append_eos else ids


def _truncate_context(row: TrainingRow, tokenizer: PreTrainedTokenizerBase, excess: int) -> list[int] | None:
    """Return the tokens of the prompt after removing at least `excess` tokens from the end of its context.

    Only whole sentences are removed. The quote that supports the answer is always kept. Returns None if the prompt
    cannot be shortened enough, or if the row's context is not found in its prompt.
    """
    context, evidence = row.input or "", row.evidence or ""
    if context not in row.prompt:
        context = context[: PLAIN.max_context_characters]
    if not context or context not in row.prompt:
        return None
    full_length = len(tokenizer(row.prompt)["input_ids"])
    required = context.find(evidence) + len(evidence) if evidence and evidence in context else 0
    for sentence in reversed(sentences(context)):
        kept = context[: sentence.start].rstrip()
        if not kept or len(kept) < required:
            return None
        ids: list[int] = tokenizer(row.prompt.replace(context, kept, 1))["input_ids"]
        if full_length - len(ids) >= excess:
            return ids
    return None
