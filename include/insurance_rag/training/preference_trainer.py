"""Train on preference pairs: TRL's DPO with the base model as reference, and ORPO, which needs no reference.

TRL's DPO trainer computes the reference with the adapter switched off, so the base model is in memory once.

This module imports torch and trl at import time, so import it inside the function that trains.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from datasets import Dataset
from torch.nn import functional
from trl import DPOTrainer

from insurance_rag.training.base_trainer import BaseAdapterTrainer
from insurance_rag.training.encoding import IGNORE_INDEX
from insurance_rag.training.micro_batches import MicroBatch
from insurance_rag.training.sampler import sort_by_length

_SHARES = "shares"
"""Key of a micro-batch's piece: its shares of the pairs and of the tokens of the supervised loss."""


class PreferenceTrainer(BaseAdapterTrainer, DPOTrainer):
    """Trains on pairs with TRL's DPO losses. The first half of a micro-batch are the chosen answers."""

    arrange = staticmethod(sort_by_length)

    def _prepare_dataset(self, dataset: Dataset, *_: object) -> Dataset:
        """Return the pairs unchanged, because they are already encoded by the rules of supervised training."""
        return dataset

    def row_lengths(self, rows: Dataset) -> Sequence[int]:
        """Return the number of tokens in each pair, which is padded to its longer sequence."""
        columns = (rows["prompt_ids"], rows["chosen_ids"], rows["rejected_ids"])
        return [
            len(prompt) + max(len(chosen), len(rejected)) for prompt, chosen, rejected in zip(*columns, strict=True)
        ]

    def count_rows(self, inputs: MicroBatch) -> int:
        """Return the number of pairs in a micro-batch."""
        return len(inputs["input_ids"]) // 2

    def split(self, inputs: MicroBatch) -> Iterator[MicroBatch]:
        """Return the micro-batch in at most `n_pieces` pieces, without splitting a pair."""
        n_pairs = self.count_rows(inputs)
        size = -(-n_pairs // self.n_pieces)
        if size >= n_pairs:
            yield inputs
            return
        supervised = self.supervised_tokens(inputs).sum(dim=1)
        for start in range(0, n_pairs, size):
            end = min(start + size, n_pairs)
            rows = [*range(start, end), *range(n_pairs + start, n_pairs + end)]
            shares = ((end - start) / n_pairs, float(supervised[start:end].sum() / supervised.sum()))
            yield {**{name: value[rows] for name, value in inputs.items()}, _SHARES: shares}

    def supervised_tokens(self, inputs: MicroBatch) -> torch.Tensor:
        """Return a mask of the tokens of the chosen sequences that count for the supervised loss.

        The first token of a sequence is left out, because nothing predicts it. Shape: pairs x (tokens - 1).
        """
        return inputs["completion_mask"][: self.count_rows(inputs), 1:].bool()

    def _compute_loss(self, model: torch.nn.Module, inputs: MicroBatch, return_outputs: bool) -> torch.Tensor:
        """Return the loss. That of a piece is its part of the loss of the micro-batch."""
        tensors = dict(inputs)
        pairs, tokens = tensors.pop(_SHARES, (1.0, 1.0))
        preference_weight, supervised_weight = self.args.loss_weights
        self.loss_weights = [preference_weight * pairs, supervised_weight * tokens]
        return self._compute_weighted_loss(model, tensors, return_outputs)

    def _compute_weighted_loss(self, model: torch.nn.Module, inputs: MicroBatch, return_outputs: bool) -> torch.Tensor:
        return super()._compute_loss(model, inputs, return_outputs)


class OrpoTrainer(PreferenceTrainer):
    """Trains with ORPO: the supervised loss, plus a loss on the odds of the chosen against the rejected answer.

    Hong et al., 2024 (https://arxiv.org/abs/2403.07691), equations 4 to 7. `beta` is their lambda.
    """

    def supervised_tokens(self, inputs: MicroBatch) -> torch.Tensor:
        """Return a mask of the tokens of the chosen sequences that count for the supervised loss."""
        mask = inputs["completion_mask" if self.args.completion_only_loss else "attention_mask"]
        return mask[: self.count_rows(inputs), 1:].bool()

    def _compute_weighted_loss(self, model: torch.nn.Module, inputs: MicroBatch, return_outputs: bool) -> torch.Tensor:
        supervised, answers = self.supervised_tokens(inputs), inputs["completion_mask"][:, 1:].bool()
        used = answers.clone()
        used[: len(supervised)] |= supervised
        labels = inputs["input_ids"].clone()
        labels[:, 1:].masked_fill_(~used, IGNORE_INDEX)
        outputs = model(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            labels=labels,
            use_cache=False,
            fused_lm_head=True,
        )
        log_probs = outputs.log_probs.float()
        means = (log_probs * answers).sum(dim=1) / answers.sum(dim=1)
        chosen, rejected = means.chunk(2)
        log_odds = chosen - rejected - (_log1mexp(chosen) - _log1mexp(rejected))
        preference_loss = -functional.logsigmoid(log_odds).mean()
        supervised_loss = -log_probs[: len(supervised)][supervised].mean()
        self._record(inputs, chosen.detach(), rejected.detach(), outputs.is_top1[: len(supervised)][supervised])
        preference_weight, supervised_weight = self.loss_weights
        return preference_weight * self.beta * preference_loss + supervised_weight * supervised_loss

    def _record(self, inputs: MicroBatch, chosen: torch.Tensor, rejected: torch.Tensor, is_top1: torch.Tensor) -> None:
        """Add the metrics that TRL's DPO trainer also logs. A reward is beta times an answer's mean log-probability."""
        metrics = self._metrics["train" if self.model.training else "eval"]
        values = {
            "rewards/chosen": self.beta * chosen,
            "rewards/rejected": self.beta * rejected,
            "rewards/accuracies": (chosen > rejected).float(),
            "rewards/margins": self.beta * (chosen - rejected),
            "mean_token_accuracy": is_top1.float().mean(),
        }
        for name, value in values.items():
            metrics[name].append(self.accelerator.gather(value).mean().item())
        if self.model.training:
            self._total_train_tokens += int(self.accelerator.gather(inputs["attention_mask"].sum()).sum())
        metrics["num_tokens"] = [self._total_train_tokens]


def _log1mexp(x: torch.Tensor) -> torch.Tensor:
    """Return log(1 - exp(x)) for negative x, by the form that is exact for small x and the one for large x."""
    # A probability of 1 has infinite odds, whose gradient is not a number.
    x = x.clamp(max=-1e-7)
    return torch.where(x < -0.6931, torch.log1p(-torch.exp(x)), torch.log(-torch.expm1(x)))
