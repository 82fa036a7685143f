"""Named bundles of DAG and task arguments, so that the DAG files contain only the flow."""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.sdk import Asset, AssetOrTimeSchedule, CronTriggerTimetable
from pydantic import JsonValue

from insurance_rag.orchestration.alerts import notify_failure
from insurance_rag.orchestration.retries import RETRY_POLICY


def queue_of(variable: str) -> dict[str, object]:
    """Return the task argument that selects the queue in an environment variable; empty if it is not set.

    Only the CeleryExecutor has queues. A task without one goes to Airflow's `[operators] default_queue`.
    """
    return {"queue": queue} if (queue := os.environ.get(variable)) else {}


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
        **queue_of("API_QUEUE"),
    },
}

#: Settings of the task `generate`, which is mapped over the shards. The time limit applies to a single try. After a
#: timeout, finished answers are kept, and the next try resumes. The label ends with the number of chunks that moved
#: between keys, once the operator knows it.
GENERATE: dict[str, object] = {
    "map_index_template": "{{ task.shard['label'] }}{{ label_note | default('') }}",
    "doc_md": "Ask the teacher for the QA pairs of one shard. Answers that are in the journal are not requested again.",
    "pool": "gemini",
    "retries": 3,
    "execution_timeout": timedelta(hours=3),
}

#: Name of a mapped task instance of `train`: the recipe, followed by the seed if one is set, e.g. `v2-s42`.
TRAIN_LABEL = (
    "{{ task.arguments[2] }}{{ '-s' ~ task.arguments[-1][5:] if task.arguments[-1].startswith('seed=') else '' }}"
)

#: Environment variable -> field of the trigger form. The variable sets the default of the field.
FORM_VARIABLES = {
    "CHUNKS": "chunks",
    "QUESTIONS": "questions",
    "BASE_MODEL": "base_model",
    "TRAINING_PROFILE": "profile",
    "REGISTRY": "registry",
    "PROMOTION_POLICY": "policy",
}


def default_keys() -> list[str]:
    """Return the default connection names in the trigger form, from the comma-separated $GEMINI_CONNECTIONS."""
    return [name.strip() for name in os.environ.get("GEMINI_CONNECTIONS", "gemini_k1").split(",") if name.strip()]


def watched_documents() -> list[str]:
    """Return the folders of documents in $DOCUMENTS, separated by commas. A new edition there starts a refresh."""
    return [name.strip() for name in os.environ.get("DOCUMENTS", "").split(",") if name.strip()]


def form_defaults() -> dict[str, JsonValue]:
    """Return the trigger form defaults that environment variables set. Scheduled runs use these defaults, too."""
    found = {field: os.environ.get(variable) for variable, field in FORM_VARIABLES.items()}
    lists: dict[str, list[JsonValue]] = {"keys": [*default_keys()], "documents": [*watched_documents()]}
    return {
        **{field: names for field, names in lists.items() if names},
        **{field: value for field, value in found.items() if value},
    }


#: Settings that are open in the trigger form of `finetune_pipeline`, and the sections of the others.
FINETUNE_FIELDS: tuple[str, ...] = (
    "documents",
    "chunks",
    "keys",
    "generation.model",
    "questions",
    "question_limit",
    "base_model",
    "versions",
    "profile",
    "seeds",
)
FINETUNE_SECTIONS: tuple[str, ...] = (
    "reuse_answers",
    "allow_partial",
    "make_questions",
    "dataset",
    "adapters",
    "registry",
    "policy",
    "ingest",
    "question_set",
    "generation",
    "validation",
    "training",
    "evaluation",
    "promotion",
)
#: The same for `refresh_dataset`. Its form has no settings for training and evaluation.
REFRESH_FIELDS: tuple[str, ...] = (
    "documents",
    "chunks",
    "keys",
    "generation.model",
    "generation.budget_usd",
    "questions",
    "approve",
    "reuse_answers",
    "validation.holdout",
)
REFRESH_SECTIONS: tuple[str, ...] = (
    "allow_partial",
    "make_questions",
    "ingest",
    "question_set",
    "generation",
    "validation",
)
#: The same for `make_questions`.
QUESTION_FIELDS: tuple[str, ...] = (
    "documents",
    "chunks",
    "keys",
    "generation.model",
    "generation.budget_usd",
    "question_set.n",
    "question_set.asked_share",
    "approve",
)
QUESTION_SECTIONS: tuple[str, ...] = ("ingest", "question_set", "generation")
#: The same for `evaluate_models`.
EVALUATE_FIELDS: tuple[str, ...] = (
    "base_model",
    "adapters",
    "chunks",
    "questions",
    "question_limit",
    "registry",
    "evaluation.prompt",
    "evaluation.retrieval.kind",
    "evaluation.judge",
)
EVALUATE_SECTIONS: tuple[str, ...] = ("policy", "evaluation", "promotion")

APPROVAL_TIMEOUT = timedelta(days=3)
#: Airflow 3.3 has a race condition (apache/airflow#66374): it loses a person's response that arrives within about a
#: second of the request. The task then uses up one try and requests the response again.
APPROVAL_RETRY: dict[str, object] = {"retries": 3, "retry_delay": timedelta(seconds=5)}


def refresh_schedule() -> CronTriggerTimetable | AssetOrTimeSchedule:
    """Return the schedule of `refresh_dataset`: cron expression $REFRESH_SCHEDULE, by default Monday 03:00 in Seoul.

    Unpausing the DAG starts no run before the next scheduled time. Missed runs are skipped, unless a person starts
    a backfill. If $DOCUMENTS names folders, a changed document in one of them also starts a run.
    """
    cron = os.environ.get("REFRESH_SCHEDULE", "0 3 * * 1")
    timetable = CronTriggerTimetable(cron, timezone="Asia/Seoul", run_immediately=timedelta(0))
    if not watched_documents():
        return timetable
    from insurance_rag.orchestration.document_watch import documents_asset

    return AssetOrTimeSchedule(timetable=timetable, assets=[documents_asset(watched_documents())])


def watched_inlets() -> list[Asset]:
    """Return the asset of the documents in $DOCUMENTS, as the inlet of the task that reads them; empty without any.

    It has the same watcher as in the schedule, because Airflow stores the watcher of whichever it has parsed last.
    """
    if not watched_documents():
        return []
    from insurance_rag.orchestration.document_watch import documents_asset

    return [documents_asset(watched_documents())]
