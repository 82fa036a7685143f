"""The demo's base model: a small Llama with its own tokenizer, trained from scratch on the clauses in about a minute.

It is a stand-in for a real base model where there is no GPU: it reads on in the language of the clauses and copies from
the context. What an adapter is for - the instruct formats, citing, refusing, stopping - it has not been taught.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from demo.config import PretrainConfig
from demo.induction_init import HEADS, write_induction_circuit
from demo.pretrain_tasks import LAYOUTS, TaskMaker, make_cue, split_sentences
from insurance_rag.core.artifacts import artifact
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import write_json
from insurance_rag.core.progress import Progress
from insurance_rag.core.records import REFUSAL, Chunk
from insurance_rag.training.encoding import IGNORE_INDEX

log = logging.getLogger(__name__)

#: Llama-3's own names, so that the literal EOS of train_dataset_rag.json is this tokenizer's. Pad is its own token.
SPECIAL_TOKENS = ("<|pad|>", "<|begin_of_text|>", "<|end_of_text|>")
#: Fixed phrases of the dataset formats; in the tokenizer's training text only, so that they cost few tokens.
FORMAT_TEXT = (
    "### 지시\n### 입력\n[보험약관]\n\n질문: \n### 출력\n제조에 따르면 " + REFUSAL + ".",
    "아래 제공된 [보험약관]을 참고하여 사용자의 질문에 답변하세요. 약관에 명시된 내용에 근거하여 답변해야 하며, "
    f"약관에 없는 내용은 추측하지 말고 '{REFUSAL}'라고 답변하세요.",
)


def pretrain_base(
    chunks: list[Chunk], out: Path, config: PretrainConfig, progress_folder: Path | None = None
) -> dict[str, Any]:
    """Train tokenizer and model on `chunks` and write them to `out`; returns `{uri, sha256, steps, loss, ...}`.

    A tenth of the clauses is held out; `heldout_loss` (nats a token) and `copy_accuracy` (share of asked-for sentences
    whose tokens are all predicted right) are measured on it.
    """
    import torch

    if len(chunks) < 10:
        raise InvalidInputError(
            f"{len(chunks)} clauses are too few to train a base model on; give at least 10, or name a model"
        )
    started = time.monotonic()
    torch.manual_seed(config.seed)
    texts = [chunk.text for chunk in chunks]
    heldout, training = texts[::10], [t for i, t in enumerate(texts) if i % 10]
    tokenizer = train_tokenizer(texts, config)
    model = new_model(config, tokenizer)
    tasks = TaskMaker(training, tokenizer, config.context, config.seed)
    with Progress("pretrain", total=config.steps, unit="steps", folder=progress_folder) as progress:
        loss, steps = _fit(model, tasks, config, progress)
    model.eval()
    figures = measure(model, TaskMaker(heldout, tokenizer, config.context, config.seed + 1))
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    facts = {
        "steps": steps,
        "loss": loss,
        **figures,
        "parameters": model.num_parameters(),
        "seconds": round(time.monotonic() - started, 1),
    }
    write_json(out / "pretrain.json", {**facts, "settings": config.model_dump()})
    return artifact(out, **facts)


def train_tokenizer(texts: Sequence[str], config: PretrainConfig) -> Any:
    """Byte-level BPE with its own bos, eos and pad; digits stand alone, so that any number can be copied."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    pad, bos, eos = SPECIAL_TOKENS
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*texts, *FORMAT_TEXT * 20], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        bos_token=bos,
        eos_token=eos,
        model_max_length=config.context,
        clean_up_tokenization_spaces=False,
    )


def new_model(config: PretrainConfig, tokenizer: Any) -> Any:
    """A fresh Llama that can copy but knows no Korean yet."""
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=config.hidden,
            intermediate_size=config.hidden * 2,
            num_hidden_layers=config.layers,
            num_attention_heads=HEADS,
            num_key_value_heads=HEADS,
            max_position_embeddings=config.context,
            rope_parameters={
                "rope_type": "default",
                "rope_theta": 1e6,
            },  # slow turns: words are matched over a whole context
            attention_bias=True,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    write_induction_circuit(model)
    return model


