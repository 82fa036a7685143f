"""The model's answer as the APIs send it: text, finish reason and token counts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

#: Number of bytes of UTF-8 per token, as an estimate for Gemini.
_BYTES_PER_TOKEN = 4


@dataclass(frozen=True)
class Completion:
    """The model's answer.

    `finish_reason` is STOP, MAX_TOKENS, EMPTY, or the reason for a blocked answer (SAFETY, RECITATION or
    PROHIBITED_CONTENT). `text` is None if the answer is empty or blocked.
    """

    text: str | None
    finish_reason: str
    input_tokens: int
    output_tokens: int
    thought_tokens: int = 0
    """Number of thinking tokens. They are not included in `output_tokens`."""

    @property
    def sha256(self) -> str:
        """Hash that the response ID is made from. Changing the hashed string would change all response IDs."""
        counts = f"tokens_in={self.input_tokens}, tokens_out={self.output_tokens}"
        return hashlib.sha256(
            f"Reply(text={self.text!r}, finish={self.finish_reason!r}, {counts})".encode()
        ).hexdigest()

    def with_scaled_counts(self, factor: float) -> Completion:
        """Return the completion with token counts that are multiplied by `factor`."""
        counts = (self.input_tokens, self.output_tokens, self.thought_tokens)
        scaled_input, scaled_output, scaled_thoughts = (round(count * factor) for count in counts)
        return replace(self, input_tokens=scaled_input, output_tokens=scaled_output, thought_tokens=scaled_thoughts)


def count_tokens(text: str) -> int:
    """Estimate the number of tokens for Gemini: 0.75 tokens per Korean character and 0.25 per Latin character."""
    return -(-len(text.encode()) // _BYTES_PER_TOKEN)


def cut_to_tokens(text: str, limit: int) -> str:
    """Return the start of the text that has at most `limit` tokens."""
    return text.encode()[: limit * _BYTES_PER_TOKEN].decode(errors="ignore")
