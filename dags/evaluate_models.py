"""Compare models that exist, on all frozen questions: no generation, no training.

Run it by hand with adapters of any run, or let `finetune_pipeline`'s new adapters start it. With a registry, its
champion is among them and is replaced by an adapter that is better.
"""

from __future__ import annotations

from airflow.sdk import dag

from insurance_rag.config import RunConfig
from insurance_rag.orchestration import tasks
from insurance_rag.orchestration.alerts import deadline_after
from insurance_rag.orchestration.assets import ADAPTERS
from insurance_rag.orchestration.commands import evaluate_argv
from insurance_rag.orchestration.gpu_job import gpu_job
from insurance_rag.orchestration.params import trigger_params
from insurance_rag.orchestration.settings import DAG_DEFAULTS, MODEL_FIELDS, form_defaults
from insurance_rag.orchestration.task_groups import step


@dag(
    schedule=[ADAPTERS],
    doc_md=__doc__,
    params=trigger_params(RunConfig, MODEL_FIELDS, **{**form_defaults(), "question_limit": None}),
    tags=["insurance-rag", "evaluation"],
    deadline=deadline_after(hours=12),
    **DAG_DEFAULTS,
)
def evaluate_models() -> None:
    run = step(tasks.check_input)()
    evaluation = gpu_job("evaluate", step(tasks.evaluation_jobs)(run), evaluate_argv, label="Base and adapters")
    decision = step(tasks.promote)(run)

    evaluation >> decision >> step(tasks.report)(run)


evaluate_models()
