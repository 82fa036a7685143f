"""The mapped task that asks for one shard: at once, or in Gemini's batch mode, which waits without a worker slot."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowRuntimeError

from insurance_rag.config import GenerationConfig
from insurance_rag.core.errors import IncompleteError
from insurance_rag.core.records import ApiKey, ProgressState
from insurance_rag.orchestration.tasks import log_command, open_run

if TYPE_CHECKING:
    from insurance_rag.generation.repair import Judge


class GenerateOperator(BaseOperator):
    """Ask the teacher for the pairs of one shard; answers that the journal holds are not asked for again.

    In batch mode the task submits, then wakes up every `batch_poll_s` for one short look (the key never enters the
    triggerer), and asks in the ordinary way for what the batch left open.
    """

    template_fields: Sequence[str] = ("shard",)

    def __init__(self, *, shard: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shard = shard

    def execute(self, context: Context) -> dict[str, Any]:
        from insurance_rag.generation.batch import submit_batch

        folder, key, config = self._inputs()
        if config.batch and (handle := submit_batch(folder, self.shard["shard"], key, config)):
            self._wait(config, handle)
        return self._ask(context)

    def look(self, context: Context, handle: dict[str, Any], event: Any = None) -> dict[str, Any]:
        """One look at the batch: wait on, or take its answers."""
        from insurance_rag.generation.batch import fetch_batch, poll_batch

        folder, key, config = self._inputs()
        if not poll_batch(handle, key, config):
            self._wait(config, handle)
        try:
            return fetch_batch(folder, handle, key, config, self._judge())
        except IncompleteError as e:
            self.log.info("%s; asking for the rest one by one", e)
            return self._ask(context)

    def _ask(self, context: Context) -> dict[str, Any]:
        from insurance_rag.generation import generate_shard

        folder, key, config = self._inputs()
        number = str(self.shard["shard"])
        server = ["--base-url", config.base_url] if config.base_url else []
        log_command("generate", "--run", str(folder.root), "--shard", number, *server)
        store = context.get("task_state_store")

        def show(progress: ProgressState) -> None:
            if store is not None:
                with contextlib.suppress(AirflowRuntimeError):  # it is shown, and no more than that
                    store.set("progress", progress.model_dump())

        return generate_shard(folder, self.shard["shard"], key, config, on_update=show, judge=self._judge())

    def _judge(self) -> Judge:
        from insurance_rag.validation.pair_check import row_judge

        return row_judge(open_run(self.shard)[1].validation)

    def _inputs(self) -> tuple[Any, ApiKey, GenerationConfig]:
        from insurance_rag.orchestration.gemini_hook import GeminiHook

        folder, config = open_run(self.shard)
        key, url = GeminiHook(self.shard["key_id"]).get_conn()
        generation = config.generation
        return folder, key, generation.model_copy(update={"base_url": generation.base_url or url})

    def _wait(self, config: GenerationConfig, handle: dict[str, Any]) -> None:
        self.log.info("batch of %s clauses handed in; next look in %s s", handle["chunks"], config.batch_poll_s)
        self.defer(
            trigger=TimeDeltaTrigger(timedelta(seconds=config.batch_poll_s)),
            method_name="look",
            kwargs={"handle": handle},
        )
