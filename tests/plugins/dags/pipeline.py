"""A DAG with the task ids of the pipeline and no work, for the pages about its runs."""

from __future__ import annotations

from airflow.sdk import dag, task


@dag(schedule=None)
def finetune_pipeline() -> None:
    @task
    def plan() -> list[int]:
        return [1, 2]

    @task
    def generate(shard: int) -> int:
        return shard

    @task
    def validate(parts: list[int]) -> int:
        return len(parts)

    validate(generate.expand(shard=plan()))


finetune_pipeline()
