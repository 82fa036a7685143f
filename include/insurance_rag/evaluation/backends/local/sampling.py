"""Choose the next token and find the end of an answer, in the static decoding loop and with `generate`.

Sampling inverts the cumulative distribution at a random number that is fixed for each question and step. An answer
therefore does not depend on the other rows in its batch. It is the same in both decoding loops and in a resumed run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from insurance_rag.config import DecodingConfig
from insurance_rag.core.hashing import sha256_text
from insurance_rag.evaluation.postprocess import first_stop

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: Sampling considers only this number of most likely tokens. Top-p needs more only if the distribution is almost flat.
MAX_CANDIDATES = 1024
#: Number of steps between checks for finished rows. Checks are rare because reading tokens from a GPU stalls it.
CHECK_INTERVAL = 16
MIN_LOOP_TOKENS = 24
"""Minimum length of a loop in tokens, counting all repetitions together.

A loop is a sequence that occurs at least three times in a row at the end of the answer.
"""


def uniform_noise(identities: Sequence[str], steps: int, seed: int) -> torch.Tensor:
    """Return random numbers in [0, 1), shape [rows, steps]. A row depends only on its identity and the seed."""
    rows = []
    for identity in identities:
        generator = torch.Generator().manual_seed(int(sha256_text(str(seed), identity)[:12], 16))
        rows.append(torch.rand(steps, generator=generator))
    return torch.stack(rows)


def next_tokens(
    logits: torch.Tensor, penalized: torch.Tensor, noise: torch.Tensor, decoding: DecodingConfig
) -> torch.Tensor:
    """Return one token per row, shape [rows].

    `logits` (float32) and `penalized` (bool) have the shape [rows, vocabulary]; `penalized` marks the tokens that the
    repetition penalty applies to. `noise` has the shape [rows].
    """
    if decoding.repetition_penalty != 1:
        penalty = decoding.repetition_penalty
        logits = torch.where(penalized, torch.where(logits > 0, logits / penalty, logits * penalty), logits)
    if decoding.temperature == 0:
        return logits.argmax(-1)
    best, ids = (logits / decoding.temperature).topk(min(MAX_CANDIDATES, logits.shape[-1]), dim=-1)
    p = best.softmax(-1)
    cumulative = torch.where(p.cumsum(-1) - p < decoding.top_p, p, 0.0).cumsum(-1)
    position = (cumulative <= noise[:, None] * cumulative[:, -1:]).sum(-1).clamp(max=cumulative.shape[-1] - 1)
    return ids.gather(1, position[:, None])[:, 0]


class StopRule:
    """Decides where an answer ends: at an end-of-text token, a stop string, a loop, or the limit of new tokens."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, eos: frozenset[int], decoding: DecodingConfig) -> None:
        self.tokenizer, self.eos, self.decoding = tokenizer, eos, decoding

    def truncate(self, tokens: Sequence[int]) -> tuple[list[int], bool]:
        """Return the answer's tokens, without the end-of-text token, and whether the answer is finished."""
        end = next((i for i, token in enumerate(tokens) if token in self.eos), None)
        if end is not None:
            return list(tokens[:end]), True
        if self.decoding.stop_loops and (loop_end := _find_loop(tokens)):
            return list(tokens[:loop_end]), True
        at_limit = len(tokens) >= self.decoding.max_new_tokens
        return list(tokens[: self.decoding.max_new_tokens]), at_limit or self._has_stop_string(tokens)

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the answer as text, up to and including the first stop string."""
        # The token limit may cut a syllable between its bytes. The incomplete syllable decodes to U+FFFD.
        text = str(self.tokenizer.decode(tokens, skip_special_tokens=True)).rstrip("\ufffd")
        stop = first_stop(text, self.decoding.stop_strings)
        return text if stop is None else text[: stop[0] + len(stop[1])]

    def _has_stop_string(self, tokens: Sequence[int]) -> bool:
        if not self.decoding.stop_strings:
            return False
        text = self.tokenizer.decode(tokens, skip_special_tokens=True)
        return first_stop(text, self.decoding.stop_strings) is not None


def _find_loop(tokens: Sequence[int]) -> int | None:
    """Return the number of tokens after which a loop is found, or None if there is no loop.

    Only multiples of CHECK_INTERVAL are tested, so that `generate` and the static decoding loop agree.
    """
    for end in range(CHECK_INTERVAL, len(tokens) + 1, CHECK_INTERVAL):
        for period in range(1, end // 3 + 1):
            if tokens[end - 1] != tokens[end - 1 - period]:
                continue  # rejects most periods without a scan
            span = max(3 * period, MIN_LOOP_TOKENS)
            if span <= end and all(tokens[i] == tokens[i - period] for i in range(end - span + period, end)):
                return end
    return None
