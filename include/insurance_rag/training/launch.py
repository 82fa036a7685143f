"""Start one training process per GPU with torch's launcher."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from insurance_rag.core.errors import InterruptedRunError, InvalidInputError


def is_launched() -> bool:
    """Return whether this process was started by `launch`, torchrun or `accelerate launch`."""
    return "RANK" in os.environ


def check_gpu_count(wanted: int) -> None:
    """Raise InvalidInputError if fewer than `wanted` GPUs are visible."""
    import torch

    visible = torch.cuda.device_count()
    if wanted > visible:
        raise InvalidInputError(
            f"gpus={wanted}, but {visible} GPUs are visible; check `nvidia-smi`, CUDA_VISIBLE_DEVICES and GPU_DEVICES"
        )


def launch(processes: int, argv: Sequence[str]) -> int:
    """Run `python -m insurance_rag <argv>` in `processes` parallel processes.

    Returns the exit code of the first process that failed, or 0 if none failed. SIGTERM and SIGINT are forwarded to
    all processes. The processes then have 30 seconds to save a checkpoint. Raises InterruptedRunError after SIGTERM or
    SIGINT.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # Without this limit, each process would start one thread per core.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",  # port 0: use any free port
        max_restarts=0,  # the caller decides whether to run the command again; a second run resumes
    )
    try:
        elastic_launch(config, sys.executable)("-m", "insurance_rag", *argv)
    except ChildFailedError as e:
        return int(e.get_first_failure()[1].exitcode)
    except SignalException as e:
        raise InterruptedRunError(
            f"interrupted by {e.sigval.name}; run the same command to resume from the last checkpoint"
        ) from None
    return 0


def destroy_process_group() -> None:
    """Wait for all processes, then close the connections between them. NCCL requires this before a process exits."""
    import torch

    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
