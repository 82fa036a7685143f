"""One run of the whole path; the DAGs' trigger forms are made from it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from insurance_rag.config.generation import GenerationConfig
from insurance_rag.config.validation import ValidationConfig
from insurance_rag.core.config_base import Config


class RunConfig(Config):
    """One run of the whole path; the DAGs' trigger forms are made from it.

    The defaults are the embedded demo: the sample clauses, a simulator, a small base model trained on the spot.
    """

    chunks: str = Field(default="sample", title="Clauses")
    """JSON lines of policy clauses; "sample" takes the fictional policies that ship with the project."""
    keys: tuple[str, ...] = Field(default=(), title="API keys")
    """Airflow connections of type `gemini`, one shard each."""
    base_model: str = Field(default="demo", min_length=1, title="Base model")
    """Hugging Face name or local folder, e.g. beomi/Llama-3-Open-Ko-8B; "demo" trains a small one."""
    versions: tuple[Literal["v1", "v2", "v3"], ...] = Field(
        default=("v1", "v2"), min_length=1, title="Adapters to train"
    )
    """v1: plain QA; v2: RAG style, cites and refuses; v3: the merged dataset."""
    profile: Literal["smoke", "default", "source"] = Field(default="smoke", title="Training profile")
    """smoke: minutes on a CPU; default: fast settings for a GPU; source: the settings of the original system."""
    questions: str = Field(default="sample", title="Evaluation questions")
    """JSON lines of frozen questions; their documents are held out of training. "sample" goes with those clauses."""
    question_limit: int | None = Field(default=60, ge=1, title="Questions to ask")
    """Evaluate on the first n; empty asks all. Under 200 a difference of 10 points cannot be told from chance."""
    reuse_answers: bool = Field(default=True, title="Reuse answers")
    """Take answers to unchanged clauses over from earlier runs; only new and changed clauses are paid for."""
    allow_partial: bool = Field(default=False, title="Allow a partial dataset")
    """Go on although clauses are missing; the dataset is marked incomplete and never published."""
    approve: bool = Field(default=True, title="Ask before publishing")
    """A refreshed dataset waits for a person's approval."""
    dataset: str | None = Field(default=None, title="Finished dataset")
    """Folder of a dataset to train on; nothing is generated then."""
    adapters: dict[str, str] = Field(default={}, title="Trained adapters")
    """Adapters to evaluate, name -> folder."""
    registry: str | None = Field(default=None, title="Registry")
    """Folder that keeps the champion: it is evaluated beside the new adapters, and a better one takes its place. Empty:
    they are held against Base."""
    generation: GenerationConfig = GenerationConfig()
    validation: ValidationConfig = ValidationConfig()
    training: dict[str, Any] = {}
    """Recipe settings over the profile, e.g. {"max_steps": 300}; the recipe checks them."""
