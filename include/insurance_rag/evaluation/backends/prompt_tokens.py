"""Token ids of prompts, and the tokens that end an answer, for backends that load the model themselves."""

from __future__ import annotations

import contextlib
from functools import cached_property
from typing import TYPE_CHECKING

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.prompt_templates import PROMPT_FORMATS, read_messages
from insurance_rag.models.chat_template import ChatTemplate, read_chat_template
from insurance_rag.models.tokenizer import encode_prompt

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class PromptTokens:
    """Encodes prompts as in training: text with the tokenizer, and chat messages with its chat template."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer

    @cached_property
    def _template(self) -> ChatTemplate:
        return read_chat_template(self.tokenizer)

    def encode(self, prompt: str, prompt_format: str) -> list[int]:
        """Return the tokens of a prompt.

        Raises InvalidInputError if the format has chat messages and the tokenizer has no chat template that can be
        used.
        """
        if PROMPT_FORMATS[prompt_format].chat:
            return self._template.encode_prompt(read_messages(prompt))
        return encode_prompt(self.tokenizer, prompt)

    def end_tokens(self, model: PreTrainedModel) -> frozenset[int]:
        """Return the tokens that end an answer.

        These are the end-of-text tokens of the tokenizer and of the model's generation settings and, if the tokenizer
        has a chat template that can be used, the token that ends a turn.
        """
        configured = model.generation_config.eos_token_id
        tokens = {self.tokenizer.eos_token_id, *(configured if isinstance(configured, list) else [configured])}
        with contextlib.suppress(InvalidInputError):
            tokens.add(self._template.end_of_turn)
        return frozenset(tokens - {None})
