"""Initial weights that can already copy: an induction circuit, written into the first two layers.

Transformers learn this circuit by themselves, but only after millions of tokens, and the demo trains for one minute.
Training starts from the circuit and may change it. The initialisation follows the idea of mimetic initialisation
(Trockman and Kolter, arXiv 2305.09828); the circuit is the one of Olsson et al. (arXiv 2209.11895):

- Layer 0: two heads look one and two tokens back and record which token is there.
- Layer 1: one head finds the position whose recorded tokens are the current token and the one before it, and copies the
  token of that position.

The hidden state has three equal parts: the token, the token before it, and the token before that. The model needs three
attention heads and attention biases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn
    from transformers import LlamaForCausalLM

#: Attention heads of every layer.
HEADS = 3
#: Scale of queries and keys of the heads that look back by position.
POSITION_SHARPNESS = 6.5
#: Scale of queries and keys of the head that compares tokens.
MATCH_SHARPNESS = 3.0
#: Scale with which the copied token is written to the output.
WRITE_SCALE = 1.5


def write_induction_circuit(model: LlamaForCausalLM) -> None:
    """Overwrite the embeddings and parts of the attention of layers 0 and 1 of a new Llama model.

    Raises ValueError if the model does not have HEADS heads and at least two layers.
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
        # These dimensions of the head rotate slowly, so that a match counts the same at any distance.
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
    """Make one head attend `distance` tokens back.

    Its query and key are constant biases. Rotary position embedding turns them by an angle that depends on the
    position, and the query is turned in advance so that it fits the key `distance` tokens before.
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
