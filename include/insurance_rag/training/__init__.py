"""Train QLoRA adapters on a base model, and export them.

    load_recipe("v2", {"profile": "smoke"})                return the settings for one adapter
    train_adapter(recipe, dataset, base_model, out)        train, and write an adapter folder
    train_seeds(recipe, 3, dataset, base_model, out)       train one adapter per seed
    export_adapter(adapter, base_model, out)               merge an adapter into a 16-bit model

Importing this package is fast, because torch is imported only when training starts.
"""

from insurance_rag.training.export import export_adapter
from insurance_rag.training.recipe import load_recipe
from insurance_rag.training.seeds import train_seeds
from insurance_rag.training.train import train_adapter

__all__ = ["export_adapter", "load_recipe", "train_adapter", "train_seeds"]
