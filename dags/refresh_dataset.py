"""Keep the dataset fresh: ask only for the clauses that are new or changed, and publish what a person approved.

Runs weekly ($REFRESH_SCHEDULE) or by hand; a backfill over dates (one run at a time) pays for nothing twice. Where
nothing changed, nothing is published. The approval shows counts, drops and samples; without an answer in three days it
is a rejection.
"""

from __future__ import annotations

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import TriggerRule, dag

from insurance_rag.config import RunConfig
from insurance_rag.orchestration import tasks
from insurance_rag.orchestration.alerts import deadline_after
from insurance_rag.orchestration.assets import QA_DATASET
from insurance_rag.orchestration.params import trigger_params
from insurance_rag.orchestration.review import review_text
from insurance_rag.orchestration.settings import (
    APPROVAL_RETRY,
    APPROVAL_TIMEOUT,
    DAG_DEFAULTS,
    DATASET_FIELDS,
    form_defaults,
    refresh_schedule,
)
from insurance_rag.orchestration.task_groups import gate, make_dataset, step


@dag(
    schedule=refresh_schedule(),
    doc_md=__doc__,
    params=trigger_params(RunConfig, DATASET_FIELDS, **form_defaults()),
    user_defined_macros={"review_text": review_text},
    tags=["insurance-rag", "dataset"],
    deadline=deadline_after(hours=84),
    **DAG_DEFAULTS,
)
def refresh_dataset() -> None:
    run = step(tasks.check_input)()
    dataset = make_dataset(run)
    news = gate(tasks.dataset_changed)(dataset)
    wanted = gate(tasks.wants_approval, past_trigger_rules=False)(run)
    approve = ApprovalOperator(
        task_id="approve",
        subject="Publish the refreshed dataset?",
        body="{{ review_text(ti.xcom_pull(task_ids='validate')) }}",
        defaults="Reject",
        response_timeout=APPROVAL_TIMEOUT,
        **APPROVAL_RETRY,
        doc_md="A person looks at counts, drops and samples; no answer in time is a rejection.",
    )
    published = step(tasks.publish, outlets=[QA_DATASET], trigger_rule=TriggerRule.NONE_FAILED)(run, dataset)

    news >> wanted >> approve >> published


refresh_dataset()
