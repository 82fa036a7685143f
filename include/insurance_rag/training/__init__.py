"""Training of QLoRA adapters on a base model.

    load_recipe("v2", {"profile": "smoke"})                typed settings of one adapter
    train_adapter(recipe, dataset, base_model, out)        an adapter folder
    export_adapter(adapter, base_model, out)               a 16-bit model with the adapter merged into it

Importing this package is light; torch is imported when a training starts.
"""

from insurance_rag.training.export import export_adapter
from insurance_rag.training.recipe import load_recipe
from insurance_rag.training.train import train_adapter

__all__ = ["export_adapter", "load_recipe", "train_adapter"]
