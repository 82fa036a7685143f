"""Trains the demo's tiny base model from scratch on the text of the chunks, in about a minute on a CPU.

The tiny model replaces a real base model if there is no GPU. It can continue policy text and copy from its context. It
does not learn what the adapters are meant to teach: prompt formats, citations, refusals and when to stop.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from demo.config import PretrainConfig
from demo.pretrain_data import LAYOUTS, SequenceKind, SequenceSampler, TokenSequence, make_cue, split_sentences
from demo.tiny_model import new_model, train_tokenizer
from insurance_rag.core.artifacts import describe
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import write_json
from insurance_rag.core.progress import Progress
from insurance_rag.core.records import Artifact, Chunk, Record
from insurance_rag.training.encoding import IGNORE_INDEX

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer
    from transformers import LlamaForCausalLM

#: Minimum number of chunks, so that there are enough for training and for measurement.
MIN_CHUNKS = 10
#: Distance between held-out chunks. Every tenth chunk is excluded from training and used to measure the model.
HELDOUT_EVERY = 10
#: The learning rate rises during the first WARMUP_STEPS steps. During the last part of the training, it falls to zero.
#: DECAY_SHARE is the length of this last part, as a fraction of all steps.
DECAY_SHARE, WARMUP_STEPS = 0.4, 20


class HeldoutFigures(Record):
    """Measurements on the held-out chunks, which are not used for training."""

    heldout_loss: float
    """Mean loss on the held-out chunks, in nats per token."""
    copy_accuracy: float
    """Fraction of sentences that the model copies from a chunk without a wrong token. A cue (some of its words) shows
    which sentence to copy."""
    copy_token_accuracy: float
    """Fraction of tokens that the model predicts correctly, over all tokens of the sentences to copy."""


class PretrainFigures(HeldoutFigures):
    """Results of a pretraining run."""

    steps: int
    loss: float
    """Moving average of the training loss after the last step, in nats per token."""
    parameters: int
    seconds: float


class PretrainManifest(PretrainFigures):
    """Content of pretrain.json in the model's folder."""

    settings: PretrainConfig


class PretrainedModel(PretrainFigures, Artifact):
    """A pretrained base model: its folder and the results of the pretraining run."""


def pretrain_base_model(
    chunks: list[Chunk], out: Path, config: PretrainConfig, progress_folder: Path | None = None
) -> PretrainedModel:
    """Train a tokenizer and a model on the chunks and write both to the folder `out`.

    On the same hardware, the same chunks and settings always give the same weights. Raises InvalidInputError if there
    are fewer than MIN_CHUNKS chunks.
    """
    import torch

    if len(chunks) < MIN_CHUNKS:
        raise InvalidInputError(
            f"{len(chunks)} chunks are too few to pretrain a base model; provide at least {MIN_CHUNKS} chunks, or name "
            "a base model"
        )
    started = time.monotonic()
    torch.manual_seed(config.seed)
    texts = [chunk.text for chunk in chunks]
    heldout = texts[::HELDOUT_EVERY]
    training = [text for i, text in enumerate(texts) if i % HELDOUT_EVERY]
    tokenizer = train_tokenizer(texts, config)
    model = new_model(config, tokenizer)
    sampler = SequenceSampler(training, tokenizer, config.context, config.seed)
    with Progress("pretrain", total=config.steps, unit="steps", folder=progress_folder) as progress:
        loss = _fit(model, sampler, config, progress)
    model.eval()
    measured = measure(model, SequenceSampler(heldout, tokenizer, config.context, config.seed + 1))
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    figures = PretrainFigures(
        **measured.model_dump(),
        steps=config.steps,
        loss=loss,
        parameters=model.num_parameters(),
        seconds=round(time.monotonic() - started, 1),
    )
    manifest = PretrainManifest(**figures.model_dump(), settings=config)
    write_json(out / "pretrain.json", manifest.model_dump(mode="json"))
    return describe(out, PretrainedModel, **figures.model_dump())


class Phase(NamedTuple):
    """A phase of the training.

    `length` is the maximum sequence length in tokens. The kind of each sequence is drawn at random from `kinds`.
    """

    end: float
    """End of the phase, as a fraction of all steps."""
    length: int
    kinds: tuple[SequenceKind, ...]


#: Phases of the training. Short sequences come first because they are cheap and teach the language.
CURRICULUM = (
    Phase(0.1, 128, ("repeat", "plain", "plain")),
    Phase(0.5, 256, ("extract", "extract", "extract", "plain", "repeat")),
    Phase(0.8, 512, ("extract", "extract", "extract", "plain", "repeat")),
    Phase(1.0, 1024, ("extract", "extract", "extract", "plain")),
)


