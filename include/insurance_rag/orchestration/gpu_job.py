"""Runs GPU work as a command line, in a local process (GPU_BACKEND=local) or in a pod (GPU_BACKEND=kubernetes).

The command writes its result as JSON to the file $RESULT_JSON. A local job runs in a separate process, so that its GPU
memory is freed when the job ends and a broken CUDA context cannot affect the next job.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from airflow.sdk import BaseOperator, Context, XComArg
from pydantic import BaseModel, JsonValue

from insurance_rag.core.errors import IncompleteError, PipelineError
from insurance_rag.core.files import read_json
from insurance_rag.core.locks import hold_lock
from insurance_rag.orchestration.commands import log_command
from insurance_rag.orchestration.result_reports import ReportsJob
from insurance_rag.orchestration.retries import ERROR_BY_EXIT_CODE, RETRY_POLICY
from insurance_rag.orchestration.settings import queue_of
from insurance_rag.orchestration.task_errors import message_only
from insurance_rag.orchestration.xcom import with_records

LAST_LINES = 15
"""Number of output lines that the error message for a failed job quotes."""

J = TypeVar("J", bound=BaseModel)


def gpu_job(task_id: str, jobs: XComArg, argv: Callable[[J], list[str]], *, label: str, **settings: object) -> XComArg:
    """Add a mapped task that runs the command line `argv(job)` for each job in `jobs`. Return the XCom of its results.

    `label` is the Jinja template for the name of each task instance in the UI. $GPU_QUEUE names the Celery queue of the
    workers with GPUs.
    """
    arguments: dict[str, object] = {
        "task_id": task_id,
        "pool": "gpu",
        "map_index_template": label,
        "doc_md": argv.__doc__,
        "retries": 2,
        "retry_policy": RETRY_POLICY,
        **queue_of("GPU_QUEUE"),
        **settings,
    }
    return _operator().partial(**arguments).expand(arguments=jobs.map(with_records(argv))).output


def _operator() -> type[BaseOperator]:
    if os.environ.get("GPU_BACKEND", "local") != "kubernetes":
        return LocalJobOperator
    # Imported only if needed: KubernetesPodOperator adds two seconds to the parsing of every DAG file.
    from insurance_rag.orchestration.pod_operator import PodJobOperator

    return PodJobOperator


class LocalJobOperator(ReportsJob, BaseOperator):
    """Runs `python -m insurance_rag <arguments>` as a child process and streams the output into the task's log.

    $GPU_PYTHON selects another Python interpreter, e.g. the one in an environment with CUDA.
    """

    template_fields: Sequence[str] = ("arguments",)

    def __init__(self, *, arguments: list[str], **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.arguments = arguments
        self._process: subprocess.Popen[str] | None = None

    @message_only
    def execute(self, context: Context) -> JsonValue:
        """Run the command and return its result. If the command fails, its exit code determines the error class."""
        python = os.environ.get("GPU_PYTHON", sys.executable)
        log_command(*self.arguments, python=python)
        with tempfile.TemporaryDirectory() as folder, acquire_gpu() as gpu:
            result = Path(folder) / "result.json"
            command = [python, "-m", "insurance_rag", *self.arguments]
            with self.counted_gpu_time():
                exit_code, last_lines = self._run(command, {**os.environ, **gpu, "RESULT_JSON": str(result)})
            if exit_code:
                error = ERROR_BY_EXIT_CODE.get(exit_code, PipelineError)
                raise error(f"{self.arguments[0]} exited with {exit_code}:\n" + "\n".join(last_lines))
            value: JsonValue = read_json(result)
        self.report_job(value)
        return value

    def _run(self, command: list[str], env: dict[str, str]) -> tuple[int, list[str]]:
        """Run `command` and return its exit code and the last lines of its output."""
        last_lines: list[str] = []
        with subprocess.Popen(
            command,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=_stop_with_parent(),
        ) as self._process:
            assert self._process.stdout
            supervisor = os.getppid()
            for line in self._process.stdout:
                # If Airflow's supervisor process was killed, stop the job before the next try starts another one.
                if os.getppid() != supervisor:
                    supervisor = os.getppid()  # enter this branch once: a second signal would interrupt the checkpoint
                    self.on_kill()
                self.log.info("%s", line.rstrip())
                last_lines = [*last_lines[1 - LAST_LINES :], line.rstrip()]
        return self._process.returncode, last_lines

    def on_kill(self) -> None:
        """Send SIGTERM to the job's process group. A training job then saves a checkpoint and ends."""
        if self._process and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)


@contextlib.contextmanager
def acquire_gpu() -> Iterator[dict[str, str]]:
    """Reserve one of the GPUs in $GPU_DEVICES (e.g. "0,1") and yield the environment variables that select it.

    If $GPU_DEVICES is not set, yield no variables, so that the job sees every GPU. Raises IncompleteError if every GPU
    in the list is in use.
    """
    gpus = [name.strip() for name in os.environ.get("GPU_DEVICES", "").split(",") if name.strip()]
    with contextlib.ExitStack() as locks:
        gpu = next((name for name in gpus if _lock(name, locks)), None)
        if gpus and gpu is None:
            raise IncompleteError(
                f"every GPU of GPU_DEVICES={','.join(gpus)} is in use; set the slots of the pool `gpu` to {len(gpus)}"
            )
        yield {"CUDA_VISIBLE_DEVICES": gpu} if gpu else {}


def _lock(gpu: str, locks: contextlib.ExitStack) -> bool:
    """Lock a GPU until `locks` is closed. Return False if another job holds the lock."""
    try:
        locks.enter_context(hold_lock(Path(tempfile.gettempdir()) / f"insurance-rag-gpu-{gpu}.lock", f"GPU {gpu}"))
    except IncompleteError:
        return False
    return True


def _stop_with_parent() -> Callable[[], object] | None:
    """Return a function that makes the process that calls it receive SIGTERM when its parent process dies.

    A job calls this function before it starts. Otherwise, if Airflow's task process were killed by SIGKILL, the job
    would still run during the next try of the task. Returns None on systems other than Linux, because only Linux can
    send this signal.
    """
    if sys.platform != "linux":
        return None
    prctl, set_death_signal = ctypes.CDLL(None).prctl, 1
    return lambda: prctl(set_death_signal, signal.SIGTERM)
