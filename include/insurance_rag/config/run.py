"""Settings for a whole run."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, JsonValue, field_validator

from insurance_rag.config.evaluation import DecodingConfig, EvaluationConfig
from insurance_rag.config.generation import GenerationConfig
from insurance_rag.config.ingest import IngestConfig
from insurance_rag.config.promotion import PromotionConfig
from insurance_rag.config.questions import QuestionsConfig
from insurance_rag.config.training import TrainingConfig
from insurance_rag.config.validation import ValidationConfig
from insurance_rag.core.config_base import Config
from insurance_rag.core.records.training import AnsweringVersion

#: Field of RunConfig that overrides other settings -> model of these settings. The recipe and the profile, or the
#: promotion policy, decide about every setting that is not overridden.
OVERRIDES: Final[dict[str, type[Config]]] = {"training": TrainingConfig, "promotion": PromotionConfig}


def _as_list(value: object) -> object:
    """Return a single name as a list with one name."""
    return [value] if isinstance(value, str) else value


class RunEvaluationConfig(EvaluationConfig):
    """Settings for comparing the base model and its adapters during a run, including how answers are decoded."""

    decoding: DecodingConfig = DecodingConfig()
    """Settings for generating an answer and for cutting off unwanted text afterwards."""


class RunConfig(Config):
    """Settings for a whole run. The DAGs' trigger forms are built from this model.

    The defaults are those of the embedded demo: the sample chunks, a simulator of the API, and a small base model that
    is trained during the run.
    """

    documents: Annotated[tuple[str, ...], BeforeValidator(_as_list)] = Field(default=(), title="Documents")
    """Policy documents (PDF, HWPX, DOCX, HTML, Markdown, text) or folders of them, one per line. The run starts with
    turning them into chunks. If empty, the run starts from `chunks`."""
    chunks: str = Field(default="sample", min_length=1, title="Chunks")
    """JSON Lines file with policy chunks, used if there are no `documents`. `sample` uses the fictional policies that
    ship with the project."""
    keys: tuple[str, ...] = Field(default=(), title="API keys")
    """Airflow connections of type `gemini`, one per line. The chunks are divided into one shard per key."""
    base_model: str = Field(default="demo", min_length=1, title="Base model")
    """Hugging Face name or local folder, e.g. `beomi/Llama-3-Open-Ko-8B`. `demo` trains a small model during the
    run."""
    versions: tuple[AnsweringVersion, ...] = Field(default=("v1", "v2"), min_length=1, title="Adapters to train")
    """v1: plain question answering; v2: answers from retrieved chunks, with citations and refusals; v3: trained on the
    merged dataset; v4: trained on pairs of a better and a worse answer to the prompts of v2."""
    profile: Literal["smoke", "default", "reference"] = Field(default="smoke", title="Training profile")
    """smoke: takes minutes on a CPU; default: fast settings for a GPU; reference: the settings of the reference
    design."""
    seeds: int = Field(default=1, ge=1, le=20, title="Seeds per adapter")
    """Train every adapter this many times, with different seeds. One seed shows whether an adapter may serve; three or
    more also show whether its recipe is better than another, because they measure how much chance decides."""
    questions: str = Field(default="sample", title="Evaluation questions")
    """JSON Lines file with the evaluation questions. Documents or sections that they ask about are excluded from
    training. `sample` uses the questions about the sample chunks; `published` uses the newest set that the DAG
    `make_questions` published. If there are `documents`, `sample` means `published`."""
    make_questions: bool = Field(default=False, title="Make questions")
    """Make the evaluation questions in this run, from its chunks and without a review by a person. `questions` is then
    not used. The DAG `make_questions` makes a set that a person reviews."""
    question_limit: int | None = Field(default=60, ge=1, title="Number of questions")
    """Evaluate only the first n questions; leave empty to use all. With fewer than 200, even a difference of 10
    percentage points can be due to chance."""
    reuse_answers: bool = Field(default=True, title="Reuse answers")
    """Reuse answers from earlier runs for unchanged chunks, so that only new and changed chunks cost API calls."""
    allow_partial: bool = Field(default=False, title="Allow a partial dataset")
    """Continue even if some chunks have no answer. The dataset is then marked as incomplete and is never published."""
    approve: bool = Field(default=True, title="Require approval")
    """Require a person to approve a refreshed dataset before it is published."""
    dataset: str | None = Field(default=None, title="Existing dataset")
    """Folder of a validated dataset to train on. If set, no new pairs are generated."""
    adapters: dict[str, str] = Field(default={}, title="Existing adapters")
    """Existing adapters to evaluate, each as a name and a folder, e.g. `{"v2":
    "/artifacts/.../demo-insurance-lora-v2"}`. A folder with several seeds stands for all of them."""
    registry: str | None = Field(default=None, title="Model registry")
    """Folder that holds the champion (the adapter in service). The champion is evaluated together with the new
    adapters, and a better adapter replaces it. If empty, the adapters are compared with the base model."""
    policy: str | None = Field(default=None, title="Promotion policy")
    """YAML file with the rules that an adapter must pass to replace the champion. If empty, the default policy is used:
    `promotion/policy.yaml` in the package, which explains every setting."""
    ingest: IngestConfig = Field(default=IngestConfig(), title="Documents to chunks")
    """Settings for turning documents into chunks."""
    question_set: QuestionsConfig = Field(default=QuestionsConfig(), title="Questions")
    """Settings for making evaluation questions: how many of which kind, about what, and how they are checked."""
    generation: GenerationConfig = Field(default=GenerationConfig(), title="Generation")
    """Settings for generating question-answer pairs."""
    validation: ValidationConfig = Field(default=ValidationConfig(), title="Validation")
    """Settings for validating the pairs and building the dataset."""
    training: dict[str, JsonValue] = Field(default={}, title="Training")
    """Recipe settings that override those of the training profile, e.g. `{"max_steps": 300}`."""
    evaluation: RunEvaluationConfig = Field(default=RunEvaluationConfig(), title="Evaluation")
    """Settings for comparing the models: retriever, prompt format, decoding, judge and server."""
    promotion: dict[str, JsonValue] = Field(default={}, title="Promotion")
    """Settings that override those of the promotion policy, e.g. `{"margins": {"hallucination": 0.03}}`."""

    @field_validator(
        "adapters",
        "ingest",
        "question_set",
        "generation",
        "validation",
        "training",
        "evaluation",
        "promotion",
        mode="before",
    )
    @classmethod
    def _null_means_default(cls, value: object) -> object:
        """Replace null with {}, so that a field that was emptied has its defaults."""
        return {} if value is None else value
