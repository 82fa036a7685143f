"""One process a card, by torch's own launcher."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from insurance_rag.core.errors import InterruptedRunError, InvalidInputError


def is_launched() -> bool:
    """Whether this process is one of several, by this launcher, torchrun or `accelerate launch`."""
    return "RANK" in os.environ


def check_cards(wanted: int) -> None:
    import torch

    if wanted > (seen := torch.cuda.device_count()):
        raise InvalidInputError(
            f"gpus={wanted}, but {seen} can be seen; check `nvidia-smi`, CUDA_VISIBLE_DEVICES, GPU_CARDS"
        )


def launch(processes: int, argv: Sequence[str]) -> int:
    """Run `python -m insurance_rag <argv>` in that many processes; the exit code of the first that failed, else 0.

    SIGTERM and SIGINT reach all of them; they have 30 seconds to save a checkpoint. Raises InterruptedRunError then.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # Each process would take all cores: torchrun, too, gives them one thread where nothing is said.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",  # a free port
        max_restarts=0,  # the command resumes, so whoever called it decides
    )
    try:
        elastic_launch(config, sys.executable)("-m", "insurance_rag", *argv)
    except ChildFailedError as e:
        return int(e.get_first_failure()[1].exitcode)
    except SignalException as e:
        raise InterruptedRunError(
            f"stopped by {e.sigval.name}; the same command goes on from the last checkpoint"
        ) from None
    return 0


def destroy_process_group() -> None:
    """End what joins the processes, as NCCL wants it before they end."""
    import torch

    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
