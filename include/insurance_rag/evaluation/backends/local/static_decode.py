"""A decoding loop with a static cache: one batch, one prefill, then the same step again and again.

Prompts are padded on the right, so the prefill needs no mask and runs on the fast causal kernel; each row then writes
its tokens over its own padding. On a GPU the step is recorded once as a CUDA graph: 256 steps cost the weights' memory
traffic and not 256 times the host's launches. It gives what `generate` gives, token for token. Layers with a sliding
window (Gemma 3) keep all their keys and mask those outside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

from insurance_rag.config import DecodingConfig
from insurance_rag.evaluation.backends.local.batched_lora import BatchedLora
from insurance_rag.evaluation.backends.local.sampling import CHECK_EVERY, StopRule, next_tokens

#: Architectures whose every layer is plain causal attention over all positions.
PLAIN_ATTENTION = frozenset({"llama", "mistral", "qwen2", "qwen3"})
#: Architectures that take a mask for each kind of layer: full attention, or over a sliding window.
MIXED_ATTENTION = frozenset({"gemma3_text"})
#: Prompt tokens of one forward pass of the prefill.
PREFILL_TOKENS = 16384
#: Keys of a row are padded to a multiple of this, as the masked attention kernels want it.
ALIGNMENT = 64


def supports(config: Any) -> bool:
    """Whether the loop gives the same tokens as `generate` for a model of this configuration."""
    if config.model_type in MIXED_ATTENTION:
        return not config.use_bidirectional_attention
    return config.model_type in PLAIN_ATTENTION and getattr(config, "sliding_window", None) is None


@dataclass
class _Place:
    """Where keys and values are written next: the rows of a prefill, or one position of every row."""

    rows: torch.Tensor
    position: torch.Tensor
    prefill: slice | None = None


class _Layer(CacheLayerMixin):
    """Keys and values [rows, heads, positions, width] of one layer."""

    def __init__(self, place: _Place, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        super().__init__()
        self.place = place
        self.keys = torch.zeros(shape, device=place.rows.device, dtype=dtype)
        self.values = torch.zeros_like(self.keys)
        self.is_initialized = True

    def update(self, keys: torch.Tensor, values: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor, torch.Tensor]:
        place = self.place
        if place.prefill is not None:
            self.keys[place.prefill, :, : keys.shape[2]] = keys
            self.values[place.prefill, :, : keys.shape[2]] = values
            return keys, values
        self.keys[place.rows, :, place.position] = keys[:, :, 0]
        self.values[place.rows, :, place.position] = values[:, :, 0]
        return self.keys, self.values

    def lazy_initialization(self, *_: Any) -> None: ...

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return query_length, 0  # asked in the prefill alone; the decoding step brings its own mask

    def get_seq_length(self) -> int:
        return 0

    def get_max_length(self) -> int:
        return int(self.keys.shape[2])


class StaticDecoder:
    """Answers one batch. `lora.select` must have been told the adapters of the rows."""

    def __init__(
        self,
        model: Any,
        lora: BatchedLora | None,
        prompts: list[list[int]],
        noise: torch.Tensor,
        decoding: DecodingConfig,
    ) -> None:
        parameter = next(model.parameters())
        self.device, self.dtype = parameter.device, parameter.dtype
        self.model, self.lora, self.decoding = model, lora, decoding
        config, n = model.config, len(prompts)
        length = -(-(max(map(len, prompts)) + decoding.max_new_tokens) // ALIGNMENT) * ALIGNMENT
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        ends = torch.tensor([len(p) for p in prompts], device=self.device)
        self.place = _Place(torch.arange(n, device=self.device), ends)
        self.positions = torch.arange(length, device=self.device)
        self.step = torch.zeros(1, dtype=torch.long, device=self.device)
        self.noise = noise.to(self.device)
        self.used = torch.zeros(n, config.vocab_size, dtype=torch.bool, device=self.device)
        self.tokens = torch.zeros(n, decoding.max_new_tokens, dtype=torch.long, device=self.device)
        shape = (n, config.num_key_value_heads, length, width)
        self.cache = Cache(layers=[_Layer(self.place, shape, self.dtype) for _ in range(config.num_hidden_layers)])
        self.prompts = prompts

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def run(self, rule: StopRule, on_finished: Callable[[int, list[int]], None]) -> None:
        """Generate; `on_finished(row, tokens)` is called once for each row, as soon as its end is noticed."""
        self._choose(self._read_prompts())
        alive: list[int | None] = list(range(len(self.prompts)))
        made, advance = 1, self._recorded()
        while True:
            steps = min(CHECK_EVERY - made % CHECK_EVERY, self.decoding.max_new_tokens - made)
            for _ in range(steps):
                advance()
            made += steps
            going = []
            for place, tokens in enumerate(self.tokens[:, :made].tolist()):
                answer, over = rule.cut(tokens)
                if not over:
                    going.append(place)
                elif (row := alive[place]) is not None:
                    on_finished(row, answer)
                    alive[place] = None
            if not going:
                return
            if len(going) <= len(alive) // 2:  # finished rows cost as much as the others
                alive = [alive[place] for place in going]
                self._keep(going)
                advance = self._recorded()

    def _read_prompts(self) -> torch.Tensor:
        """Fill the cache; the hidden state of each prompt's last token."""
        last, start, n = [], 0, len(self.prompts)
        mask = self.lora.mask if self.lora else None
        while start < n:
            end, longest = start + 1, len(self.prompts[start])
            while end < n and (end + 1 - start) * max(longest, len(self.prompts[end])) <= PREFILL_TOKENS:
                longest = max(longest, len(self.prompts[end]))
                end += 1
            part = self.prompts[start:end]
            ids = torch.tensor([p + [0] * (longest - len(p)) for p in part], device=self.device)
            self.place.prefill = slice(start, end)
            if self.lora and mask is not None:
                self.lora.mask = mask[start:end]
            states = self._hidden(input_ids=ids)
            last.append(states[torch.arange(end - start), [len(p) - 1 for p in part]])
            start = end
        self.place.prefill = None
        if self.lora and mask is not None:
            self.lora.mask = mask
        if self.decoding.penalty_scope == "prompt":
            for row, prompt in enumerate(self.prompts):
                self.used[row, prompt] = True
        return torch.cat(last)

    def _hidden(self, **inputs: Any) -> torch.Tensor:
        states: torch.Tensor = self.model.get_decoder()(
            past_key_values=self.cache, use_cache=True, **inputs
        ).last_hidden_state
        return states

    def _choose(self, states: torch.Tensor) -> None:
        logits = self.model.get_output_embeddings()(states).float()
        chosen = next_tokens(logits, self.used, self.noise.index_select(1, self.step)[:, 0], self.decoding)[:, None]
        self.used.scatter_(1, chosen, True)
        self.tokens.index_copy_(1, self.step, chosen)
        self.step += 1

    def _advance(self) -> None:
        last = self.tokens.index_select(1, self.step - 1)
        states = self._hidden(input_ids=last, position_ids=self.place.position[:, None], attention_mask=self._seen())
        self.place.position += 1
        self._choose(states[:, 0])

    def _seen(self) -> Any:
        """Which keys each row's token attends to; for each kind of layer where there are several."""
        config, position = self.model.config, self.place.position[:, None]
        seen = (self.positions <= position)[:, None, None]
        if config.model_type not in MIXED_ATTENTION:
            return seen
        near = (self.positions > position - config.sliding_window)[:, None, None]
        return {"full_attention": seen, "sliding_attention": seen & near}

    def _recorded(self) -> Callable[[], None]:
        """The step as a CUDA graph; on a CPU the step itself."""
        if self.device.type != "cuda":
            return self._advance
        state = (self.place.position, self.step, self.used, self.tokens)
        before = [tensor.clone() for tensor in state]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._advance()  # libraries allocate on their first call, which a recording may not contain
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._advance()
        for tensor, value in zip(state, before, strict=True):
            tensor.copy_(value)
        return graph.replay

    def _keep(self, places: list[int]) -> None:
        """Go on with these rows of the batch alone."""
        index = torch.tensor(places, device=self.device)
        for layer in self.cache.layers:
            layer.keys, layer.values = layer.keys[index], layer.values[index]
        self.place.position = self.place.position[index]
        self.place.rows = torch.arange(len(places), device=self.device)
        self.noise, self.used, self.tokens = self.noise[index], self.used[index], self.tokens[index]
        if self.lora:
            self.lora.mask = self.lora.mask[index]
