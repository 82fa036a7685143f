"""The layout of an adapter folder: the only place that knows these file names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from insurance_rag.core.errors import InvalidInputError, LineProblem
from insurance_rag.core.files import parse_jsonl, read_json
from insurance_rag.core.records.training import LossRow, TrainingManifest


@dataclass(frozen=True)
class AdapterFolder:
    """One adapter. A folder with a manifest is finished; while it is being trained only its loss history exists."""

    root: Path

    @property
    def manifest(self) -> Path:
        """What was trained and how it went (`TrainingManifest`); written last."""
        return self.root / "training.json"

    @property
    def loss_history(self) -> Path:
        """One `LossRow` per logged step."""
        return self.root / "loss_history.jsonl"

    @property
    def weights(self) -> Path:
        """Weights of the adapter."""
        return self.root / "adapter_model.safetensors"

    @property
    def peft_config(self) -> Path:
        """Configuration of the adapter, as peft writes it."""
        return self.root / "adapter_config.json"

    @property
    def model_card(self) -> Path:
        """Description for the Hugging Face Hub."""
        return self.root / "README.md"

    @property
    def checkpoints(self) -> Path:
        """Removed when the training is finished."""
        return self.root / "checkpoints"

    @property
    def logs(self) -> Path:
        """TensorBoard events."""
        return self.root / "logs"

    @property
    def staging(self) -> Path:
        """Where the files are written before they replace those of an earlier training."""
        return self.root / ".staging"

    def read_manifest(self) -> TrainingManifest | None:
        """Return the manifest; None if the folder has none. Raises InvalidInputError if it cannot be read."""
        if not self.manifest.is_file():
            return None
        try:
            return TrainingManifest.model_validate(read_json(self.manifest))
        except ValidationError as e:
            first = e.errors()[0]
            field = ".".join(map(str, first["loc"]))
            raise InvalidInputError(
                f"{self.manifest}: not a training manifest ({field}: {first['msg']}); train the adapter again"
            ) from None

    def read_loss_history(self) -> list[LossRow]:
        """Return the logged steps; none if nothing was logged yet. Raises InvalidInputError for unreadable lines."""
        if not self.loss_history.is_file():
            return []
        lines, unreadable = parse_jsonl(self.loss_history)
        rows, problems = [], list[str | LineProblem](unreadable)
        for number, value in lines:
            try:
                rows.append(LossRow.model_validate(value))
            except ValidationError as e:
                problems.append(LineProblem(self.loss_history, number, f"not a loss row ({e.errors()[0]['msg']})"))
        if problems:
            raise InvalidInputError(problems)
        return rows
