"""The shape of a run, without its work: what a page about runs needs."""

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
