"""Initial weights that can already copy text: an induction circuit in the first two layers of the model.

Transformers learn such a circuit by themselves, but only after millions of tokens, and the demo trains for just one
minute. Training starts from the circuit and can change it. The approach is inspired by mimetic initialization
(Trockman and Kolter, arXiv 2305.09828). The circuit was described by Olsson et al. (arXiv 2209.11895):

- Layer 0: at each position, one head stores the previous token. Another head stores the token before that.
- Layer 1: one head searches the earlier text for the last two tokens. It copies the token that follows this earlier
  occurrence.

The hidden state has three sections of equal size. They hold the current token, the previous token, and the token before
that. The model needs three attention heads and attention biases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn
    from transformers import LlamaForCausalLM

#: Number of attention heads per layer.
HEADS = 3
#: Scale of the queries and keys in the position heads (two heads of layer 0, which attend to a fixed distance).
POSITION_SHARPNESS = 6.5
#: Scale of the queries and keys in the matching head (one head of layer 1, which compares tokens).
MATCH_SHARPNESS = 3.0
#: Factor by which the matching head scales the token that it copies.
WRITE_SCALE = 1.5


def write_induction_circuit(model: LlamaForCausalLM) -> None:
    """Write the circuit into a new Llama model by setting the embeddings and the attention weights of layers 0 and 1.

    Raises ValueError if the model does not have HEADS heads or has fewer than two layers.
    """
    import torch

    width = model.config.hidden_size // HEADS
    if model.config.num_attention_heads != HEADS or model.config.num_hidden_layers < 2:
        raise ValueError(
            f"the induction circuit needs {HEADS} attention heads and at least 2 layers; the model has "
            f"{model.config.num_attention_heads} heads and {model.config.num_hidden_layers} layers"
        )
    token, before, second = (slice(i * width, (i + 1) * width) for i in range(3))
    identity = torch.eye(width)
    with torch.no_grad():
        embeddings = model.model.embed_tokens.weight
        embeddings.normal_(0, width**-0.5)
        embeddings[:, width:] = 0
        look_back, match = model.model.layers[0].self_attn, model.model.layers[1].self_attn
        for head, distance in ((token, 1), (before, 2)):
            _attend_back(look_back, head, distance, model)
        for head, target in ((token, before), (before, second)):
            look_back.v_proj.weight[head] = 0
            look_back.v_proj.weight[head, token] = identity
            look_back.o_proj.weight[:, head] = 0
            look_back.o_proj.weight[target, head] = 0.5 * identity
        # The position embedding rotates these dimensions slowly. The score of a match therefore depends little on its
        # distance.
        slow = [i for half in (0, width // 2) for i in range(half + width // 4, half + width // 2)]
        code = torch.linalg.qr(torch.randn(width, width))[0][: width // 4] * MATCH_SHARPNESS
        for projection, older in ((match.q_proj, (token, before)), (match.k_proj, (before, second))):
            projection.weight[token] = 0
            for dimensions, source in zip((slow[::2], slow[1::2]), older, strict=True):
                projection.weight[dimensions, source] = code
        match.v_proj.weight[token] = 0
        match.v_proj.weight[token, token] = identity
        match.o_proj.weight[:, token] = 0
        match.o_proj.weight[token, token] = WRITE_SCALE * identity


def _attend_back(attention: nn.Module, head: slice, distance: int, model: LlamaForCausalLM) -> None:
    """Make one head attend to the position that is `distance` tokens back.

    The head's query and key are constant biases. Rotary position embedding rotates both by an angle that depends on the
    position. The query bias therefore gets an additional rotation: it makes the query match the key `distance` tokens
    back.
    """
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
