"""One shard: ask for what the journal lacks, at the pace of the quota, until nothing is missing or the key is dead.

Every answer is on disk before the next step, so a kill at any line costs the calls in flight and nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Any

import tenacity

from insurance_rag.config import GenerationConfig
from insurance_rag.core.errors import (
    BlockedAnswerError,
    IncompleteError,
    InvalidAnswerError,
    InvalidInputError,
    KeyRejectedError,
    PipelineError,
    QuotaExhaustedError,
    ServerUnavailableError,
)
from insurance_rag.core.locks import held
from insurance_rag.core.progress import Progress
from insurance_rag.core.records import ApiKey, Chunk, ProgressState, Shard
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.generation.journaling import record_answer, record_quarantine, record_repair
from insurance_rag.generation.parts import finish_part, write_part
from insurance_rag.generation.repair import Judge, correction_of, find_faults
from insurance_rag.generation.teachers.base import (
    Correction,
    ProjectRejectedError,
    Refusal,
    Reply,
    Teacher,
    make_teacher,
)
from insurance_rag.generation.usage import budget_guard, summarize_shard_usage, write_usage
from insurance_rag.llm.client import InvalidRequestError
from insurance_rag.planning.generation_journal import GenerationJournal
from insurance_rag.planning.plan import Plan, read_plan
from insurance_rag.planning.prompt_spec import PromptSpec
from insurance_rag.planning.work_items import WorkItem, check_input, read_chunk, read_work_items
from insurance_rag.rate_limit.limiter import Limiter, retry_wait_s

OnUpdate = Callable[[ProgressState], None]
SECOND_ROUNDS = 2  # a clause that alone meets a failing server goes to the end of the queue so often
DOUBTS = 5  # clauses in a row without an answer that can be used, before one had any
DOUBTS_IF_PROVEN = 10  # the same, later: a balance that ran out, a server restarted with other settings
OUTAGE_WINDOWS = 3  # a server that answers nothing for so long is down


def generate_shard(
    run: RunFolder,
    shard: Shard | int,
    key: ApiKey,
    config: GenerationConfig | None = None,
    on_update: OnUpdate | None = None,
    judge: Judge | None = None,
) -> dict[str, Any]:
    """Answer one shard; the same call resumes. Returns its part: {uri, sha256, rows, shard, label, chunks, calls ...}.

    Pairs that `judge` finds fault with are asked for once more (`config.repair`), behind all first answers. Clauses that
    could not be asked again, for the quota or the budget, are counted as `pending_repairs` and do not hold the shard up.
    Raises KeyRejectedError, QuotaExhaustedError, BudgetExceededError or IncompleteError when it has to end before it is complete (what is
    answered is kept), InvalidInputError where the input or the settings are at fault.
    """
    plan = read_plan(run)
    number = shard if isinstance(shard, int) else shard.shard
    check_input(run, plan)
    run.create()
    chosen, config = plan.shard(number), config or plan.config
    jobs = list(read_work_items(run, PromptSpec.from_config(config), set(chosen.chunk_ids)))
    return asyncio.run(work(run, plan, chosen, jobs, key, config, on_update, judge))


async def work(
    run: RunFolder,
    plan: Plan,
    shard: Shard,
    jobs: list[WorkItem],
    key: ApiKey,
    config: GenerationConfig,
    on_update: OnUpdate | None = None,
    judge: Judge | None = None,
) -> dict[str, Any]:
    """`generate_shard` for a plan that is read and checked, and jobs that are read."""
    with (
        held(run.lock(shard.shard), shard.label),
        GenerationJournal(run.journal, shard.shard) as ledger,
        closing(Limiter(run.rate_limit_log, shard, key, config, budget_guard(config))) as limiter,
    ):
        done = sum(job.cache_key in ledger for job in jobs)
        teacher = make_teacher(config, key)
        try:
            with Progress(
                "generate",
                shard.label,
                total=len(jobs),
                done=done,
                unit="chunks",
                folder=run.progress,
                on_update=on_update,
            ) as progress:
                worker = Worker(run, shard, config, jobs, ledger, limiter, teacher, progress, judge)
                await worker.run()
                write_usage(run, plan, limiter.pace, config)
                worker.check_complete()
        finally:
            await teacher.close()
        return finish_part(run, plan, shard, jobs, ledger, **summarize_shard_usage(limiter.pace, shard.shard, config))


class Worker:
    """Fixed coroutines over one queue; the limiter decides how many of them have a call in flight."""

    def __init__(
        self,
        run: RunFolder,
        shard: Shard,
        config: GenerationConfig,
        jobs: list[WorkItem],
        ledger: GenerationJournal,
        limiter: Limiter,
        teacher: Teacher,
        progress: Progress,
        judge: Judge | None = None,
    ) -> None:
        self._run, self._shard, self._config, self._content = run, shard, config, PromptSpec.from_config(config)
        self._jobs, self._ledger, self._limiter = jobs, ledger, limiter
        self._teacher, self._progress = teacher, progress
        # Two chunks of the same content are one job.
        self._once = {job.cache_key: job for job in jobs}.values()
        self._queue = deque(job for job in self._once if job.cache_key not in ledger)
        self._judge = judge if config.repair and config.teacher != "local" else None
        self._rounds: Counter[str] = Counter()
        self._unsaved = 0
        self._saving = asyncio.Lock()
        self._succeeded_at = time.monotonic()  # or begun
        self._set_aside = 0
        self._doubted: list[tuple[WorkItem, InvalidRequestError | InvalidAnswerError]] = []
        self._proven = any(job.cache_key in ledger and not ledger.is_quarantined(job.cache_key) for job in jobs)

    async def run(self) -> None:
        """Work the queue down; what stops the shard is kept in the limiter, so that no further call goes out."""
        await asyncio.sleep(0)  # shards of one process are all set up before the first call goes out
        await self._work_down(self._answer)
        await self._set_doubted_aside()
        if self._judge:  # now that no clause waits for its first answer
            self._queue.extend(job for job in self._once if self._ledger.is_repairable(job.cache_key))
            await self._work_down(self._repair)
        self._progress.note(**self._figures())
        if self._unsaved:
            await self._save_part()

    def check_complete(self) -> None:
        """Raise why the shard ended early, if it did."""
        missing = [job.chunk_id for job in self._jobs if job.cache_key not in self._ledger]
        if not missing:
            return
        stop = self._limiter.stopped
        if stop is None:
            stop = IncompleteError("the server kept failing")
        where = (
            f"{self._shard.label}: {len(missing)} of {len(self._jobs)} chunks missing, e.g. {', '.join(missing[:3])}"
        )
        stop.args = (f"{where}: {stop}",)
        raise stop

    async def _work_down(self, step: Callable[[WorkItem], Awaitable[None]]) -> None:
        workers = min(self._config.max_in_flight, len(self._queue))
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._work(step))

    async def _work(self, step: Callable[[WorkItem], Awaitable[None]]) -> None:
        while self._queue and not self._limiter.stopped:
            job = self._queue.popleft()
            try:
                await step(job)
            except (IncompleteError, InvalidInputError) as e:
                self._limiter.stopped = self._limiter.stopped or e

    async def _answer(self, job: WorkItem) -> None:
        began = time.monotonic()
        chunk = read_chunk(self._run, job)
        try:
            reply = await self._ask(chunk)
        except (InvalidRequestError, InvalidAnswerError) as e:
            self._doubt(job, e)
            return
        except BlockedAnswerError as e:
            record_quarantine(self._ledger, job, e)
            self._set_aside += 1
        except ServerUnavailableError as e:
            self._later(job, e, began)
            return
        else:
            self._succeeded_at = time.monotonic()
            self._proven = True
            await self._set_doubted_aside()
            faults = find_faults(self._judge, chunk, reply.pairs, self._content) if self._judge else []
            record_answer(self._ledger, job, reply, self._content, self._shard.key_id, faults)
        await self._settled()

    async def _repair(self, job: WorkItem) -> None:
        """Ask once more for the faulty pairs of an answer; both answers stay."""
        began = time.monotonic()
        correction = correction_of(self._ledger.answer(job.cache_key), self._content)
        outcome: Reply | PipelineError
        try:
            outcome = await self._ask(read_chunk(self._run, job), correction)
        except (BlockedAnswerError, InvalidAnswerError) as e:
            outcome = e
        except ServerUnavailableError as e:
            self._later(job, e, began)
            return
        else:
            self._succeeded_at = time.monotonic()
        record_repair(self._ledger, job, outcome, self._shard.key_id)
        await self._settled(clauses=0)

    async def _settled(self, clauses: int = 1) -> None:
        """One more answer is there: on disk first, then counted."""
        await asyncio.to_thread(self._ledger.sync)
        self._progress.note(**self._figures())
        self._progress.advance(clauses)
        self._unsaved += 1
        # From the 100th chunk on a part is rewritten when a tenth has come anew, or writing it would grow quadratic.
        if self._unsaved >= max(self._config.save_every, self._progress.done // 10):
            await self._save_part()

    async def _save_part(self) -> None:
        self._unsaved = 0
        async with self._saving:
            await asyncio.to_thread(write_part, self._run, self._shard, self._jobs, self._ledger)

    def _doubt(self, job: WorkItem, error: InvalidRequestError | InvalidAnswerError) -> None:
        """A refused request or an unreadable answer is the clause's fault where others pass, else the settings'."""
        self._doubted.append((job, error))
        if len(self._doubted) >= (DOUBTS_IF_PROVEN if self._proven else DOUBTS):
            self._limiter.stopped = self._limiter.stopped or InvalidInputError(
                f"the server refuses every request or answers what cannot be read, the last {len(self._doubted)} "
                f"clauses in a row ({error}); check the teacher's settings, then run this again"
            )

    async def _set_doubted_aside(self) -> None:
        while self._doubted and not self._limiter.stopped:
            record_quarantine(self._ledger, *self._doubted.pop())
            self._set_aside += 1
            await self._settled()

    def _later(self, job: WorkItem, error: ServerUnavailableError, began: float) -> None:
        """Back to the queue: an ailing server is waited for, one that fails this clause alone is not."""
        patience = OUTAGE_WINDOWS * self._limiter.window
        if self._succeeded_at > began:
            self._rounds[job.cache_key] += 1
        elif time.monotonic() - self._succeeded_at > patience:
            self._limiter.stopped = IncompleteError(
                f"no answer for {patience:.0f} s ({error}); the same command resumes"
            )
        if self._rounds[job.cache_key] <= SECOND_ROUNDS:
            self._queue.append(job)

    def _figures(self) -> dict[str, Any]:
        books = summarize_shard_usage(self._limiter.pace, self._shard.shard, self._config)
        figures = {name: books[name] for name in ("requests_429", "retries", "cost_usd")}
        figures |= {"repair_calls": books["repair_calls"]} if self._judge else {}
        return figures | {"quarantined": self._set_aside}

    async def _ask(self, chunk: Chunk, correction: Correction | None = None) -> Reply:
        """Passing faults are retried by the schedule; 429s wait in the limiter and do not count."""
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type((ServerUnavailableError, InvalidAnswerError)),
            stop=tenacity.stop_after_attempt(self._teacher.max_retries + 1),
            wait=self._wait,
            reraise=True,
        )
        again = False
        async for attempt in retrying:
            with attempt:
                reply = await self._paced(chunk, correction, again)
                return reply
            again = True
        raise AssertionError("tenacity returns or raises")

    def _wait(self, state: tenacity.RetryCallState) -> float:
        """An answer that cannot be read is asked for again at once (at the pace); a server in trouble gets time."""
        error = state.outcome.exception() if state.outcome else None
        return (
            0.0
            if isinstance(error, InvalidAnswerError)
            else retry_wait_s(state.attempt_number - 1, self._limiter.window)
        )

    async def _paced(self, chunk: Chunk, correction: Correction | None, again: bool) -> Reply:
        size = self._teacher.size(chunk, correction)
        while True:
            call = await self._limiter.slot(size, again, repair=correction is not None)
            again = True
            try:
                reply = await self._teacher.ask(chunk, correction)
            except Refusal as e:
                self._limiter.refused(call, e.metric, e.limit, e.retry_after_s)
            except QuotaExhaustedError:
                self._limiter.day_over(call)
            except KeyRejectedError as e:
                self._limiter.dead(call, str(e), whole_project=isinstance(e, ProjectRejectedError))
            except PipelineError as e:
                self._limiter.fault(call, type(e).__name__, *getattr(e, "tokens", (0, 0)))
                raise
            else:
                self._limiter.answered(call, reply.tokens_in, reply.tokens_out)
                return reply
