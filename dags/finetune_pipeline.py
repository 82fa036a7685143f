"""Policy clauses in, a measured adapter out.

**plan** cuts the clauses into one shard per API key, **generate** asks for question-answer pairs (one mapped task per
key; what a dead key leaves over goes to the healthy ones), **validate** checks and merges them, **train** makes the
adapters, **evaluate** compares Base and adapters on frozen questions with retrieval, **promote** decides by the policy,
**report** writes it all into one page.

A failed shard is red and says why. Mend the cause, clear "only failed": just that shard and what follows runs again,
and nothing that was answered is asked twice.
"""

from __future__ import annotations

from airflow.sdk import TriggerRule, dag, task

from insurance_rag.config import RunConfig
from insurance_rag.orchestration import tasks
from insurance_rag.orchestration.commands import evaluate_argv, pretrain_argv, train_argv
from insurance_rag.orchestration.form import trigger_form
from insurance_rag.orchestration.gpu_job import gpu_job
from insurance_rag.orchestration.settings import DAG_DEFAULTS, GENERATE, default_keys


@dag(
    dag_id="finetune_pipeline",
    schedule=None,
    doc_md=__doc__,
    params=trigger_form(RunConfig, {"keys": default_keys()}),
    tags=["insurance-rag", "training"],
    **DAG_DEFAULTS,
)
def finetune_pipeline() -> None:
    run = task(tasks.check_input)()
    base_model = gpu_job("pretrain", task(tasks.pretrain_jobs)(run), pretrain_argv, label="demo base model")

    shards = task(tasks.plan_shards)(run)
    parts = task(tasks.generate, **GENERATE).expand(shard=shards)
    leftover = task(tasks.plan_leftover, trigger_rule=TriggerRule.ALL_DONE)(run)
    leftover_parts = task(tasks.generate, **GENERATE).override(task_id="generate_leftover").expand(shard=leftover)
    dataset = task(tasks.validate, trigger_rule=TriggerRule.ALL_DONE)(run)
    parts >> leftover >> leftover_parts >> dataset

    jobs = task(tasks.training_jobs, trigger_rule=TriggerRule.NONE_FAILED)(run, dataset)
    base_model >> jobs
    adapters = gpu_job("train", jobs, train_argv, label="{{ task.arguments[2] }}")
    evaluation = gpu_job(
        "evaluate", task(tasks.evaluation_jobs)(run, adapters.output), evaluate_argv, label="all models"
    )
    decision = task(tasks.promote)(run)
    evaluation >> decision >> task(tasks.report, trigger_rule=TriggerRule.ALL_DONE)(run)


finetune_pipeline()
