"""The mapped task that generates the QA pairs of one shard, with single requests or in Gemini's batch mode."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowRuntimeError
from pydantic import JsonValue

from insurance_rag.config import GenerationConfig
from insurance_rag.core.artifact_store.locations import local_value
from insurance_rag.core.errors import IncompleteError, KeyRejectedError, QuotaExhaustedError
from insurance_rag.core.records import ApiKey, ProgressState
from insurance_rag.core.records.generation import BatchHandle, PartArtifact
from insurance_rag.core.records.run import ShardArtifact
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.orchestration.artifact_parts import CHECKPOINTS, LATER_STAGES, run_artifacts
from insurance_rag.orchestration.commands import log_command
from insurance_rag.orchestration.operation_metrics import UsageMetrics
from insurance_rag.orchestration.result_reports import ReportsResult
from insurance_rag.orchestration.run_inputs import open_run
from insurance_rag.orchestration.task_errors import message_only
from insurance_rag.orchestration.xcom import dump

if TYPE_CHECKING:
    from insurance_rag.generation.repair import PairCheck

LABEL_NOTE = "label_note"
"""Variable in the task's context with the end of the task's label. Airflow renders the label again after execution."""


class GenerateOperator(ReportsResult, BaseOperator):
    """Asks the teacher for the QA pairs of one shard. Answers that are in the journal are not requested again.

    In batch mode the task submits a batch, frees its worker slot, and wakes up every `batch_poll_s` seconds to ask
    whether the batch is done. The API key never enters the triggerer. Chunks that the batch leaves unanswered are
    requested one at a time.
    """

    template_fields: Sequence[str] = ("shard",)

    def __init__(self, *, shard: Mapping[str, JsonValue], **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.shard = shard

    @message_only
    def execute(self, context: Context) -> JsonValue:
        """Request the QA pairs, or submit a batch and defer. Return the artifact that describes the part file."""
        from insurance_rag.generation.batch import submit_batch

        with self._artifacts():
            folder, key, config = self._inputs()
            if config.batch and (handle := submit_batch(folder, self._shard.shard, key, config)):
                self._wait(config, handle)
            return self._generate(context)

    @message_only
    def resume_batch(self, context: Context, handle: dict[str, JsonValue], event: object = None) -> JsonValue:
        """Defer again if the batch is still running. Otherwise, fetch its answers."""
        with self._artifacts():
            return self._resume_batch(context, handle)

    def _resume_batch(self, context: Context, handle: dict[str, JsonValue]) -> JsonValue:
        from insurance_rag.generation.batch import fetch_batch, poll_batch

        folder, key, config = self._inputs()
        submitted = BatchHandle.model_validate(handle)
        if not poll_batch(submitted, key, config):
            self._wait(config, submitted)
        try:
            part = fetch_batch(folder, submitted, key, config, self._pair_check(), UsageMetrics(self.dag_id))
        except IncompleteError as e:
            self.log.info("%s; the missing chunks are requested one at a time", e)
            return self._generate(context)
        return self._finish(context, part)

    @property
    def _shard(self) -> ShardArtifact:
        return ShardArtifact.model_validate(local_value(dict(self.shard)))

    def _artifacts(self) -> AbstractContextManager[None]:
        """Fetch what generation needs of the run, and publish it at the end."""
        return run_artifacts(RunFolder(Path(self._shard.run)), without=(*CHECKPOINTS, *LATER_STAGES), named=False)

    def _generate(self, context: Context) -> JsonValue:
        from insurance_rag.generation import generate_shard

        folder, key, config = self._inputs()
        number = self._shard.shard
        server = ["--base-url", config.base_url] if config.base_url else []
        log_command("generate", "--run", str(folder.root), "--shard", str(number), *server)
        store = context.get("task_state_store")

        def show(progress: ProgressState) -> None:
            if store is not None:
                with contextlib.suppress(AirflowRuntimeError):  # a failed progress update must not stop the work
                    store.set("progress", progress.model_dump(mode="json"))

        try:
            part = generate_shard(
                folder,
                number,
                key,
                config,
                on_update=show,
                pair_check=self._pair_check(),
                on_usage=UsageMetrics(self.dag_id),
            )
        except (KeyRejectedError, QuotaExhaustedError):
            _add_to_label(context, _open_chunks(folder, self._shard.label, config))
            raise
        return self._finish(context, part)

    def _finish(self, context: Context, part: PartArtifact) -> JsonValue:
        """Add to the task's label how many chunks moved between keys, and return the part as plain JSON."""
        self.report_result(part)
        moved = sum(part.moved.values())
        notes = [f"{_count_chunks(moved)} by other keys"] if moved else []
        notes += [f"helped with {part.helped}"] if part.helped else []
        _add_to_label(context, *notes)
        return dump(part)

    def _pair_check(self) -> PairCheck:
        from insurance_rag.validation.pair_check import run_pair_check

        run, config = open_run(self._shard)
        return run_pair_check(run, config.validation)

    def _inputs(self) -> tuple[RunFolder, ApiKey, GenerationConfig]:
        """Return the run folder, the API key and the settings, with the connection's base URL if they have none."""
        from insurance_rag.orchestration.gemini_hook import GeminiHook

        folder, config = open_run(self._shard)
        key, url = GeminiHook(self._shard.key_id).get_conn()
        generation = config.generation
        return folder, key, generation.model_copy(update={"base_url": generation.base_url or url})

    def _wait(self, config: GenerationConfig, handle: BatchHandle) -> None:
        """Defer the task for `batch_poll_s` seconds, which frees its worker slot."""
        self.log.info(
            "a batch of %s chunks is running; next status request in %s s", handle.chunks, config.batch_poll_s
        )
        self.defer(
            trigger=TimeDeltaTrigger(timedelta(seconds=config.batch_poll_s)),
            method_name="resume_batch",
            kwargs={"handle": dump(handle)},
        )


def _add_to_label(context: Context, *notes: str) -> None:
    """Append notes to the label that the task will have when it ends (see `settings.GENERATE`)."""
    cast(dict[str, object], context)[LABEL_NOTE] = "".join(f" · {note}" for note in notes if note)


def _open_chunks(run: RunFolder, label: str, config: GenerationConfig) -> str:
    """Return how many chunks a shard leaves unanswered because its key is dead; empty if there are none."""
    from insurance_rag.generation import missing_chunks

    n = len(missing_chunks(run).get(label, []))
    if not n:
        return ""
    return f"{_count_chunks(n)} left to other keys" if config.redistribute else f"{_count_chunks(n)} missing"


def _count_chunks(n: int) -> str:
    return "1 chunk" if n == 1 else f"{n} chunks"