def _batch(sampler: SequenceSampler, done: float, config: PretrainConfig) -> tuple[Tensor, Tensor]:
    """Draw a batch of about `tokens_per_step` tokens. `done` is the completed fraction of the training.

    Returns two tensors: token IDs and labels. Shorter sequences are padded on the right to the length of the longest.
    """
    import torch

    phase = next(phase for phase in CURRICULUM if done < phase.end or phase.end == 1.0)
    length = min(phase.length, config.context)
    sequences: list[TokenSequence] = []
    longest = 0
    while (len(sequences) + 1) * longest <= config.tokens_per_step:
        sequences.append(sampler.draw(sampler.rng.choice(phase.kinds), length))
        longest = max(longest, len(sequences[-1].ids))
    ids = torch.full((len(sequences), longest), sampler.tokenizer.pad_token_id)
    labels = torch.full((len(sequences), longest), IGNORE_INDEX)
    for i, sequence in enumerate(sequences):
        n = len(sequence.ids)
        ids[i, :n] = torch.tensor(sequence.ids)
        labels[i, :n] = torch.where(torch.tensor(sequence.in_loss), ids[i, :n], IGNORE_INDEX)
    return ids, labels


def _optimizers(model: LlamaForCausalLM, config: PretrainConfig) -> list[Optimizer]:
    """Return Muon for the weight matrices and AdamW for all other weights.

    For a model of this size, AdamW alone would need twice as many steps.
    """
    import torch

    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    rest = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    return [
        torch.optim.Muon(matrices, lr=config.learning_rate, weight_decay=0.0),
        torch.optim.AdamW(rest, lr=config.learning_rate / 4, weight_decay=0.0, betas=(0.9, 0.95)),
    ]


def _fit(model: LlamaForCausalLM, sampler: SequenceSampler, config: PretrainConfig, progress: Progress) -> float:
    """Train for `config.steps` steps and return the moving average of the loss.

    The learning rate and the phase depend only on the step, never on elapsed time. The same seed therefore gives the
    same model.
    """
    import torch

    optimizers = _optimizers(model, config)
    groups = [(group, group["lr"]) for optimizer in optimizers for group in optimizer.param_groups]
    loss = 0.0
    model.train()
    for step in range(config.steps):
        done = step / config.steps
        for group, rate in groups:
            group["lr"] = rate * min(1.0, (step + 1) / WARMUP_STEPS) * min(1.0, (1 - done) / DECAY_SHARE)
        batch_loss = model_loss(model, *_batch(sampler, done, config))
        batch_loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        loss = batch_loss.item() if step == 0 else 0.95 * loss + 0.05 * batch_loss.item()
        progress.advance()
        progress.note(loss=round(loss, 3))
    return round(loss, 4)


def model_loss(model: LlamaForCausalLM, ids: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy over the labeled positions, in nats per token.

    `ids` and `labels` have the shape [sequences, tokens]. Positions with the label IGNORE_INDEX are not counted. The
    output layer is applied only to counted positions, which saves a third of the time for a model of this size.
    """
    import torch

    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    targets = labels[:, 1:]
    counted = targets != IGNORE_INDEX
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[counted]), targets[counted])


def measure(model: LlamaForCausalLM, sampler: SequenceSampler, n: int = 60) -> HeldoutFigures:
    """Measure the loss on `n` held-out chunks and the copying accuracy on `n` sentences from held-out chunks.

    Chunks and sentences are drawn at random. `sampler` contains only the held-out chunks.
    """
    import torch

    with torch.no_grad():
        plain = [torch.tensor([sampler.plain(sampler.length).ids]) for _ in range(n)]
        losses = [float(model_loss(model, ids, ids)) for ids in plain]
        copied = [_copy_sentence(model, sampler) for _ in range(n)]
    tokens = sum(len(correct) for correct in copied)
    return HeldoutFigures(
        heldout_loss=round(sum(losses) / n, 3),
        copy_accuracy=round(sum(all(correct) for correct in copied) / n, 3),
        copy_token_accuracy=round(sum(sum(correct) for correct in copied) / max(tokens, 1), 3),
    )


def _copy_sentence(model: LlamaForCausalLM, sampler: SequenceSampler) -> list[bool]:
    """Give the model a chunk and a cue for one of its sentences.

    Returns, for each token in the sentence, whether the model predicts this token correctly.
    """
    import torch

    layout = sampler.rng.choice(LAYOUTS)
    text = sampler.rng.choice(sampler.texts)
    sentence = sampler.rng.choice(split_sentences(text))
    cue = make_cue(sentence, sampler.rng)
    prompt_text = layout.before_chunks + text + layout.before_first_cue + cue + layout.before_sentence
    answer = sampler.encode(sentence)
    prompt = [sampler.tokenizer.bos_token_id, *sampler.encode(prompt_text)][: sampler.length - len(answer)]
    logits = model(input_ids=torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
    return [bool(correct) for correct in logits.argmax(-1) == torch.tensor(answer)]
