"""Policy clauses in, a measured adapter out.

**plan** cuts the clauses into one shard per API key, **generate** asks for question-answer pairs (one mapped task a
key; what a dead key leaves over goes to the healthy ones), **validate** checks and merges them, **train** makes the
adapters, **evaluate** compares Base and adapters on frozen questions with retrieval, **promote** decides by the policy,
**report** writes it all into one page.

Run it by hand, or let a published dataset start it (then nothing is generated).

A failed shard is red and says why. Mend the cause and clear "only failed": just that shard and what follows runs again,
and nothing that was answered is asked twice.
"""

from __future__ import annotations

from airflow.sdk import TriggerRule, dag

from insurance_rag.config import RunConfig
from insurance_rag.orchestration import tasks
from insurance_rag.orchestration.alerts import deadline_after
from insurance_rag.orchestration.assets import ADAPTERS, QA_DATASET
from insurance_rag.orchestration.commands import evaluate_argv, pretrain_argv, train_argv
from insurance_rag.orchestration.gpu_job import gpu_job
from insurance_rag.orchestration.params import trigger_params
from insurance_rag.orchestration.settings import DAG_DEFAULTS, form_defaults
from insurance_rag.orchestration.task_groups import make_dataset, step


@dag(
    schedule=[QA_DATASET],
    doc_md=__doc__,
    params=trigger_params(RunConfig, **form_defaults()),
    tags=["insurance-rag", "training"],
    deadline=deadline_after(hours=24),
    **DAG_DEFAULTS,
)
def finetune_pipeline() -> None:
    run = step(tasks.check_input)()
    dataset = make_dataset(run)
    base_model = gpu_job("pretrain", step(tasks.pretrain_jobs)(run), pretrain_argv, label="demo base model")
    training = step(tasks.training_jobs, trigger_rule=TriggerRule.NONE_FAILED)(run, dataset)
    adapters = gpu_job("train", training, train_argv, label="{{ task.arguments[2] }}")
    comparison = step(tasks.evaluation_jobs)(run)
    evaluation = gpu_job("evaluate", comparison, evaluate_argv, label="Base and adapters")
    decision = step(tasks.promote, outlets=[ADAPTERS])(run)
    report = step(tasks.report)(run)

    base_model >> training
    adapters >> comparison
    evaluation >> decision >> report


finetune_pipeline()
