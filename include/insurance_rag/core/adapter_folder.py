"""The layout of an adapter folder. No other module knows its file names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from insurance_rag.core.record_files import read_record, read_records
from insurance_rag.core.records.training import LossRow, TrainingManifest

_SEED_PREFIX = "seed-"


def seed_folder(parent: Path, seed: int) -> Path:
    """Return the folder of one adapter among several seeds of a recipe, e.g. `adapters/v2/seed-42`."""
    return parent / f"{_SEED_PREFIX}{seed}"


def seed_folders(parent: Path) -> list[Path]:
    """Return the existing folders of seeds in `parent`, smallest seed first. Empty if `parent` is not such a folder."""
    found = [path for path in parent.glob(f"{_SEED_PREFIX}*") if path.is_dir() and _seed(path) is not None]
    return sorted(found, key=lambda path: _seed(path) or 0)


def _seed(folder: Path) -> int | None:
    text = folder.name.removeprefix(_SEED_PREFIX)
    return int(text) if text.removeprefix("-").isdecimal() else None


def seed_name(name: str, seed: int) -> str:
    """Return the name under which one seed of a recipe is evaluated, e.g. `v2-s42`."""
    return f"{name}-s{seed}"


def expand_seeds(adapters: Mapping[str, Path]) -> dict[str, Path]:
    """Replace each folder that holds several seeds of a recipe by the folders of its adapters.

    `adapters` maps names to folders. The seeds of `v2` are named `v2-s42`, `v2-s43` and so on.
    """
    expanded: dict[str, Path] = {}
    for name, folder in adapters.items():
        seeds = {seed_name(name, seed): path for path in seed_folders(folder) if (seed := _seed(path)) is not None}
        expanded |= seeds or {name: folder}
    return expanded


@dataclass(frozen=True)
class AdapterFolder:
    """The folder of one adapter. A folder without a manifest is unfinished; read only its loss history."""

    root: Path

    @property
    def manifest(self) -> Path:
        """File with the `TrainingManifest`. It is written last."""
        return self.root / "training.json"

    @property
    def loss_history(self) -> Path:
        """File with one `LossRow` per logged step."""
        return self.root / "loss_history.jsonl"

    @property
    def weights(self) -> Path:
        """File with the adapter's weights."""
        return self.root / "adapter_model.safetensors"

    @property
    def peft_config(self) -> Path:
        """The adapter's configuration, as written by peft."""
        return self.root / "adapter_config.json"

    @property
    def verifier(self) -> Path:
        """File with the `VerifierCalibration`. Only the folder of a calibrated verifier has it."""
        return self.root / "verifier.json"

    @property
    def model_card(self) -> Path:
        """Model card for the Hugging Face Hub."""
        return self.root / "README.md"

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints, which is removed when training is finished."""
        return self.root / "checkpoints"

    @property
    def logs(self) -> Path:
        """Folder of TensorBoard event files."""
        return self.root / "logs"

    @property
    def staging(self) -> Path:
        """Folder that holds new files until training is finished. They then replace the files of an earlier run."""
        return self.root / ".staging"

    def read_manifest(self) -> TrainingManifest | None:
        """Return the manifest, or None if there is none. Raises InvalidInputError if the manifest cannot be read."""
        if not self.manifest.is_file():
            return None
        return read_record(self.manifest, TrainingManifest, "a training manifest", "train the adapter again")

    def read_loss_history(self) -> list[LossRow]:
        """Return the logged steps, or an empty list if nothing has been logged yet.

        Raises an InvalidInputError that lists every unreadable line.
        """
        if not self.loss_history.is_file():
            return []
        return read_records(self.loss_history, LossRow, "a loss row", "train again")
