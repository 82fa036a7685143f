"""GPU work as a command, as a local process or in a pod: the same argv, chosen by $GPU_BACKEND (local | kubernetes).

The job writes its result as JSON to $RESULT_JSON. A local job is a process of its own, so that the card is free
when it ends and a broken CUDA context dies with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from airflow.sdk import BaseOperator, Context

from insurance_rag.core.errors import GateRejectedError, IncompleteError, InvalidInputError, PipelineError
from insurance_rag.core.files import read_json
from insurance_rag.core.locks import held
from insurance_rag.orchestration.retries import RETRY_POLICY

#: Exit code of the command line -> error, so that the retry table judges a process as it judges a function.
ERROR_BY_EXIT_CODE = {2: InvalidInputError, 3: IncompleteError, 4: GateRejectedError}
LAST_LINES = 15


def gpu_job(task_id: str, jobs: Any, argv: Callable[[dict[str, Any]], list[str]], *, label: str, **kwargs: Any) -> Any:
    """One mapped task: `argv(job)` is run for every job of `jobs`; `label` is the Jinja name of an instance."""
    settings = {
        "task_id": task_id,
        "pool": "gpu",
        "map_index_template": label,
        "doc_md": argv.__doc__,
        "retries": 2,
        "retry_policy": RETRY_POLICY,
        **kwargs,
    }
    operator: type[BaseOperator] = LocalJobOperator
    if os.environ.get("GPU_BACKEND", "local") == "kubernetes":
        from insurance_rag.orchestration.pods import PodJobOperator

        operator = PodJobOperator
    return operator.partial(**settings).expand(arguments=jobs.map(argv))


class LocalJobOperator(BaseOperator):
    """Runs `python -m insurance_rag <arguments>` as a child process, its output streamed into the task's log.

    $GPU_PYTHON names another interpreter, e.g. of an environment with CUDA.
    """

    template_fields: Sequence[str] = ("arguments",)

    def __init__(self, *, arguments: list[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.arguments = arguments
        self._process: subprocess.Popen[str] | None = None

    def execute(self, context: Context) -> Any:
        command = [os.environ.get("GPU_PYTHON", sys.executable), "-m", "insurance_rag", *self.arguments]
        self.log.info("The same by hand: %s", shlex.join(command))
        with tempfile.TemporaryDirectory() as folder, acquire_gpu() as card:
            result = Path(folder) / "result.json"
            exit_code, last_lines = self._run(command, {**os.environ, **card, "RESULT_JSON": str(result)})
            if exit_code:
                error = ERROR_BY_EXIT_CODE.get(exit_code, PipelineError)
                raise error(f"{self.arguments[0]} exited with {exit_code}:\n" + "\n".join(last_lines))
            return read_json(result)

    def _run(self, command: list[str], env: dict[str, str]) -> tuple[int, list[str]]:
        last_lines: list[str] = []
        with subprocess.Popen(
            command,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=_end_with_this_process(),
        ) as self._process:
            assert self._process.stdout
            supervisor = os.getppid()
            for line in self._process.stdout:
                if os.getppid() != supervisor:  # killed: the next try shall not find this one at work
                    supervisor = os.getppid()  # once: a second signal would not wait for the checkpoint
                    self.on_kill()
                self.log.info("%s", line.rstrip())
                last_lines = [*last_lines[1 - LAST_LINES :], line.rstrip()]
        return self._process.returncode, last_lines

    def on_kill(self) -> None:
        """Airflow stops the task: the job gets SIGTERM, on which training saves a checkpoint."""
        if self._process and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)


@contextlib.contextmanager
def acquire_gpu() -> Iterator[dict[str, str]]:
    """Environment of a job that has one of $GPU_CARDS (e.g. "0,1") to itself; unset: it sees every card."""
    cards = [name.strip() for name in os.environ.get("GPU_CARDS", "").split(",") if name.strip()]
    with contextlib.ExitStack() as taken:
        card = next((name for name in cards if _take(name, taken)), None)
        if cards and card is None:
            raise IncompleteError(
                f"a job works on each of GPU_CARDS={','.join(cards)}; give the pool gpu as many slots"
            )
        yield {"CUDA_VISIBLE_DEVICES": card} if card else {}


def _take(card: str, taken: contextlib.ExitStack) -> bool:
    try:
        taken.enter_context(held(Path(tempfile.gettempdir()) / f"insurance-rag-gpu-{card}.lock", f"card {card}"))
    except IncompleteError:
        return False
    return True


def _end_with_this_process() -> Callable[[], object] | None:
    """For the child to call: it gets SIGTERM when its worker dies, even by SIGKILL.

    Else it would train on beside the next try. Linux alone can do that.
    """
    if sys.platform != "linux":
        return None
    prctl, set_death_signal = ctypes.CDLL(None).prctl, 1
    return lambda: prctl(set_death_signal, signal.SIGTERM)
