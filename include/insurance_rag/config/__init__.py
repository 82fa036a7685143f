"""Settings: one typed model per stage.

The command line, the recipes and Airflow's trigger form are built from these models. A field's docstring is its help
text. An unknown key is rejected with a suggestion. All problems in a configuration are reported at once.
"""

from __future__ import annotations

from insurance_rag.config.evaluation import REFERENCE_STOP_PHRASES, DecodingConfig, EvaluationConfig, RetrievalConfig
from insurance_rag.config.generation import GenerationConfig, Price
from insurance_rag.config.ingest import IngestConfig
from insurance_rag.config.live_questions import LiveQuestionsConfig
from insurance_rag.config.promotion import PromotionConfig
from insurance_rag.config.questions import QuestionsConfig
from insurance_rag.config.run import RunConfig, RunEvaluationConfig
from insurance_rag.config.training import LoraSettings, PreferenceSettings, ReplaySettings, TrainingConfig
from insurance_rag.config.validation import REFERENCE_RULES, DatasetConfig, PreferenceConfig, ValidationConfig
from insurance_rag.core.config_base import Config, parse_settings

__all__ = [
    "REFERENCE_RULES",
    "REFERENCE_STOP_PHRASES",
    "Config",
    "DatasetConfig",
    "DecodingConfig",
    "EvaluationConfig",
    "GenerationConfig",
    "IngestConfig",
    "LiveQuestionsConfig",
    "LoraSettings",
    "PreferenceConfig",
    "PreferenceSettings",
    "Price",
    "PromotionConfig",
    "QuestionsConfig",
    "ReplaySettings",
    "RetrievalConfig",
    "RunConfig",
    "RunEvaluationConfig",
    "TrainingConfig",
    "ValidationConfig",
    "parse_settings",
]
