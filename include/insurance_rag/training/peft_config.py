"""Reads the LoRA settings of an adapter from `adapter_config.json`, the file that peft writes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from insurance_rag.core.adapter_folder import AdapterFolder
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.record_files import read_record


class PeftLoraSettings(BaseModel):
    """The settings of a LoRA adapter that servers must know. Other settings are ignored."""

    model_config = ConfigDict(extra="ignore")

    peft_type: Literal["LORA"]
    r: int = Field(ge=1)
    lora_alpha: float
    use_rslora: bool | None = None
    use_dora: bool | None = None
    bias: str | None = None
    modules_to_save: list[str] | None = None
    rank_pattern: dict[str, int] | None = None
    alpha_pattern: dict[str, float] | None = None

    @property
    def extras(self) -> list[str]:
        """What the adapter has beyond plain LoRA, in words. Servers can attach only adapters without extras."""
        found = {
            "DoRA": self.use_dora,
            "trained biases": self.bias not in (None, "none"),
            "fully trained modules": self.modules_to_save,
            "different ranks per layer": self.rank_pattern,
            "different alphas per layer": self.alpha_pattern,
        }
        return [name for name, has in found.items() if has]

    @property
    def scale(self) -> float:
        """Factor by which the adapter's product is multiplied: alpha / r, or alpha / sqrt(r) if rank-stabilized."""
        return self.lora_alpha / (self.r**0.5 if self.use_rslora else self.r)


def read_lora_settings(adapter: Path) -> PeftLoraSettings:
    """Return the LoRA settings of an adapter. Raises InvalidInputError if the folder is not a LoRA adapter."""
    folder = AdapterFolder(adapter)
    if missing := [path.name for path in (folder.peft_config, folder.weights) if not path.is_file()]:
        raise InvalidInputError(f"{adapter}: no {' and '.join(missing)}; give the folder of a LoRA adapter")
    return read_record(folder.peft_config, PeftLoraSettings, "a LoRA configuration", "train the adapter again")
