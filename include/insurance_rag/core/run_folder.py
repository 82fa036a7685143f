"""The layout of a run folder: the only place that knows these file names."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from insurance_rag.core.errors import InvalidInputError


@dataclass(frozen=True)
class RunFolder:
    """The layout of one run; the only place that knows these names."""

    root: Path

    @property
    def plan(self) -> Path:
        return self.root / "plan.json"

    @property
    def chunks(self) -> Path:
        """The run's own copy of its input, so that a resumed run reads what the plan was made from."""
        return self.root / "chunked_data.jsonl"

    @property
    def parts(self) -> Path:
        return self.root / "parts"

    @property
    def journal(self) -> Path:
        """Folder of the append-only journals, one a shard."""
        return self.parts / "journal"

    @property
    def rate_limit_log(self) -> Path:
        """Events of the rate limiter, shared by the shards' workers."""
        return self.parts / "rate_limit.jsonl"

    @property
    def usage(self) -> Path:
        return self.parts / "usage.json"

    def part(self, shard: int) -> Path:
        return self.parts / f"dataset_part_{shard}.json"

    def lock(self, shard: int) -> Path:
        return self.parts / f"shard_{shard}.lock"

    @property
    def dataset(self) -> Path:
        return self.root / "dataset"

    @property
    def base_model(self) -> Path:
        return self.root / "base_model"

    @property
    def adapters(self) -> Path:
        return self.root / "adapters"

    def adapter(self, version: str) -> Path:
        """`adapters/llama-3-ko-insurance-lora` for v1, `...-lora-v2` for v2, and so on."""
        suffix = "" if version == "v1" else f"-{version}"
        return self.adapters / f"llama-3-ko-insurance-lora{suffix}"

    @property
    def config(self) -> Path:
        """The run's configuration as it was checked; a cleared task reads the same values again."""
        return self.root / "config.json"

    @property
    def evaluation(self) -> Path:
        return self.root / "evaluation"

    @property
    def progress(self) -> Path:
        return self.root / "progress"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    def create(self) -> RunFolder:
        """Make the folder and prove that it can be written before any costly work starts."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as e:
            raise InvalidInputError(
                f"{self.root}: the run folder cannot be written ({e.strerror}); choose another or mend its permissions"
            ) from e
        return self
