"""Choose the next token, and know when to stop: one implementation for both decoding loops.

Sampling inverts the cumulative distribution at a number drawn beforehand for that row and step. So an answer does not
depend on its neighbours in the batch, and both loops, or a resumed run, give the same one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from insurance_rag.config import DecodingConfig
from insurance_rag.core.hashing import sha256_text
from insurance_rag.evaluation.postprocess import first_stop

#: Sampling looks at this many best tokens; top-p reaches further only on a distribution that knows nothing.
NUCLEUS = 1024
#: Finished rows, stop strings and loops are looked for this often: reading tokens back stalls a GPU.
CHECK_EVERY = 16
LOOP_TOKENS = 24
"""A loop is a piece that fills the last LOOP_TOKENS tokens or more by being said at least three times."""


def uniform_noise(identities: Sequence[str], steps: int, seed: int) -> torch.Tensor:
    """Numbers in [0, 1), a row for each identity (question, model), the same wherever the row stands."""
    rows = []
    for identity in identities:
        generator = torch.Generator().manual_seed(int(sha256_text(str(seed), identity)[:12], 16))
        rows.append(torch.rand(steps, generator=generator))
    return torch.stack(rows)


def next_tokens(
    logits: torch.Tensor, used: torch.Tensor, noise: torch.Tensor, decoding: DecodingConfig
) -> torch.Tensor:
    """One token a row. `logits` [rows, vocabulary] in float32, `used` marks the tokens to penalise, `noise` [rows]."""
    if decoding.repetition_penalty != 1:
        penalty = decoding.repetition_penalty
        logits = torch.where(used, torch.where(logits > 0, logits / penalty, logits * penalty), logits)
    if decoding.temperature == 0:
        return logits.argmax(-1)
    best, ids = (logits / decoding.temperature).topk(min(NUCLEUS, logits.shape[-1]), dim=-1)
    p = best.softmax(-1)
    kept = torch.where(p.cumsum(-1) - p < decoding.top_p, p, 0.0).cumsum(-1)
    place = (kept <= noise[:, None] * kept[:, -1:]).sum(-1).clamp(max=kept.shape[-1] - 1)
    return ids.gather(1, place[:, None])[:, 0]


class StopRule:
    """When an answer is over: an end-of-text token, a stop string, a loop, or the limit of new tokens."""

    def __init__(self, tokenizer: Any, eos: frozenset[int], decoding: DecodingConfig) -> None:
        self.tokenizer, self.eos, self.decoding = tokenizer, eos, decoding

    def cut(self, tokens: Sequence[int]) -> tuple[list[int], bool]:
        """The tokens that belong to the answer, without the end-of-text token, and whether it is over."""
        end = next((i for i, token in enumerate(tokens) if token in self.eos), None)
        if end is not None:
            return list(tokens[:end]), True
        if self.decoding.stop_loops and (loop := _loop_ends(tokens)):
            return list(tokens[:loop]), True
        over = len(tokens) >= self.decoding.max_new_tokens
        return list(tokens[: self.decoding.max_new_tokens]), over or self._has_stop_string(tokens)

    def text(self, tokens: Sequence[int]) -> str:
        """The answer as generated, up to and with the first stop string."""
        # The limit of new tokens may fall between the bytes of a syllable.
        text = str(self.tokenizer.decode(tokens, skip_special_tokens=True)).rstrip("\ufffd")
        stop = first_stop(text, self.decoding.stop_strings)
        return text if stop is None else text[: stop[0] + len(stop[1])]

    def _has_stop_string(self, tokens: Sequence[int]) -> bool:
        if not self.decoding.stop_strings:
            return False
        text = self.tokenizer.decode(tokens, skip_special_tokens=True)
        return first_stop(text, self.decoding.stop_strings) is not None


def _loop_ends(tokens: Sequence[int]) -> int | None:
    """Where the tokens may end because they repeat; looked for at fixed places, so that both loops agree."""
    for end in range(CHECK_EVERY, len(tokens) + 1, CHECK_EVERY):
        for period in range(1, end // 3 + 1):
            if tokens[end - 1] != tokens[end - 1 - period]:
                continue  # most periods end here, hundreds of them for each row
            span = max(3 * period, LOOP_TOKENS)
            if span <= end and all(tokens[i] == tokens[i - period] for i in range(end - span + period, end)):
                return end
    return None
