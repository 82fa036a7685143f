"""Tiny models on disk in the format of sentence-transformers: a random embedder and a trained reranker."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import BertConfig, BertForSequenceClassification, BertModel, BertTokenizerFast

Pair = tuple[str, str]


def save_embedder(folder: Path, texts: Sequence[str], prompts: dict[str, str] | None = None) -> Path:
    """Write an embedder with random weights that knows the characters of `texts`."""
    torch.manual_seed(0)
    tokenizer = _save_tokenizer(folder, texts)
    BertModel(_config(tokenizer)).save_pretrained(folder)
    if prompts:
        (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
        (folder / "modules.json").write_text(
            json.dumps(
                [
                    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
                    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
                ]
            )
        )
        (folder / "1_Pooling").mkdir()
        pooling = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True}
        (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))
    return folder


def save_reranker(folder: Path, right: Sequence[Pair], others: Sequence[str] = (), steps: int = 0) -> Path:
    """Write a cross-encoder that was trained to give the pairs in `right` higher scores than all other combinations.

    `others` are passages that answer no question. Without steps, the weights are random.
    """
    torch.manual_seed(0)
    torch.set_num_threads(1)
    tokenizer = _save_tokenizer(folder, [*(text for pair in right for text in pair), *others])
    model = BertForSequenceClassification(_config(tokenizer))
    passages = [*(passage for _, passage in right), *others]
    pairs = [(question, passage) for question, _ in right for passage in passages]
    labels = torch.tensor([[float(pair in right)] for pair in pairs])
    batch = tokenizer([q for q, _ in pairs], [p for _, p in pairs], padding=True, return_tensors="pt")
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    loss_of = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(float(len(passages) - 1)))
    for _ in range(steps):
        loss = loss_of(model(**batch).logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval().save_pretrained(folder)
    return folder


def _save_tokenizer(folder: Path, texts: Sequence[str]) -> BertTokenizerFast:
    folder.mkdir(parents=True)
    letters = sorted({letter for text in texts for letter in text if not letter.isspace()})
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"), strip_accents=False, model_max_length=128)
    tokenizer.save_pretrained(folder)
    return tokenizer


def _config(tokenizer: BertTokenizerFast) -> BertConfig:
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    return BertConfig(vocab_size=len(tokenizer), max_position_embeddings=128, num_labels=1, **sizes)
