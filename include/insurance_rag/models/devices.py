"""The device of this process, and its memory."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from typing import Literal

GIB = 2**30


@dataclass(frozen=True)
class Device:
    """A GPU, or the CPU, that a model runs on."""

    kind: Literal["cuda", "cpu"]
    name: str
    free_gib: float
    capability: tuple[int, int] = (0, 0)
    """Compute capability of the GPU, e.g. (9, 0)."""
    count: int = 1
    """Number of processes that train together, one device each."""


def find_device() -> Device:
    """Return the GPU of this process, or the CPU with its available memory."""
    import psutil
    import torch

    count = int(os.environ.get("WORLD_SIZE", "1"))
    if torch.cuda.is_available():
        index = local_rank()
        properties = torch.cuda.get_device_properties(index)
        free_gib = torch.cuda.mem_get_info(index)[0] / GIB
        return Device("cuda", properties.name, free_gib, (properties.major, properties.minor), count)
    # `available` counts the page cache as free, because the kernel gives it back on demand.
    return Device("cpu", "CPU", psutil.virtual_memory().available / GIB, count=count)


def device_map() -> dict[str, int | str]:
    """Return the `device_map` that puts a whole model on the device of this process."""
    import torch

    return {"": local_rank() if torch.cuda.is_available() else "cpu"}


def local_rank() -> int:
    """Return the number of this process among those of this machine; 0 without a distributed launcher."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def peak_memory_gib() -> float:
    """Return the peak of the GPU memory allocated by torch, or of this process's memory on a CPU, in GiB."""
    import torch

    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / GIB, 2)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