#: (up to this share of the run, tokens a row, kinds of rows): short rows first, they are cheap and teach the language.
CURRICULUM: tuple[tuple[float, int, tuple[str, ...]], ...] = (
    (0.1, 128, ("repeat", "plain", "plain")),
    (0.5, 256, ("extract", "extract", "extract", "plain", "repeat")),
    (0.8, 512, ("extract", "extract", "extract", "plain", "repeat")),
    (1.0, 1024, ("extract", "extract", "extract", "plain")),
)


def _batch(tasks: TaskMaker, done: float, config: PretrainConfig) -> tuple[Any, Any]:
    """(ids, labels) of about `tokens_per_step` tokens, padded on the right."""
    import torch

    length, kinds = next((n, k) for end, n, k in CURRICULUM if done < end or end == 1.0)
    length = min(length, config.context)
    size = max(1, config.tokens_per_step // length)
    rows = [getattr(tasks, tasks.rng.choice(kinds))(length) for _ in range(size)]
    longest = max(len(row.ids) for row in rows)
    ids = torch.full((size, longest), tasks.tokenizer.pad_token_id)
    labels = torch.full((size, longest), IGNORE_INDEX)
    for i, row in enumerate(rows):
        n = len(row.ids)
        ids[i, :n] = torch.tensor(row.ids)
        labels[i, :n] = torch.where(torch.tensor(row.counts), ids[i, :n], IGNORE_INDEX)
    return ids, labels


def _optimizers(model: Any, config: PretrainConfig) -> list[Any]:
    """Muon for the layers' matrices, AdamW for embeddings and norms: half the steps of AdamW alone at this size."""
    import torch

    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    rest = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    return [
        torch.optim.Muon(matrices, lr=config.learning_rate, weight_decay=0.0),
        torch.optim.AdamW(rest, lr=config.learning_rate / 4, weight_decay=0.0, betas=(0.9, 0.95)),
    ]


def _fit(model: Any, tasks: TaskMaker, config: PretrainConfig, progress: Progress) -> tuple[float, int]:
    """Train for `config.steps` steps; the learning rate falls to zero over the last 40 %.

    The schedule depends on steps only, never on time, so that the same seed gives the same model on every machine.
    """
    import torch

    optimizers = _optimizers(model, config)
    groups = [(group, group["lr"]) for optimizer in optimizers for group in optimizer.param_groups]
    loss, step, done = 0.0, 0, 0.0
    model.train()
    while done < 1:
        for group, rate in groups:
            group["lr"] = rate * min(1.0, (step + 1) / 20) * min(1.0, (1 - done) / 0.4)
        batch_loss = model_loss(model, *_batch(tasks, done, config))
        batch_loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        step += 1
        done = step / config.steps
        loss = batch_loss.item() if step == 1 else 0.95 * loss + 0.05 * batch_loss.item()
        progress.advance()
        progress.note(loss=round(loss, 3))
    return round(loss, 4), step


def model_loss(model: Any, ids: Any, labels: Any) -> Any:
    """Mean cross-entropy of the labelled positions; the head runs on those alone, a third of the work at this size."""
    import torch

    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    targets = labels[:, 1:]
    counted = targets != IGNORE_INDEX
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[counted]), targets[counted])


def measure(model: Any, tasks: TaskMaker, n: int = 60) -> dict[str, float]:
    """Loss of plain held-out clauses, and how often a sentence asked for by cue is predicted to the last token."""
    import torch

    with torch.no_grad():
        plain = [tasks.plain(tasks.length) for _ in range(n)]
        losses = [float(model_loss(model, torch.tensor([r.ids]), torch.tensor([r.ids]))) for r in plain]
        exact, tokens_right, tokens = 0, 0, 0
        for _ in range(n):
            before, first, _, between, _ = tasks.rng.choice(LAYOUTS)
            clause = tasks.rng.choice(tasks.clauses)
            sentence = tasks.rng.choice(split_sentences(clause))
            prompt = [
                tasks.tokenizer.bos_token_id,
                *tasks.encode(before + clause + first + make_cue(sentence, tasks.rng) + between),
            ]
            answer = tasks.encode(sentence)
            prompt = prompt[: tasks.length - len(answer)]
            logits = model(input_ids=torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
            right = logits.argmax(-1) == torch.tensor(answer)
            exact += bool(right.all())
            tokens_right, tokens = tokens_right + int(right.sum()), tokens + len(answer)
    return {
        "heldout_loss": round(sum(losses) / n, 3),
        "copy_accuracy": round(exact / n, 3),
        "copy_token_accuracy": round(tokens_right / max(tokens, 1), 3),
    }
