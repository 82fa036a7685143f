"""Named bundles of DAG and task arguments, so that the DAG files contain the flow only."""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.sdk import CronTriggerTimetable
from pydantic import JsonValue

from insurance_rag.orchestration.alerts import notify_failure
from insurance_rag.orchestration.retries import RETRY_POLICY

DAG_DEFAULTS: dict[str, object] = {
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

#: One mapped task per shard. The time limit is per try: finished answers are kept and the next try resumes.
GENERATE: dict[str, object] = {
    "map_index_template": "{{ task.shard['label'] }}",
    "doc_md": "Ask the teacher for the pairs of one shard. Answers in the journal are not requested again.",
    "pool": "gemini",
    "retries": 3,
    "execution_timeout": timedelta(hours=3),
}

#: Environment variable -> field of the trigger form whose default it sets.
FORM_VARIABLES = {
    "CHUNKS": "chunks",
    "QUESTIONS": "questions",
    "BASE_MODEL": "base_model",
    "TRAINING_PROFILE": "profile",
    "REGISTRY": "registry",
}


def default_keys() -> list[str]:
    """Return the connections that the trigger form names by default: $GEMINI_CONNECTIONS, comma separated."""
    return [name.strip() for name in os.environ.get("GEMINI_CONNECTIONS", "gemini_k1").split(",") if name.strip()]


def form_defaults() -> dict[str, JsonValue]:
    """Return the defaults of the trigger forms, and so of scheduled runs, that the environment sets."""
    found = {field: os.environ.get(variable) for variable, field in FORM_VARIABLES.items()}
    keys: list[JsonValue] = [*default_keys()]
    return {"keys": keys, **{field: value for field, value in found.items() if value}}


#: Fields of RunConfig in the form of `refresh_dataset`; the others are about training.
DATASET_FIELDS = (
    "chunks",
    "keys",
    "questions",
    "approve",
    "reuse_answers",
    "allow_partial",
    "generation",
    "validation",
)
#: Fields of RunConfig in the form of `evaluate_models`.
MODEL_FIELDS = ("base_model", "adapters", "questions", "question_limit", "registry", "chunks")

APPROVAL_TIMEOUT = timedelta(days=3)
#: Airflow 3.3 loses an answer that a person gives within about a second of the request (race condition
#: apache/airflow#66374). The task then counts a try and requests the answer again.
APPROVAL_RETRY: dict[str, object] = {"retries": 3, "retry_delay": timedelta(seconds=5)}


def refresh_schedule() -> CronTriggerTimetable:
    """Return the schedule of `refresh_dataset`: cron expression $REFRESH_SCHEDULE, by default Monday 03:00 in Seoul.

    Unpausing the DAG starts no run before the next scheduled time. Missed times are not made up for, except by a
    backfill that a person starts.
    """
    cron = os.environ.get("REFRESH_SCHEDULE", "0 3 * * 1")
    return CronTriggerTimetable(cron, timezone="Asia/Seoul", run_immediately=timedelta(0))
