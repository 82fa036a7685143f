"""Settings of a whole run. The trigger forms of the DAGs are made from them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue, field_validator

from insurance_rag.config.generation import GenerationConfig
from insurance_rag.config.validation import ValidationConfig
from insurance_rag.core.config_base import Config
from insurance_rag.core.records.training import AdapterVersion


class RunConfig(Config):
    """Settings of a whole run. The trigger forms of the DAGs are made from them.

    The defaults are those of the embedded demo: the sample chunks, a simulator of the API and a small base model that
    the run trains itself.
    """

    chunks: str = Field(default="sample", title="Chunks")
    """JSON Lines file of policy chunks. `sample` uses the fictional policies that ship with the project."""
    keys: tuple[str, ...] = Field(default=(), title="API keys")
    """Airflow connections of type `gemini`, one per line. Each gets one shard of the chunks."""
    base_model: str = Field(default="demo", min_length=1, title="Base model")
    """Hugging Face name or local folder, e.g. `beomi/Llama-3-Open-Ko-8B`. `demo` trains a small model in the run."""
    versions: tuple[AdapterVersion, ...] = Field(default=("v1", "v2"), min_length=1, title="Adapters to train")
    """v1: plain question and answer; v2: answers from retrieved chunks, with citations and refusals; v3: the merged
    dataset."""
    profile: Literal["smoke", "default", "reference"] = Field(default="smoke", title="Training profile")
    """smoke: minutes on a CPU; default: fast settings for a GPU; reference: the settings of the reference design."""
    questions: str = Field(default="sample", title="Evaluation questions")
    """JSON Lines file of frozen questions. The documents they are about are held out of training. `sample` belongs to
    the sample chunks."""
    question_limit: int | None = Field(default=60, ge=1, title="Number of questions")
    """Evaluate on the first n questions; empty uses all. With fewer than 200, a difference of 10 percentage points
    can be chance."""
    reuse_answers: bool = Field(default=True, title="Reuse answers")
    """Reuse the answers of earlier runs to unchanged chunks. Only new and changed chunks cost API calls."""
    allow_partial: bool = Field(default=False, title="Allow a partial dataset")
    """Continue although chunks have no answer. The dataset is marked as incomplete and is never published."""
    approve: bool = Field(default=True, title="Require approval")
    """A person has to approve a refreshed dataset before it is published."""
    dataset: str | None = Field(default=None, title="Existing dataset")
    """Folder of a validated dataset to train on. Nothing is generated then."""
    adapters: dict[str, str] = Field(default={}, title="Existing adapters")
    """Adapters to evaluate: name and folder of each, e.g. `{"v2": "/artifacts/.../demo-insurance-lora-v2"}`."""
    registry: str | None = Field(default=None, title="Model registry")
    """Folder that keeps the champion. The champion is evaluated together with the new adapters, and a better adapter
    replaces it. Empty: the adapters are compared with the base model."""
    generation: GenerationConfig = Field(default=GenerationConfig(), title="Generation")
    """Settings of the question-answer generation."""
    validation: ValidationConfig = Field(default=ValidationConfig(), title="Validation")
    """Settings of the validation and of the dataset."""
    training: dict[str, JsonValue] = Field(default={}, title="Training")
    """Recipe settings that override the training profile, e.g. `{"max_steps": 300}`."""

    @field_validator("adapters", "generation", "validation", "training", mode="before")
    @classmethod
    def _empty_editor(cls, value: object) -> object:
        """An emptied JSON editor of the trigger form sends null."""
        return {} if value is None else value
