"""QLoRA adapters on a base model.

load_recipe("v2", {"profile": "smoke"})            a typed recipe; light, no torch
train_adapter(recipe, dataset, base_model, out)    an adapter folder
export_adapter(adapter, base_model, out)           16-bit weights with the adapter merged in
"""

from insurance_rag.training.export import export_adapter
from insurance_rag.training.recipe import load_recipe
from insurance_rag.training.train import train_adapter

__all__ = ["export_adapter", "load_recipe", "train_adapter"]
