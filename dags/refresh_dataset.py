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
from insurance_rag.orchestration.alerts import late_after
from insurance_rag.orchestration.assets import QA_DATASET
from insurance_rag.orchestration.flows import gate, make_dataset, step
from insurance_rag.orchestration.form import trigger_form
from insurance_rag.orchestration.review import review_text
from insurance_rag.orchestration.settings import (
    APPROVAL_TIMEOUT,
    ASKED_AGAIN,
    DAG_DEFAULTS,
    DATASET_FIELDS,
    form_defaults,
    refresh_schedule,
)


@dag(
    schedule=refresh_schedule(),
    doc_md=__doc__,
    params=trigger_form(RunConfig, DATASET_FIELDS, **form_defaults()),
    user_defined_macros={"review_text": review_text},
    tags=["insurance-rag", "dataset"],
    deadline=late_after(hours=84),
    **DAG_DEFAULTS,
)
def refresh_dataset() -> None:
    run = step(tasks.check_input)()
    dataset = make_dataset(run)
    news = gate(tasks.is_news)(dataset)
    wanted = gate(tasks.wants_approval, past_trigger_rules=False)(run)
    approve = ApprovalOperator(
        task_id="approve",
        subject="Publish the refreshed dataset?",
        body="{{ review_text(ti.xcom_pull(task_ids='validate')) }}",
        defaults="Reject",
        response_timeout=APPROVAL_TIMEOUT,
        **ASKED_AGAIN,
        doc_md="A person looks at counts, drops and samples; no answer in time is a rejection.",
    )
    published = step(tasks.publish, outlets=[QA_DATASET], trigger_rule=TriggerRule.NONE_FAILED)(run, dataset)

    news >> wanted >> approve >> published


refresh_dataset()
