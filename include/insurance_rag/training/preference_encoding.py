"""Turn preference pairs into token ids, with the same rules for prompts and answers as supervised training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from insurance_rag.config import TrainingConfig
from insurance_rag.core.records import SkippedRow, TrainingPair
from insurance_rag.training.encoders import prompt_encoder
from insurance_rag.training.encoding import EncodedPairs, truncate_context

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def encode_pairs(
    pairs: Sequence[TrainingPair], tokenizer: PreTrainedTokenizerBase, config: TrainingConfig
) -> EncodedPairs:
    """Encode pairs. A pair with an answer that does not fit gets a shorter context or is skipped, as in `encode_rows`.

    Both answers of a pair get the same prompt, and answers are never cut. Raises InvalidInputError if the prompt format
    needs a chat template and the tokenizer has none that can be used.
    """
    result, encoder = EncodedPairs(), prompt_encoder(tokenizer, config)
    for number, pair in enumerate(pairs, 1):
        chosen, rejected = (encoder.encode_answer(pair.prompt, answer).ids for answer in (pair.chosen, pair.rejected))
        prompt = encoder.encode_prompt(pair.prompt)
        tokens = len(prompt) + max(len(chosen), len(rejected))
        if tokens > config.max_length:
            cut = config.overlong == "cut_context"
            shorter = truncate_context(pair, encoder, tokens - config.max_length) if cut else None
            if not shorter:
                result.skipped.append(SkippedRow(row=number, tokens=tokens, chunk_id=pair.chunk_id))
                continue
            prompt = shorter
            result.contexts_truncated += 1
        result.rows.append({"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected})
    return result
