"""Named bundles of DAG and task arguments, so that the DAG files hold the flow alone."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from airflow.sdk import CronTriggerTimetable

from insurance_rag.orchestration.alerts import notify_failure
from insurance_rag.orchestration.retries import RETRY_POLICY

DAG_DEFAULTS: dict[str, Any] = {
    "catchup": False,
    "max_active_runs": 1,
    "render_template_as_native_obj": True,
    "default_args": {
        "owner": "insurance-rag",
        "retries": 1,
        "retry_delay": timedelta(seconds=30),
        "retry_policy": RETRY_POLICY,
        "on_failure_callback": notify_failure,
        "execution_timeout": timedelta(hours=12),
    },
}

#: One mapped task a shard. Short of three hours each: what is done is kept, the next try resumes.
GENERATE: dict[str, Any] = {
    "map_index_template": "{{ task.shard['label'] }}",
    "doc_md": "Ask the teacher for the pairs of one shard; answers that the journal holds are not asked for again.",
    "pool": "gemini",
    "retries": 3,
    "execution_timeout": timedelta(hours=3),
}


def default_keys() -> list[str]:
    """Connection ids of the trigger form's default: $GEMINI_CONNECTIONS, comma separated."""
    return [name.strip() for name in os.environ.get("GEMINI_CONNECTIONS", "gemini_k1").split(",") if name.strip()]


def form_defaults() -> dict[str, Any]:
    """What the forms, and so the scheduled runs, start from: the environment's, where it says anything."""
    told = {
        "chunks": os.environ.get("CLAUSES"),
        "questions": os.environ.get("QUESTIONS"),
        "base_model": os.environ.get("BASE_MODEL"),
        "profile": os.environ.get("TRAINING_PROFILE"),
        "registry": os.environ.get("REGISTRY"),
    }
    return {"keys": default_keys(), **{name: value for name, value in told.items() if value}}


#: What a refresh asks; the rest of RunConfig is about training.
DATASET_FIELDS = (
    "chunks", "keys", "questions", "approve", "reuse_answers", "allow_partial",
    "generation",
    "validation",
)  # fmt: skip
MODEL_FIELDS = ("base_model", "adapters", "questions", "question_limit", "registry", "chunks")

APPROVAL_TIMEOUT = timedelta(days=3)
#: Airflow 3.3 loses an answer that a person gives within about a second of being asked (the race of
#: apache/airflow#66374) and counts a try; the question then stands again.
APPROVAL_RETRY: dict[str, Any] = {"retries": 3, "retry_delay": timedelta(seconds=5)}


def refresh_schedule() -> CronTriggerTimetable:
    """When the dataset is regenerated: the cron of $REFRESH_SCHEDULE, by default Monday 03:00 in Seoul.

    Unpausing the DAG waits for the next tick; a missed one costs quota only if a person backfills it.
    """
    cron = os.environ.get("REFRESH_SCHEDULE", "0 3 * * 1")
    return CronTriggerTimetable(cron, timezone="Asia/Seoul", run_immediately=timedelta(0))
