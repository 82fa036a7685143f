"""Score prompts with a verifier: the base model with the verifier's adapter attached.

The score is the log-odds of `지지됨` against `지지되지 않음`: the difference of the logits of the first tokens in which
the two answers differ. Prompts are padded on the right, so causal attention needs no mask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.prompt_templates import SUPPORTED, UNSUPPORTED
from insurance_rag.evaluation.backends.local.attached_model import AttachedModel, make_batches, run_batches
from insurance_rag.models.base_model import load_model_config
from insurance_rag.models.tokenizer import encode_prompt, load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BATCH_TOKENS = 16384
"""Maximum number of tokens per forward pass, including padding. A longer prompt has a pass of its own."""
_NAME = "verifier"

OnScore = Callable[[int, float | None], None]
"""Function (position of the prompt, score). The score is None if the prompt is too long for the base model."""


class VerifierModel(AttachedModel):
    """A verifier and its base model."""

    def __init__(self, adapter: Path, base_model: str, precision: str = "auto") -> None:
        """Load the tokenizer. `precision` is that of `EvaluationConfig`.

        Raises InvalidInputError if the tokenizer does not distinguish the verifier's two answers.
        """
        super().__init__(base_model, {_NAME: adapter})
        self.precision = precision
        self.tokenizer = load_tokenizer(base_model, self.spec.revision)
        self.common, self.supported, self.unsupported = decisive_tokens(self.tokenizer)

    def score(self, prompts: Sequence[str], on_score: OnScore) -> None:
        """Score all prompts, in any order. Call `on_score` for each prompt as soon as its score is known.

        A batch that does not fit into GPU memory is split in half. Raises GpuMemoryError if a single prompt does not
        fit.
        """
        ids = [encode_prompt(self.tokenizer, prompt) + self.common for prompt in prompts]
        limit = load_model_config(self.base_model, self.spec.revision).max_position_embeddings
        fitting = [row for row in range(len(ids)) if len(ids[row]) <= limit]
        for row in set(range(len(ids))) - set(fitting):
            on_score(row, None)
        longest_first = sorted(fitting, key=lambda row: len(ids[row]), reverse=True)

        def score_batch(batch: list[int]) -> None:
            for row, score in zip(batch, self._scores([ids[row] for row in batch]), strict=True):
                on_score(row, round(score, 4))

        batches = make_batches(longest_first, lambda row: len(ids[row]), BATCH_TOKENS)
        run_batches(batches, score_batch, "load the verifier with precision=nf4")

    @torch.inference_mode()
    def _scores(self, rows: Sequence[Sequence[int]]) -> list[float]:
        """Return the score of each row of token ids."""
        self.select([_NAME] * len(rows))
        device = next(self.model.parameters()).device
        longest = max(map(len, rows))
        ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=device)
        states = self.model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state
        last = states[torch.arange(len(rows), device=device), [len(row) - 1 for row in rows]]
        logits = self.model.get_output_embeddings()(last).float()
        scores: list[float] = (logits[:, self.supported] - logits[:, self.unsupported]).tolist()
        return scores


def decisive_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], int, int]:
    """Return the tokens that the verifier's two answers begin with, and the first token in which each differs.

    Raises InvalidInputError if one answer begins with all tokens of the other.
    """
    supported: list[int] = tokenizer(SUPPORTED, add_special_tokens=False)["input_ids"]
    unsupported: list[int] = tokenizer(UNSUPPORTED, add_special_tokens=False)["input_ids"]
    for n, (a, b) in enumerate(zip(supported, unsupported, strict=False)):
        if a != b:
            return supported[:n], a, b
    raise InvalidInputError(
        f"base model: its tokenizer does not distinguish {SUPPORTED!r} from {UNSUPPORTED!r}; use another base model"
    )
