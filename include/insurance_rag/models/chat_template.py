"""Turn chat messages into token ids with the chat template of a tokenizer.

Training, evaluation and serving render the same messages with the same settings. A template is checked before it is
used: some reject or drop the system prompt, and some start an answer differently than their generation prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.prompt_templates import ChatMessage, chat_messages

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: Variables that are passed to every template; templates ignore those that they do not know. Answers begin without a
#: chain of thought, and the date in Llama 3's system prompt does not change from day to day.
TEMPLATE_VARIABLES: Mapping[str, bool | str] = {"enable_thinking": False, "date_string": "26 Jul 2024"}
_GENERATION_MARKER = re.compile(r"\{%-?\s*generation\b")
_REMEDY = "use an instruction-tuned model with another template, or a prompt_format without chat messages, e.g. rag"


class EncodedAnswer(NamedTuple):
    """The tokens of an answer and of the end of its turn."""

    ids: list[int]
    learned: list[bool]
    """Whether each token belongs to the answer. The line break that many templates add after a turn may not."""


@dataclass(frozen=True)
class ChatTemplate:
    """The chat template of a tokenizer, after all checks."""

    tokenizer: PreTrainedTokenizerBase
    end_of_turn: int
    """The token that ends an answer."""
    has_marker: bool
    """Whether the template marks the assistant's turns (`{% generation %}`)."""

    def encode_prompt(self, messages: Sequence[ChatMessage]) -> list[int]:
        """Return the tokens up to the point where the answer begins."""
        ids: list[int] = _encode(self.tokenizer, messages, add_generation_prompt=True)["input_ids"]
        return ids

    def encode_answer(self, messages: Sequence[ChatMessage], answer: str) -> EncodedAnswer:
        """Return the tokens that follow the prompt: the answer and the end of its turn.

        If the template marks the assistant's turns and the mark includes the end of the turn, only the marked tokens
        are learned, else all of them. Raises InvalidInputError if the answer cannot follow the prompt.
        """
        prompt, conversation = self.encode_prompt(messages), _with_answer(messages, answer)
        encoded = _encode(self.tokenizer, conversation, return_assistant_tokens_mask=self.has_marker)
        ids: list[int] = encoded["input_ids"]
        if ids[: len(prompt)] != prompt:  # a token covers the end of the prompt and the start of the answer
            rest = self._text_after_prompt(messages, answer)
            ids = self.tokenizer(rest, add_special_tokens=False)["input_ids"]
            return EncodedAnswer(ids, [True] * len(ids))
        rest_ids = ids[len(prompt) :]
        marked = [bool(x) for x in encoded.get("assistant_masks", [])[len(prompt) :]]
        is_usable = any(m and token == self.end_of_turn for m, token in zip(marked, rest_ids, strict=False))
        return EncodedAnswer(rest_ids, marked if is_usable else [True] * len(rest_ids))

    def _text_after_prompt(self, messages: Sequence[ChatMessage], answer: str) -> str:
        prompt = render(self.tokenizer, messages, add_generation_prompt=True)
        whole = render(self.tokenizer, _with_answer(messages, answer))
        if not whole.startswith(prompt):
            raise InvalidInputError(
                f"{_name(self.tokenizer)}: its chat template changes the prompt before the answer {answer[:40]!r}; "
                f"{_REMEDY}"
            )
        return whole[len(prompt) :]


def read_chat_template(tokenizer: PreTrainedTokenizerBase) -> ChatTemplate:
    """Return the tokenizer's chat template.

    Raises InvalidInputError if there is none, or if it cannot be used. It cannot be used if it rejects or drops a
    message, starts an answer differently than its generation prompt, or does not end answers.
    """
    from jinja2 import TemplateError

    if not tokenizer.chat_template:
        raise InvalidInputError(f"{_name(tokenizer)}: its tokenizer has no chat template; {_REMEDY}")
    messages, answer = chat_messages("며칠인가요?", "제1조(기간) 90일입니다."), "제1조에 따르면 90일입니다."
    try:
        prompt = render(tokenizer, messages, add_generation_prompt=True)
        whole = render(tokenizer, _with_answer(messages, answer))
        template = tokenizer.get_chat_template()
    except (TemplateError, ValueError, TypeError, LookupError, OverflowError, RecursionError) as e:
        raise InvalidInputError(
            f"{_name(tokenizer)}: its chat template rejects a system prompt with a user's message ({e}); {_REMEDY}"
        ) from e
    end_of_turn = _end_of_turn(tokenizer, whole.rpartition(answer)[2])
    problems = list(_problems(messages, answer, prompt, whole, end_of_turn))
    if problems or end_of_turn is None:
        raise InvalidInputError([f"{_name(tokenizer)}: its chat template {each}; {_REMEDY}" for each in problems])
    return ChatTemplate(tokenizer, end_of_turn, bool(_GENERATION_MARKER.search(template)))


def _problems(
    messages: Sequence[ChatMessage], answer: str, prompt: str, whole: str, end_of_turn: int | None
) -> Iterator[str]:
    """Yield what is wrong with the rendered `prompt`, or with the rendered `whole` conversation."""
    names = {"system": "the system prompt", "user": "the user's message"}
    for message in messages:
        if message["content"] not in prompt:
            yield f"drops {names[message['role']]}"
    if answer not in whole:
        yield "drops the answer"
    elif not whole.startswith(prompt):
        yield (
            f"starts an answer differently than its generation prompt, which ends with {prompt[-20:]!r}, so the model "
            "would be asked in another way than it was trained"
        )
    elif end_of_turn is None:
        yield "does not end an answer with a special token, so the model would not learn to stop"


def render(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[ChatMessage], *, add_generation_prompt: bool = False
) -> str:
    """Return the messages as text. With `add_generation_prompt`, the text ends where the answer begins."""
    return str(
        tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=add_generation_prompt, **TEMPLATE_VARIABLES
        )
    )


def _encode(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[ChatMessage], **options: bool
) -> Mapping[str, list[int]]:
    encoded: Mapping[str, list[int]] = tokenizer.apply_chat_template(
        list(messages), tokenize=True, return_dict=True, **options, **TEMPLATE_VARIABLES
    )
    return encoded


def _with_answer(messages: Sequence[ChatMessage], answer: str) -> list[ChatMessage]:
    return [*messages, {"role": "assistant", "content": answer}]


def _end_of_turn(tokenizer: PreTrainedTokenizerBase, after_answer: str) -> int | None:
    """Return the first special token in the text after an answer, or None if there is none."""
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    ids: list[int] = tokenizer(after_answer, add_special_tokens=False)["input_ids"]
    return next((token for token in ids if token in special), None)


def _name(tokenizer: PreTrainedTokenizerBase) -> str:
    return f"base model {tokenizer.name_or_path}"
