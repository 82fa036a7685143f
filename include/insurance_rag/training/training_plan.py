"""The memory plan of a training run, with the settings that only matter while it runs."""

from __future__ import annotations

from typing import Literal, TypeAlias

from insurance_rag.config import TrainingConfig
from insurance_rag.core.records import MemoryPlan

Compute: TypeAlias = Literal["dequantize", "cached", "fp8"]
"""How a base model in NF4 is multiplied; `TrainingConfig.compute` documents the values."""


class TrainingPlan(MemoryPlan):
    """A memory plan with the settings that only matter while the training runs."""

    compute: Compute = "dequantize"
    torch_compile: bool = False
    offload_activations: bool = False
    host_embeddings: bool = False

    def __str__(self) -> str:
        extras = {
            "compiled": self.torch_compile,
            f"compute {self.compute}": self.compute != "dequantize",
            "activations in host memory": self.offload_activations,
            "embeddings in host memory": self.host_embeddings,
        }
        return ", ".join([super().__str__(), *(text for text, used in extras.items() if used)])


def replaces_layers(config: TrainingConfig) -> bool:
    """Return whether the linear layers and the calls of the decoder layers are replaced by those of this package.

    FSDP shards the layers as they are. The reference design's preparation gives activations another dtype.
    """
    return not config.fsdp and not config.prepare_for_kbit_training
