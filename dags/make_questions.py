"""Make evaluation questions from policy documents, and publish them after a person has reviewed them.

1. **ingest_documents** turns documents into chunks. It does nothing if the run starts from a chunk file.
2. **make_questions** asks a teacher model for questions about some of the chunks, checks them, and chooses the best.
3. **approve** waits for a person, who reviews the questions one by one on the review pages.
4. **publish_question_set** freezes the set. Runs with `questions` set to `published` use it, and so do all runs that
   start from documents.

Start this DAG by hand. For a new edition of the documents, start it again: it keeps the questions that still fit, and
asks the teacher only for the others.
"""

from __future__ import annotations

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import TriggerRule, dag

from insurance_rag.orchestration import input_tasks, tasks
from insurance_rag.orchestration.alerts import deadline_after
from insurance_rag.orchestration.assets import CHUNKS, QUESTION_SET
from insurance_rag.orchestration.params import trigger_params
from insurance_rag.orchestration.question_review import questions_text
from insurance_rag.orchestration.settings import (
    APPROVAL_RETRY,
    APPROVAL_TIMEOUT,
    DAG_DEFAULTS,
    QUESTION_FIELDS,
    QUESTION_SECTIONS,
    form_defaults,
    watched_inlets,
)
from insurance_rag.orchestration.task_groups import as_task, short_circuit


@dag(
    schedule=None,
    doc_md=__doc__,
    params=trigger_params(QUESTION_FIELDS, QUESTION_SECTIONS, defaults=form_defaults()),
    user_defined_macros={"questions_text": questions_text},
    tags=["insurance-rag", "questions"],
    deadline=deadline_after(hours=84),
    **DAG_DEFAULTS,
)
def make_questions() -> None:
    run = as_task(tasks.check_input)(asks=False)
    ingested = as_task(input_tasks.ingest_documents, inlets=watched_inlets(), outlets=[CHUNKS])(run)
    made = as_task(input_tasks.make_questions, pool="gemini", inlets=[CHUNKS])(run)
    approval_wanted = short_circuit(tasks.wants_approval, ignore_downstream_trigger_rules=False)(run)
    approve = ApprovalOperator(
        task_id="approve",
        subject="Publish the evaluation questions?",
        body="{{ questions_text(ti.xcom_pull(task_ids='make_questions')) }}",
        defaults="Reject",
        response_timeout=APPROVAL_TIMEOUT,
        **APPROVAL_RETRY,
        doc_md="A person reviews the questions. No response in time counts as a rejection.",
    )
    publish = as_task(input_tasks.publish_question_set, outlets=[QUESTION_SET], trigger_rule=TriggerRule.NONE_FAILED)
    published = publish(run, made)

    ingested >> made >> approval_wanted >> approve >> published


make_questions()
