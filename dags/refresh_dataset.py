"""Keep the dataset up to date: generate pairs only for new and changed chunks, and publish them after approval.

This DAG runs weekly ($REFRESH_SCHEDULE) or when started by hand. A backfill over several dates runs one date at a time
and does not pay twice for the same answer. If the rows did not change, nothing is published. The approval page shows
row counts, dropped rows and samples. If nobody responds within three days, the dataset is rejected.
"""

from __future__ import annotations

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import TriggerRule, dag

from insurance_rag.orchestration import review_tasks, tasks
from insurance_rag.orchestration.alerts import deadline_after
from insurance_rag.orchestration.assets import CHUNKS, QA_DATASET
from insurance_rag.orchestration.params import trigger_params
from insurance_rag.orchestration.review import review_text
from insurance_rag.orchestration.settings import (
    APPROVAL_RETRY,
    APPROVAL_TIMEOUT,
    DAG_DEFAULTS,
    REFRESH_FIELDS,
    REFRESH_SECTIONS,
    form_defaults,
    refresh_schedule,
)
from insurance_rag.orchestration.task_groups import as_task, make_dataset, short_circuit


@dag(
    schedule=refresh_schedule(),
    doc_md=__doc__,
    params=trigger_params(REFRESH_FIELDS, REFRESH_SECTIONS, defaults=form_defaults()),
    user_defined_macros={"review_text": review_text},
    tags=["insurance-rag", "dataset"],
    deadline=deadline_after(hours=84),
    **DAG_DEFAULTS,
)
def refresh_dataset() -> None:
    run = as_task(tasks.check_input)()
    dataset = make_dataset(run)
    changed = short_circuit(tasks.dataset_changed)(dataset)
    approval_wanted = short_circuit(tasks.wants_approval, ignore_downstream_trigger_rules=False)(run)
    approve = ApprovalOperator(
        task_id="approve",
        subject="Publish the refreshed dataset?",
        body="{{ review_text(ti.xcom_pull(task_ids='validate')) }}",
        defaults="Reject",
        response_timeout=APPROVAL_TIMEOUT,
        **APPROVAL_RETRY,
        doc_md="A person checks row counts, dropped rows and samples. No response in time counts as a rejection.",
    )
    # `approve` is skipped if no approval is wanted. If a person rejects the dataset, both tasks below are skipped.
    reviewed = as_task(review_tasks.apply_reviews, trigger_rule=TriggerRule.NONE_FAILED)(run, dataset)
    as_task(tasks.publish, inlets=[CHUNKS], outlets=[QA_DATASET])(run, reviewed)

    changed >> approval_wanted >> approve >> reviewed


refresh_dataset()
