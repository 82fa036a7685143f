"""Generate a dataset from policy chunks, train adapters on the dataset, and evaluate the adapters.

1. **plan** divides the chunks into one shard per API key.
2. **generate** asks a teacher model for question-answer pairs, with one mapped task per key. Chunks that a dead key
   leaves unanswered move to healthy keys.
3. **validate** checks the pairs and merges them into a dataset.
4. **train** trains the adapters, with one mapped task per adapter and seed.
5. **evaluate** compares the base model and the adapters on a fixed set of evaluation questions, using retrieval.
6. **promote** applies the promotion policy to decide whether an adapter replaces the champion.
7. **report** writes one page with all results.

Start this DAG by hand. It also starts when a new dataset is published. In that case, it generates nothing.

A failed shard is red, and its log shows the cause. Fix the cause and choose "Clear only failed". The shard and the
later tasks then run again. Chunks that already have an answer are not requested again.
"""

from __future__ import annotations

from airflow.sdk import TriggerRule, dag

from insurance_rag.orchestration import tasks
from insurance_rag.orchestration.alerts import deadline_after
from insurance_rag.orchestration.assets import ADAPTERS, CHUNKS, DECISION, QA_DATASET, QUESTION_SET
from insurance_rag.orchestration.commands import evaluate_argv, pretrain_argv, train_argv
from insurance_rag.orchestration.gpu_job import gpu_job
from insurance_rag.orchestration.params import trigger_params
from insurance_rag.orchestration.settings import (
    DAG_DEFAULTS,
    FINETUNE_FIELDS,
    FINETUNE_SECTIONS,
    TRAIN_LABEL,
    form_defaults,
)
from insurance_rag.orchestration.task_groups import as_task, make_dataset


@dag(
    schedule=[QA_DATASET],
    doc_md=__doc__,
    params=trigger_params(FINETUNE_FIELDS, FINETUNE_SECTIONS, defaults=form_defaults()),
    tags=["insurance-rag", "training"],
    deadline=deadline_after(hours=24),
    **DAG_DEFAULTS,
)
def finetune_pipeline() -> None:
    run = as_task(tasks.check_input)()
    dataset = make_dataset(run)

    base_models = gpu_job("pretrain", as_task(tasks.pretrain_jobs)(run), pretrain_argv, label="demo base model")
    # `pretrain` runs only for the demo's own base model. With NONE_FAILED, training starts even if it is skipped.
    training = as_task(tasks.training_jobs, trigger_rule=TriggerRule.NONE_FAILED)(run, dataset, base_models)
    adapters = gpu_job("train", training, train_argv, label=TRAIN_LABEL, inlets=[QA_DATASET])
    comparison = as_task(tasks.evaluation_jobs, trigger_rule=TriggerRule.NONE_FAILED)(run, adapters, base_models)
    inlets = [CHUNKS, QUESTION_SET]
    evaluations = gpu_job("evaluate", comparison, evaluate_argv, label="Base and adapters", inlets=inlets)

    decision = as_task(tasks.promote, outlets=[ADAPTERS, DECISION])(run, evaluations, adapters)
    as_task(tasks.report)(run, decision)


finetune_pipeline()
