"""The decision between refusal and answer on held-out rows, and early stopping by it."""

from __future__ import annotations

from pathlib import Path

import torch
from tests.training.conftest import quick
from transformers import AutoModelForCausalLM, AutoTokenizer

from insurance_rag.core.adapter_folder import AdapterFolder
from insurance_rag.core.prompt_templates import rag_prompt
from insurance_rag.core.records import REFUSAL, TrainingRow
from insurance_rag.training import train_adapter
from insurance_rag.training.encoding import encode_rows
from insurance_rag.training.first_tokens import DECISION_ACCURACY, decision_metrics, decision_rows


def _rows(answers: list[str]) -> list[TrainingRow]:
    return [TrainingRow(prompt=rag_prompt("질문?", f"제{n}조"), completion=a) for n, a in enumerate(answers, 1)]


def test_decisions_are_those_of_greedy_decoding(base_model: Path) -> None:
    tokenizer, model = AutoTokenizer.from_pretrained(base_model), AutoModelForCausalLM.from_pretrained(base_model)
    answers = [REFUSAL, f"{REFUSAL}.", "제7조에 따르면 지급합니다.", "네, 지급합니다."]
    rows, token = decision_rows(encode_rows(_rows(answers), tokenizer, quick()).rows, tokenizer)
    assert [row.refuses for row in rows] == [True, True, False, False]
    assert token == tokenizer(REFUSAL, add_special_tokens=False)["input_ids"][0]
    first = [int(model.generate(torch.tensor([r.prompt]), max_new_tokens=1, do_sample=False)[0, -1]) for r in rows]
    metrics = decision_metrics(model, rows, token)
    assert metrics["eval_refusals_right"] == sum(t == token for t in first[:2]) / 2
    assert metrics["eval_answers_right"] == sum(t != token for t in first[2:]) / 2
    assert metrics[DECISION_ACCURACY] == (metrics["eval_refusals_right"] + metrics["eval_answers_right"]) / 2


def test_rows_whose_prompt_counts_toward_the_loss_are_not_measured(base_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base_model)
    encoded = encode_rows(_rows([REFUSAL]), tokenizer, quick(completion_only_loss=False)).rows
    assert decision_rows(encoded, tokenizer) == ([], None)


def test_early_stopping_can_watch_the_decisions(base_model: Path, dataset: Path, tmp_path: Path) -> None:
    recipe = quick(
        max_steps=3, batch_size=2, eval_steps=1, early_stopping_patience=1, early_stopping_metric=DECISION_ACCURACY
    )
    train_adapter(recipe, dataset, str(base_model), tmp_path / "adapter")
    history = AdapterFolder(tmp_path / "adapter").read_loss_history()
    measured = [row.eval_decision_accuracy for row in history if row.eval_loss is not None]
    assert measured and all(value is not None and 0 <= value <= 1 for value in measured)
