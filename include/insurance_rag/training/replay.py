"""Mix rows of a general dataset into the training rows, so that the adapter forgets less."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, cast

from pydantic import JsonValue

from insurance_rag.config import TrainingConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.prompt_templates import PROMPT_FORMATS, ChatMessage, write_messages
from insurance_rag.core.records import TrainingRow
from insurance_rag.korean import hangul_share
from insurance_rag.training.dataset_rows import read_values, row_problem
from insurance_rag.training.encoders import TextEncoder, remove_end_of_text
from insurance_rag.training.encoding import IGNORE_INDEX, EncodedRow, EncodedRows, encode_rows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

MAX_LANGUAGE_DIFFERENCE = 0.5
"""Maximum difference between the Hangul shares of two files in the same language. Korean rows about programming or with
names in Latin letters stay below it."""
LANGUAGE_SAMPLE = 1000
"""Maximum number of rows of each file whose language is measured."""


def replay_file(config: TrainingConfig) -> list[Path]:
    """Return the file of the general dataset, or an empty list if the recipe names none."""
    return [Path(config.replay.file)] if config.replay.file else []


def read_replay(config: TrainingConfig, dataset_rows: Sequence[TrainingRow], dataset: Path) -> list[TrainingRow]:
    """Read the general dataset of the recipe; empty if the recipe names none. `dataset_rows` are those of `dataset`.

    A row with only a `text` gets an empty prompt. Raises InvalidInputError if the file cannot be read, has no rows or
    has invalid rows, or if its language is not that of `dataset_rows`.
    """
    rows = [row for path in replay_file(config) for row in _read(path, PROMPT_FORMATS[config.prompt_format].chat)]
    if rows and dataset_rows:
        _check_language(rows, Path(str(config.replay.file)), dataset_rows, dataset)
    return rows


def _read(path: Path, chat: bool) -> list[TrainingRow]:
    found = [_parse(value, chat) for value in read_values(path)]
    if not found:
        raise InvalidInputError(f"{path}: holds no rows; give a general dataset, or set replay.file=null")
    if invalid := [number for number, row in enumerate(found, 1) if row is None]:
        problem = "neither a prompt with a completion, nor messages that end with an answer, nor a text"
        raise InvalidInputError(row_problem(path, problem, invalid, "write each row in one of these forms"))
    return [row for row in found if row is not None]


def _parse(value: JsonValue, chat: bool) -> TrainingRow | None:
    """Return the row with its prompt in the form that the recipe's prompt format has. None if the row is invalid."""
    if not isinstance(value, dict):
        return None
    prompt, completion, text = (_text(value.get(key)) for key in ("prompt", "completion", "text"))
    if prompt and completion:
        asked: list[ChatMessage] = [{"role": "user", "content": prompt}]
        return TrainingRow(prompt=write_messages(asked) if chat else prompt, completion=completion)
    if messages := _messages(value.get("messages")):
        *asked, answer = messages
        plain = "".join(f"{message['content']}\n\n" for message in asked)
        return TrainingRow(prompt=write_messages(asked) if chat else plain, completion=answer["content"])
    return TrainingRow(prompt="", completion=text) if text else None


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) and value.strip() else ""


def _messages(value: JsonValue) -> list[ChatMessage]:
    """Return the messages of a conversation that ends with an answer; an empty list if they cannot be used.

    After an optional system prompt, the messages of the user and of the assistant must alternate.
    """
    found = [message for message in value if isinstance(message, dict)] if isinstance(value, list) else []
    roles = [message.get("role") for message in found]
    turns = roles[1:] if roles[:1] == ["system"] else roles
    if not turns or turns != ["user", "assistant"] * (len(turns) // 2):
        return []
    if not all(_text(message.get("content")) for message in found):
        return []
    return [cast("ChatMessage", {key: message[key] for key in ("role", "content")}) for message in found]


def _check_language(
    rows: Sequence[TrainingRow], path: Path, dataset_rows: Sequence[TrainingRow], dataset: Path
) -> None:
    """Raise InvalidInputError if much more or much less of the replay rows is Korean than of the dataset's answers."""
    share, expected = _korean_share(rows), _korean_share(dataset_rows)
    if abs(share - expected) > MAX_LANGUAGE_DIFFERENCE:
        raise InvalidInputError(
            f"{path}: {100 * share:.0f} % of the letters in its answers are Korean, but {100 * expected:.0f} % in "
            f"{dataset}, so the adapter would learn to answer in another language; give replay.file in the language "
            "of the dataset, or set it to null"
        )


def _korean_share(rows: Sequence[TrainingRow]) -> float:
    """Return the mean Hangul share of the answers, of at most LANGUAGE_SAMPLE rows from all parts of the file."""
    sample = rows[:: -(-len(rows) // LANGUAGE_SAMPLE)]
    return fmean(hangul_share(remove_end_of_text(row.completion)) for row in sample)


def add_replay(
    encoded: EncodedRows, replay: Sequence[TrainingRow], tokenizer: PreTrainedTokenizerBase, config: TrainingConfig
) -> EncodedRows:
    """Return the encoded dataset rows with so many replay rows after them that these are the share of the recipe.

    The seed decides which ones. Rows with a prompt that are longer than `max_length` are not used, and texts are cut.
    """
    share = config.replay.share
    wanted = max(1, round(len(encoded.rows) * share / (1 - share)))
    candidates = random.Random(config.seed).sample(replay, len(replay))
    found: list[EncodedRow] = []
    while candidates and len(found) < wanted:
        missing = wanted - len(found)
        found += _encode(candidates[:missing], tokenizer, config)
        candidates = candidates[missing:]
    if len(found) < wanted:
        log.warning(
            "%s has %d rows that can be used, but replay.share=%g needs %d; all of them are used, each once",
            config.replay.file,
            len(found),
            share,
            wanted,
        )
    return EncodedRows([*encoded.rows, *found], encoded.contexts_truncated, encoded.skipped)


def _encode(
    rows: Sequence[TrainingRow], tokenizer: PreTrainedTokenizerBase, config: TrainingConfig
) -> list[EncodedRow]:
    """Encode the rows. Texts are encoded without a chat template, because they are no conversations."""
    found = encode_rows([row for row in rows if row.prompt], tokenizer, config).rows
    encoder = TextEncoder(tokenizer, config.append_eos)
    for row in rows:
        if not row.prompt:
            prompt, text = encoder.encode_prompt(""), encoder.encode_answer("", row.completion).ids
            labels = [IGNORE_INDEX] * len(prompt) + text
            found.append({"input_ids": (prompt + text)[: config.max_length], "labels": labels[: config.max_length]})
    return found
