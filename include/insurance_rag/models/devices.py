"""Find the device that this process uses, and measure its memory."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from typing import Literal

GIB = 2**30


@dataclass(frozen=True)
class Device:
    """The GPU or CPU that this process runs models on."""

    kind: Literal["cuda", "cpu"]
    name: str
    free_gib: float
    capability: tuple[int, int] = (0, 0)
    """CUDA compute capability, e.g. (9, 0); (0, 0) for a CPU."""
    count: int = 1
    """Number of processes that train together, one per device."""


def find_device() -> Device:
    """Return this process's GPU, or the CPU if no GPU is visible."""
    import psutil
    import torch

    count = int(os.environ.get("WORLD_SIZE", "1"))
    if torch.cuda.is_available():
        index = local_rank()
        properties = torch.cuda.get_device_properties(index)
        free_gib = torch.cuda.mem_get_info(index)[0] / GIB
        return Device("cuda", properties.name, free_gib, (properties.major, properties.minor), count)
    # `available` includes the page cache, which the kernel frees on demand.
    return Device("cpu", "CPU", psutil.virtual_memory().available / GIB, count=count)


def device_map() -> dict[str, int | str]:
    """Return the `device_map` that puts a whole model on this process's device."""
    import torch

    return {"": local_rank() if torch.cuda.is_available() else "cpu"}


def local_rank() -> int:
    """Return the index of this process among those that a launcher started on this machine; 0 without a launcher."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def peak_memory_gib() -> float:
    """Return the peak memory in GiB. On a GPU, this is the memory allocated by torch; on a CPU, that of the process."""
    import torch

    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / GIB, 2)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
