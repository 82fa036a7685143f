"""Replace the layers of a model by faster ones with the same results, as the training plan says.

This module imports torch at import time, so import it inside the function that trains.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.nn.parallel import DistributedDataParallel

from insurance_rag.training.frozen_linear import is_frozen_tensor, use_frozen_linear
from insurance_rag.training.layer_calls import decoder_layers, use_layer_calls
from insurance_rag.training.offload import LayerInputOffload, embeddings_can_move, move_embeddings_to_host
from insurance_rag.training.training_plan import TrainingPlan

if TYPE_CHECKING:
    from peft import PeftModel

log = logging.getLogger(__name__)

CACHE = Path("~/.cache/insurance-rag/compiled")
"""Folder of compiled code, unless TORCHINDUCTOR_CACHE_DIR names one."""


def use_fast_layers(peft_model: PeftModel, plan: TrainingPlan) -> Callable[[], None] | None:
    """Replace the layers of the base model. Return a function that stops compiling, or None if nothing is compiled.

    A model whose layers are unknown trains with fewer changes; one warning says which are missing.
    """
    model = peft_model.get_base_model()
    use_frozen_linear(model, plan.compute, torch.bfloat16 if plan.compute_dtype == "bf16" else torch.float32)
    # With several processes, the frozen weights would be sent to all of them before every forward pass.
    frozen = [name for name, _ in peft_model.named_buffers() if is_frozen_tensor(name)]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(peft_model, frozen)
    if plan.host_embeddings and embeddings_can_move(model):
        move_embeddings_to_host(model)
    if not plan.torch_compile and not plan.offload_activations:
        return None
    layers = decoder_layers(model)
    if layers is None:
        log.warning(
            "%s has no list of equal layers, so torch_compile and offload_activations have no effect: training is "
            "slower, or needs %d bytes more per token and layer",
            type(model).__name__,
            2 * model.config.get_text_config().hidden_size,
        )
        return None
    offload = LayerInputOffload() if plan.offload_activations else None
    use_layer_calls(layers, compiled=plan.torch_compile, offload=offload)
    if not plan.torch_compile:
        return None
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(CACHE.expanduser()))
    model.enable_input_require_grads()  # else the first layer would need a graph of its own
    return lambda: use_layer_calls(layers, compiled=False, offload=offload)
