"""Initial weights that can already copy: an induction circuit written into the first two layers.

Transformers find this circuit by themselves, but only after millions of tokens; the demo has one minute. Training
starts from it and is free to change it. The idea is mimetic initialisation (Trockman & Kolter, arXiv 2305.09828); the
circuit is that of Olsson et al., arXiv 2209.11895:
    layer 0  two heads look one and two tokens back and note which token stood there
    layer 1  one head looks for a place whose noted tokens are the current one and the one before, and fetches its token
Widths are thirds: token | token before | token before that. The model needs three heads and attention biases.
"""

from __future__ import annotations

from typing import Any

#: Of every layer of the model.
HEADS = 3
#: How sharply the looking-back heads point, and how sharply the matching head compares.
POSITION_SHARPNESS, MATCH_SHARPNESS, WRITE = 6.5, 3.0, 1.5


def write_induction_circuit(model: Any) -> None:
    """Overwrite the embeddings' upper two thirds and parts of the attention of layers 0 and 1 of a fresh Llama."""
    import torch

    width = model.config.hidden_size // HEADS
    if model.config.num_attention_heads != HEADS or model.config.num_hidden_layers < 2:
        raise ValueError("the circuit is laid out for three heads and at least two layers")
    token, before, second = (slice(i * width, (i + 1) * width) for i in range(3))
    identity = torch.eye(width)
    with torch.no_grad():
        embeddings = model.model.embed_tokens.weight
        embeddings.normal_(0, width**-0.5)
        embeddings[:, width:] = 0
        first, match = model.model.layers[0].self_attn, model.model.layers[1].self_attn
        for head, distance in ((token, 1), (before, 2)):
            _point_back(first, head, distance, model)
        for head, note in ((token, before), (before, second)):
            first.v_proj.weight[head] = 0
            first.v_proj.weight[head, token] = identity
            first.o_proj.weight[:, head] = 0
            first.o_proj.weight[note, head] = 0.5 * identity
        # Compare in the slowly rotating half of the head, where a match counts the same at any distance.
        slow = [i for half in (0, width // 2) for i in range(half + width // 4, half + width // 2)]
        code = torch.linalg.qr(torch.randn(width, width))[0][: width // 4] * MATCH_SHARPNESS
        for projection, older in ((match.q_proj, (token, before)), (match.k_proj, (before, second))):
            projection.weight[token] = 0
            for place, source in zip((slow[::2], slow[1::2]), older, strict=True):
                projection.weight[place, source] = code
        match.v_proj.weight[token] = 0
        match.v_proj.weight[token, token] = identity
        match.o_proj.weight[:, token] = 0
        match.o_proj.weight[token, token] = WRITE * identity


def _point_back(attention: Any, head: slice, distance: int, model: Any) -> None:
    """Make one head attend `distance` tokens back: its query and key are constants, which rotary embedding turns."""
    import torch

    half = (head.stop - head.start) // 2
    frequencies = model.model.rotary_emb.inv_freq[:6]
    attention.q_proj.weight[head] = 0
    attention.k_proj.weight[head] = 0
    key = torch.zeros(2 * half)
    key[:6] = POSITION_SHARPNESS
    query = torch.zeros(2 * half)
    query[:6] = POSITION_SHARPNESS * torch.cos(frequencies * distance)
    query[half : half + 6] = -POSITION_SHARPNESS * torch.sin(frequencies * distance)
    attention.q_proj.bias[head] = query
    attention.k_proj.bias[head] = key
