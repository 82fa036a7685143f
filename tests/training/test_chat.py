"""Training on chat messages: the same tokens as TRL, clear errors for templates that cannot be used."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trl
from tests.fakes.chat_base import CHATML, END_OF_TURN, MARKED_CHATML
from tests.training.conftest import QUICK, manifest_of
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

from insurance_rag.core.adapter_folder import AdapterFolder
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.prompt_templates import RAG_INSTRUCTION, chat_messages, chat_prompt
from insurance_rag.core.records import TrainingRow
from insurance_rag.models.chat_template import read_chat_template
from insurance_rag.models.tokenizer import load_training_tokenizer
from insurance_rag.training import export_adapter, load_recipe, train_adapter
from insurance_rag.training.dataset_rows import read_rows
from insurance_rag.training.encoding import IGNORE_INDEX, EncodedRow, encode_rows
from insurance_rag.training.model_card import merged_model_card
from insurance_rag.training.preflight import prepare_training

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CHAT_FILE = "train_dataset_chat.json"
SMOKE = {"profile": "smoke", **QUICK}


@pytest.fixture
def tokenizer(chat_base_model: Path) -> PreTrainedTokenizerBase:
    return load_training_tokenizer(str(chat_base_model))


def trl_rows(base: Path, tokenizer: PreTrainedTokenizerBase, rows: Sequence[object], out: Path) -> list[EncodedRow]:
    """Return the rows as TRL encodes them. The loss is computed on the answers."""
    from datasets import Dataset

    is_marked = "generation %" in str(tokenizer.chat_template)
    config = SFTConfig(
        output_dir=str(out), max_length=None, assistant_only_loss=is_marked, report_to="none", use_cpu=True, bf16=False
    )
    model = AutoModelForCausalLM.from_pretrained(base)
    encoded = SFTTrainer(model, config, train_dataset=Dataset.from_list(rows), processing_class=tokenizer).train_dataset
    columns = zip(encoded["input_ids"], encoded["labels"], strict=True)
    return [{"input_ids": ids, "labels": labels} for ids, labels in columns]


@pytest.mark.parametrize("template", [CHATML, MARKED_CHATML], ids=["prefix", "marker"])
def test_tokens_and_labels_are_those_of_trl(
    template: str, chat_base_model: Path, dataset: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    tokenizer.chat_template = template
    chat = [row["messages"] for row in json.loads((dataset / CHAT_FILE).read_text())]
    marked = template is MARKED_CHATML
    rows = [{"messages": m} if marked else {"prompt": m[:-1], "completion": m[-1:]} for m in chat]
    found = encode_rows(read_rows(dataset / CHAT_FILE, chat=True), tokenizer, load_recipe("v2_chat")).rows
    assert found == trl_rows(chat_base_model, tokenizer, rows, tmp_path)
    labels = [label for label in found[0]["labels"] if label != IGNORE_INDEX]
    assert tokenizer.decode(labels) == chat[0][-1]["content"] + END_OF_TURN + ("" if marked else "\n")


def test_reference_profile_trains_on_the_prompt_as_well(dataset: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    config = load_recipe("v2_chat", {"profile": "reference"})
    encoded = encode_rows(read_rows(dataset / CHAT_FILE, chat=True), tokenizer, config).rows[0]
    assert encoded["labels"] == encoded["input_ids"]


def test_only_the_context_of_a_long_row_is_cut(tokenizer: PreTrainedTokenizerBase) -> None:
    answer, chunk = "제3조에 따르면 90일입니다.", "제3조(기간)\n기간은 90일입니다."
    context = chunk + " 이 문장은 길이를 채우기 위한 것이며 답과는 관계가 없습니다." * 40
    row = TrainingRow(prompt=chat_prompt("며칠인가요?", context), completion=answer, context=context, evidence=chunk)
    result = encode_rows([row], tokenizer, load_recipe("v2_chat", {"max_length": 400}))
    text = tokenizer.decode(result.rows[0]["input_ids"])
    assert result.contexts_truncated == 1 and len(result.rows[0]["input_ids"]) <= 400
    assert RAG_INSTRUCTION in text and chunk in text and "관계가 없습니다.\n\n질문: 며칠인가요?" in text
    assert text.endswith(f"assistant\n{answer}{END_OF_TURN}\n")


def test_an_answer_whose_first_token_reaches_into_the_prompt(tokenizer: PreTrainedTokenizerBase) -> None:
    """Then the answer is encoded on its own, because the model generates it after the tokens of the whole prompt."""
    tokenizer.chat_template = CHATML.replace("assistant\n{% endif", "assistant\n9{% endif").replace(
        "{{ message['content'] }}", "{% if message['role'] == 'assistant' %}9{% endif %}{{ message['content'] }}"
    )
    tokenizer.add_tokens(["90"])
    template, messages = read_chat_template(tokenizer), chat_messages("며칠인가요?", "90일입니다.")
    ids, learned = template.encode_answer(messages, "0일입니다.")
    assert tokenizer.decode(template.encode_prompt(messages) + ids).endswith(f"assistant\n90일입니다.{END_OF_TURN}\n")
    assert all(learned) and tokenizer.decode(ids).startswith("0일")


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("llama3", "<|eot_id|>"),
        ("llama3_2", "<|eot_id|>"),
        ("qwen2_5", "<|im_end|>"),
        ("qwen3", "<|im_end|>"),
        ("gemma3", "<end_of_turn>"),
        ("phi3", "<|end|>"),
        ("cohere", "<|END_OF_TURN_TOKEN|>"),
    ],
)
def test_templates_of_common_models(name: str, ending: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """Gemma's template moves the system prompt into the user's message; those of Qwen3 and Llama 3.2 take variables."""
    folder = Path(trl.__file__).parent / "chat_templates"
    tokenizer.add_special_tokens({"additional_special_tokens": [ending]})
    tokenizer.chat_template = (folder / f"{name}.jinja").read_text(encoding="utf-8")
    template, messages = read_chat_template(tokenizer), chat_messages("며칠인가요?", "90일입니다.")
    prompt, answer = template.encode_prompt(messages), template.encode_answer(messages, "90일입니다.")
    assert tokenizer.decode(template.end_of_turn) == ending
    assert tokenizer.decode(answer.ids).startswith(f"90일입니다.{ending}")
    assert RAG_INSTRUCTION in tokenizer.decode(prompt) and "<think>\n\n</think>" not in tokenizer.decode(answer.ids)


def test_training_exporting_and_the_cards(chat_base_model: Path, dataset: Path, tmp_path: Path) -> None:
    recipe = load_recipe("v2_chat", {**SMOKE, "max_steps": 2, "eval_steps": 1})
    result = train_adapter(recipe, dataset, str(chat_base_model), tmp_path / "v2")
    manifest = manifest_of(tmp_path / "v2")
    assert (manifest.version, manifest.prompt_format, result.rows, manifest.heldout_rows) == ("v2", "chat", 16, 4)
    assert manifest.dataset.uri.endswith(CHAT_FILE) and manifest.eval_loss is not None
    card = AdapterFolder(tmp_path / "v2").model_card.read_text(encoding="utf-8")
    for text in (card, merged_model_card(manifest)):
        assert '"content": "[보험약관]\\n{context}\\n\\n질문: {question}"' in text
        assert "tokenizer.apply_chat_template(messages, add_generation_prompt=True, enable_thinking=False" in text
        assert '    {"model": "v2", "messages": [...], "chat_template_kwargs": {"enable_thinking": false' in text
    exported = export_adapter(tmp_path / "v2", str(chat_base_model), tmp_path / "merged")
    assert exported.prompt_format == "chat"
    assert AutoTokenizer.from_pretrained(tmp_path / "merged").chat_template == CHATML


def test_preference_pairs_become_chat_messages(chat_base_model: Path, tmp_path: Path) -> None:
    pair = {"prompt": "### 지시\n", "chosen": "90일입니다.", "rejected": "9일입니다.", "instruction": "며칠인가요?"}
    path = tmp_path / "pairs.json"
    path.write_text(json.dumps([{**pair, "context": "90일입니다."}, {**pair, "context": "80일입니다."}]))
    recipe = load_recipe("v4", {**SMOKE, "prompt_format": "chat"})
    prepared = prepare_training(recipe, path, str(chat_base_model), tmp_path / "out")
    template = read_chat_template(prepared.tokenizer)
    messages = chat_messages("며칠인가요?", "90일입니다.")
    assert prepared.rows.rows[0] == {
        "prompt_ids": template.encode_prompt(messages),
        "chosen_ids": template.encode_answer(messages, "90일입니다.").ids,
        "rejected_ids": template.encode_answer(messages, "9일입니다.").ids,
    }
    path.write_text(json.dumps([pair]))
    with pytest.raises(InvalidInputError, match="row 1 has no prompt"):
        prepare_training(recipe, path, str(chat_base_model), tmp_path / "out")


UNUSABLE = {
    "none": (None, ["its tokenizer has no chat template"]),
    "drops the system prompt": (
        CHATML.replace("for message in messages", "for message in messages if message['role'] != 'system'"),
        ["its chat template drops the system prompt"],
    ),
    "rejects the system prompt": (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        + CHATML,
        ["rejects a system prompt with a user's message (System role not supported)"],
    ),
    "drops both": (
        CHATML.replace("{{ message['content'] }}", ""),
        ["drops the system prompt", "drops the user's message", "drops the answer"],
    ),
    "differs from the generation prompt": (
        CHATML.replace("assistant\n{% endif", "assistant\n<think>\n{% endif"),
        ["starts an answer differently than its generation prompt, which ends with"],
    ),
    "no end of turn": (
        CHATML.replace("{{ message['content'] }}<|im_end|>", "{{ message['content'] }}"),
        ["does not end an answer with a special token"],
    ),
    "invalid": ("{% for", ["its chat template rejects"]),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_unusable_templates_are_listed_with_all_other_problems(
    name: str, chat_base_model: Path, dataset: Path, tmp_path: Path
) -> None:
    template, expected = UNUSABLE[name]
    for file in chat_base_model.iterdir():
        if file.name not in ("model.safetensors", "chat_template.jinja"):  # the weights are not needed
            (tmp_path / file.name).write_bytes(file.read_bytes())
    tokenizer = AutoTokenizer.from_pretrained(chat_base_model)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(tmp_path)
    recipe = load_recipe("v2_chat", {**SMOKE, "report_to": ["trackio"]})
    with pytest.raises(InvalidInputError) as error:
        train_adapter(recipe, dataset, str(tmp_path), tmp_path / "out")
    assert len(error.value.problems) == 1 + len(expected) and "pip install trackio" in str(error.value)
    for part in expected:
        assert part in str(error.value)
    assert "; use an instruction-tuned model with another template, or a prompt_format without" in str(error.value)


def test_a_base_without_a_pad_token_or_a_dataset_without_messages(
    chat_base_model: Path, dataset: Path, tmp_path: Path
) -> None:
    for file in chat_base_model.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = tmp_path / "tokenizer_config.json"
    settings = json.loads(config.read_text())
    config.write_text(json.dumps({**settings, "pad_token": settings["eos_token"]}))
    rag = dataset / "train_dataset_rag.json"
    recipe = load_recipe("v2_chat", SMOKE)
    assert prepare_training(recipe, dataset, str(tmp_path), tmp_path / "out").tokenizer.pad_token == "<|pad|>"
    text = (tmp_path / "tokenizer.json").read_text(encoding="utf-8")
    (tmp_path / "tokenizer.json").write_text(text.replace("<|pad|>", "<|gap|>"), encoding="utf-8")
    with pytest.raises(InvalidInputError) as error:
        prepare_training(recipe, rag, str(tmp_path), tmp_path / "out")
    assert "its pad token is its end-of-text token, and its vocabulary has no spare token" in str(error.value)
    assert "16 rows have no `messages` with a question and its answer, the first is row 1" in str(error.value)


@pytest.mark.parametrize(
    "messages",
    [
        None,
        [{"role": "user", "content": "질문"}],
        [{"role": "user", "content": "질문"}, {"role": "assistant", "content": " "}],
        [{"role": "user", "content": ["질문"]}, {"role": "assistant", "content": "답"}],
        [{"role": role, "content": "말"} for role in ("user", "assistant", "user", "assistant")],
    ],
)
def test_rows_without_a_question_and_its_answer(messages: object, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"messages": messages}))
    with pytest.raises(InvalidInputError, match=r"row 1 has no `messages` with a question and its answer"):
        read_rows(path, chat=True)
