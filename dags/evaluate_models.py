"""Compare existing adapters on all evaluation questions, without generating a dataset or training.

Start this DAG by hand with the adapters of any run. New adapters from `finetune_pipeline` start it automatically. If
the run names a model registry, the registry's champion is evaluated, too. If an adapter is better than the champion,
the adapter becomes the new champion.
"""

from __future__ import annotations

from airflow.sdk import dag

from insurance_rag.orchestration import tasks
from insurance_rag.orchestration.alerts import deadline_after
from insurance_rag.orchestration.assets import ADAPTERS, CHUNKS, DECISION, QUESTION_SET
from insurance_rag.orchestration.commands import evaluate_argv
from insurance_rag.orchestration.gpu_job import gpu_job
from insurance_rag.orchestration.params import trigger_params
from insurance_rag.orchestration.settings import (
    DAG_DEFAULTS,
    EVALUATE_FIELDS,
    EVALUATE_SECTIONS,
    form_defaults,
)
from insurance_rag.orchestration.task_groups import as_task


@dag(
    schedule=[ADAPTERS],
    doc_md=__doc__,
    params=trigger_params(EVALUATE_FIELDS, EVALUATE_SECTIONS, defaults={**form_defaults(), "question_limit": None}),
    tags=["insurance-rag", "evaluation"],
    deadline=deadline_after(hours=12),
    **DAG_DEFAULTS,
)
def evaluate_models() -> None:
    run = as_task(tasks.check_input)()
    comparison = as_task(tasks.evaluation_jobs)(run)
    inlets = [ADAPTERS, CHUNKS, QUESTION_SET]
    evaluations = gpu_job("evaluate", comparison, evaluate_argv, label="Base and adapters", inlets=inlets)
    decision = as_task(tasks.promote, outlets=[DECISION])(run, evaluations)
    as_task(tasks.report)(run, decision)


evaluate_models()
