"""A DAG that does no work: plan, one no-op task per shard, join. The duration of a run is Airflow's overhead."""

from __future__ import annotations

from airflow.sdk import Param, dag, task


@dag(schedule=None, params={"shards": Param(50, type="integer")}, max_active_tasks=1000)
def wide() -> None:
    @task
    def plan(params: dict[str, int]) -> list[int]:
        return list(range(params["shards"]))

    @task(map_index_template="shard {{ task.op_kwargs['shard'] }}")
    def generate(shard: int) -> int:
        return shard

    @task
    def join(parts: list[int]) -> int:
        return len(parts[:])

    join(generate.expand(shard=plan()))


wide()
