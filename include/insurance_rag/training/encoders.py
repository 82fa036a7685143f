"""Turn prompts and answers into token ids: text with the tokenizer, chat messages with its chat template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from insurance_rag.config import TrainingConfig
from insurance_rag.core.prompt_templates import PROMPT_FORMATS, read_messages, replace_in_messages
from insurance_rag.models.chat_template import ChatTemplate, EncodedAnswer, read_chat_template
from insurance_rag.models.tokenizer import encode_prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Encoder(Protocol):
    """Encodes the prompts and answers of one prompt format."""

    def encode_prompt(self, prompt: str) -> list[int]:
        """Return the tokens up to the point where the answer begins."""

    def encode_answer(self, prompt: str, answer: str) -> EncodedAnswer:
        """Return the tokens that the model has to generate after the prompt."""

    def replace_context(self, prompt: str, context: str, shorter: str) -> str | None:
        """Return the prompt with a shorter context, or None if the prompt does not contain the context."""


@dataclass(frozen=True)
class TextEncoder:
    """Encodes prompts that are plain text. With `append_eos`, answers end with the tokenizer's end-of-text token."""

    tokenizer: PreTrainedTokenizerBase
    append_eos: bool

    def encode_prompt(self, prompt: str) -> list[int]:
        return encode_prompt(self.tokenizer, prompt)

    def encode_answer(self, prompt: str, answer: str) -> EncodedAnswer:
        answer = remove_end_of_text(answer).removesuffix(self.tokenizer.eos_token)
        ids: list[int] = self.tokenizer(answer, add_special_tokens=False)["input_ids"]
        ids = [*ids, self.tokenizer.eos_token_id] if self.append_eos else ids
        return EncodedAnswer(ids, [True] * len(ids))

    def replace_context(self, prompt: str, context: str, shorter: str) -> str | None:
        return prompt.replace(context, shorter, 1) if context in prompt else None


@dataclass(frozen=True)
class ChatEncoder:
    """Encodes prompts that are the JSON text of chat messages. The chat template ends the answers."""

    template: ChatTemplate

    def encode_prompt(self, prompt: str) -> list[int]:
        return self.template.encode_prompt(read_messages(prompt))

    def encode_answer(self, prompt: str, answer: str) -> EncodedAnswer:
        return self.template.encode_answer(read_messages(prompt), remove_end_of_text(answer))

    def replace_context(self, prompt: str, context: str, shorter: str) -> str | None:
        replaced = replace_in_messages(prompt, context, shorter)
        return None if replaced == prompt else replaced


def prompt_encoder(tokenizer: PreTrainedTokenizerBase, config: TrainingConfig) -> Encoder:
    """Return the encoder for the recipe's prompt format.

    Raises InvalidInputError if the format has chat messages and the tokenizer has no chat template that can be used.
    """
    if PROMPT_FORMATS[config.prompt_format].chat:
        return ChatEncoder(read_chat_template(tokenizer))
    return TextEncoder(tokenizer, config.append_eos)


def remove_end_of_text(answer: str) -> str:
    """Return the answer without the end-of-text token of a prompt format, written out as text."""
    for form in PROMPT_FORMATS.entries.values():
        if form.end_of_text:
            answer = answer.removesuffix(form.end_of_text)
    return answer
