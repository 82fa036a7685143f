"""A decoding loop with a static cache: one prefill per batch, then identical steps until every row is finished.

Prompts are padded on the right, so the prefill needs no mask and uses the fast causal kernel. Each row's new tokens
then overwrite its padding. On a GPU, the step is recorded as a CUDA graph. The host then does not launch each kernel,
and a step takes only the time to read the weights. The loop gives the same tokens as `generate`. Layers with a sliding
window (Gemma 3) keep all keys, and a mask hides the keys outside the window.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from transformers.cache_utils import Cache

from insurance_rag.config import DecodingConfig
from insurance_rag.evaluation.backends.local.batched_lora import BatchedLora
from insurance_rag.evaluation.backends.local.sampling import CHECK_INTERVAL, StopRule, next_tokens
from insurance_rag.evaluation.backends.local.static_cache import StaticLayer, WritePosition

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

#: Architectures in which every layer has causal attention over all earlier positions.
PLAIN_ATTENTION = frozenset({"llama", "mistral", "qwen2", "qwen3"})
#: Architectures that take two masks: one for layers with full attention, one for layers with a sliding window.
MIXED_ATTENTION = frozenset({"gemma3_text"})
#: Maximum number of prompt tokens, including padding, in one forward pass of the prefill.
PREFILL_TOKENS = 16384
#: The masked attention kernels require the number of keys to be a multiple of this value.
KEY_ALIGNMENT = 64


def supports_static_decoding(config: PretrainedConfig) -> bool:
    """Return whether this loop gives the same tokens as `generate` for a model with this configuration."""
    if config.model_type in MIXED_ATTENTION:
        return not config.use_bidirectional_attention
    return config.model_type in PLAIN_ATTENTION and getattr(config, "sliding_window", None) is None


class StaticDecoder:
    """Answers one batch. Call `lora.select` first to set the adapter for each row."""

    def __init__(
        self,
        model: PreTrainedModel,
        lora: BatchedLora | None,
        prompts: list[list[int]],
        noise: torch.Tensor,
        decoding: DecodingConfig,
    ) -> None:
        """Allocate the cache. `prompts` are lists of token ids, and `noise` has the shape [rows, max_new_tokens]."""
        parameter = next(model.parameters())
        self.device, dtype = parameter.device, parameter.dtype
        self.model, self.lora, self.decoding, self.prompts = model, lora, decoding, prompts
        config, n = model.config, len(prompts)
        length = -(-(max(map(len, prompts)) + decoding.max_new_tokens) // KEY_ALIGNMENT) * KEY_ALIGNMENT
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        prompt_ends = torch.tensor([len(p) for p in prompts], device=self.device)
        self.write = WritePosition(torch.arange(n, device=self.device), prompt_ends)
        self.positions = torch.arange(length, device=self.device)
        self.step = torch.zeros(1, dtype=torch.long, device=self.device)
        self.noise = noise.to(self.device)
        self.penalized = torch.zeros(n, config.vocab_size, dtype=torch.bool, device=self.device)
        self.tokens = torch.zeros(n, decoding.max_new_tokens, dtype=torch.long, device=self.device)
        shape = (n, config.num_key_value_heads, length, width)
        self.cache = Cache(layers=[StaticLayer(self.write, shape, dtype) for _ in range(config.num_hidden_layers)])

    @torch.inference_mode()
    def run(self, rule: StopRule, on_finished: Callable[[int, list[int]], None]) -> None:
        """Generate all answers. Call `on_finished(row, tokens)` once per row, when a check finds the row finished."""
        self._choose_tokens(self._prefill())
        rows: list[int | None] = list(range(len(self.prompts)))  # original row numbers, or None for finished rows
        n_generated, advance = 1, self._record_step()
        while True:
            steps = min(CHECK_INTERVAL - n_generated % CHECK_INTERVAL, self.decoding.max_new_tokens - n_generated)
            for _ in range(steps):
                advance()
            n_generated += steps
            active = []
            for index, tokens in enumerate(self.tokens[:, :n_generated].tolist()):
                answer, finished = rule.truncate(tokens)
                if not finished:
                    active.append(index)
                elif (row := rows[index]) is not None:
                    on_finished(row, answer)
                    rows[index] = None
            if not active:
                return
            if len(active) <= len(rows) // 2:  # finished rows cost as much as active ones
                rows = [rows[index] for index in active]
                self._keep_rows(active)
                advance = self._record_step()

    def _prefill(self) -> torch.Tensor:
        """Fill the cache with the prompts. Return the hidden state of each last prompt token, shape [rows, hidden]."""
        last_states = []
        mask = self.lora.mask if self.lora else None
        for part in self._prefill_parts():
            prompts = self.prompts[part]
            longest = max(map(len, prompts))
            ids = torch.tensor([p + [0] * (longest - len(p)) for p in prompts], device=self.device)
            self.write.prefill = part
            if self.lora and mask is not None:
                self.lora.mask = mask[part]
            states = self._hidden_states(input_ids=ids)
            last_states.append(states[torch.arange(len(prompts)), [len(p) - 1 for p in prompts]])
        self.write.prefill = None
        if self.lora and mask is not None:
            self.lora.mask = mask
        if self.decoding.penalty_scope == "prompt":
            for row, prompt in enumerate(self.prompts):
                self.penalized[row, prompt] = True
        return torch.cat(last_states)

    def _prefill_parts(self) -> list[slice]:
        """Split the rows into slices of at most PREFILL_TOKENS tokens with padding. A longer row is its own slice."""
        parts, start = [], 0
        while start < len(self.prompts):
            end, longest = start + 1, len(self.prompts[start])
            while end < len(self.prompts):
                longest = max(longest, len(self.prompts[end]))
                if (end + 1 - start) * longest > PREFILL_TOKENS:
                    break
                end += 1
            parts.append(slice(start, end))
            start = end
        return parts

    def _hidden_states(self, **inputs: torch.Tensor | dict[str, torch.Tensor]) -> torch.Tensor:
        return self.model.get_decoder()(past_key_values=self.cache, use_cache=True, **inputs).last_hidden_state

    def _choose_tokens(self, states: torch.Tensor) -> None:
        logits = self.model.get_output_embeddings()(states).float()
        noise = self.noise.index_select(1, self.step)[:, 0]
        chosen = next_tokens(logits, self.penalized, noise, self.decoding)[:, None]
        self.penalized.scatter_(1, chosen, True)
        self.tokens.index_copy_(1, self.step, chosen)
        self.step += 1

    def _advance(self) -> None:
        """Generate one token per row."""
        last = self.tokens.index_select(1, self.step - 1)
        position_ids = self.write.position[:, None]
        states = self._hidden_states(input_ids=last, position_ids=position_ids, attention_mask=self._attention_mask())
        self.write.position += 1
        self._choose_tokens(states[:, 0])

    def _attention_mask(self) -> torch.Tensor | dict[str, torch.Tensor]:
        """Return a mask of the positions that each row's token attends to, shape [rows, 1, 1, positions].

        For architectures in MIXED_ATTENTION, return one such mask per type of layer.
        """
        config, position = self.model.config, self.write.position[:, None]
        causal = (self.positions <= position)[:, None, None]
        if config.model_type not in MIXED_ATTENTION:
            return causal
        in_window = (self.positions > position - config.sliding_window)[:, None, None]
        return {"full_attention": causal, "sliding_attention": causal & in_window}

    def _record_step(self) -> Callable[[], None]:
        """Return a function that runs one step: a recorded CUDA graph on a GPU, `_advance` itself on a CPU."""
        if self.device.type != "cuda":
            return self._advance
        state = (self.write.position, self.step, self.penalized, self.tokens)
        before = [tensor.clone() for tensor in state]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._advance()  # warm up before the capture: libraries allocate memory on the first call
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._advance()
        for tensor, value in zip(state, before, strict=True):
            tensor.copy_(value)
        return graph.replay

    def _keep_rows(self, rows: list[int]) -> None:
        """Remove all rows except `rows` from the batch."""
        index = torch.tensor(rows, device=self.device)
        for layer in self.cache.layers:
            layer.keys, layer.values = layer.keys[index], layer.values[index]
        self.write.position = self.write.position[index]
        self.write.rows = torch.arange(len(rows), device=self.device)
        self.noise, self.penalized, self.tokens = self.noise[index], self.penalized[index], self.tokens[index]
        if self.lora:
            self.lora.mask = self.lora.mask[index]
