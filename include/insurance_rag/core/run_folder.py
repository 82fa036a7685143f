"""The layout of a run folder. No other module knows its file names."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import write_error

#: Base model -> its short name, which is used in the names of its adapters.
BASE_NAMES = {"beomi/Llama-3-Open-Ko-8B": "llama-3-ko"}


@dataclass(frozen=True)
class RunFolder:
    """Paths of the files and folders of one run."""

    root: Path

    @property
    def plan(self) -> Path:
        """File that divides the chunks into shards."""
        return self.root / "plan.json"

    @property
    def plan_lock(self) -> Path:
        """Lock file that ensures that only one process writes the plan."""
        return self.root / "plan.lock"

    @property
    def estimate(self) -> Path:
        """File with the expected calls, tokens and cost, as estimated when the run was planned."""
        return self.root / "estimate.json"

    @property
    def chunks(self) -> Path:
        """The run's own copy of the chunks that the plan was made from. A resumed run reads this copy."""
        return self.root / "chunked_data.jsonl"

    @property
    def ingested(self) -> Path:
        """Chunk file that was made from the run's documents. Its report and its changes are next to it."""
        return self.root / "documents" / "chunks.jsonl"

    @property
    def questions(self) -> Path:
        """Evaluation questions of a run that makes them, or that checks them against a new edition."""
        return self.root / "questions" / "questions.jsonl"

    @property
    def question_run(self) -> Path:
        """Run folder in which the teacher's answers for the evaluation questions are kept."""
        return self.root / "questions" / "run"

    @property
    def parts(self) -> Path:
        """Folder of the part files, one per shard."""
        return self.root / "parts"

    @property
    def journal(self) -> Path:
        """Folder of the append-only journals, one per shard."""
        return self.parts / "journal"

    @property
    def rate_limit_log(self) -> Path:
        """Event log of the rate limiter, which the workers of all shards share."""
        return self.parts / "rate_limit.jsonl"

    @property
    def claims(self) -> Path:
        """Log of the chunks that workers have claimed, which the workers of all shards share."""
        return self.parts / "claims.jsonl"

    @property
    def usage(self) -> Path:
        """File with the calls, tokens and cost of the generation stage."""
        return self.parts / "usage.json"

    def part(self, shard: int) -> Path:
        """Return the path of a shard's part file, which holds the shard's rows."""
        return self.parts / f"dataset_part_{shard}.json"

    def lock(self, shard: int) -> Path:
        """Return the path of a shard's lock file, which ensures that only one process works on the shard."""
        return self.parts / f"shard_{shard}.lock"

    def batches(self, shard: int) -> Path:
        """Return the path of the file that lists the batches that a shard has submitted and not yet fetched."""
        return self.parts / f"shard_{shard}_batches.json"

    @property
    def dataset(self) -> Path:
        """Folder of the validated dataset."""
        return self.root / "dataset"

    @property
    def base_model(self) -> Path:
        """Folder of the base model that the demo trains."""
        return self.root / "base_model"

    @property
    def adapters(self) -> Path:
        """Folder that contains the adapter folders."""
        return self.root / "adapters"

    def adapter(self, version: str, base_model: str) -> Path:
        """Return the folder of the adapter with this version and base model, named by `adapter_name`.

        If several seeds are trained, the folder contains one adapter folder per seed (`adapter_folder.seed_folder`).
        """
        return self.adapters / adapter_name(version, base_model)

    @property
    def config(self) -> Path:
        """The run's validated configuration. A task that is cleared in Airflow reads the same values again."""
        return self.root / "config.json"

    @property
    def evaluation(self) -> Path:
        """Folder of the evaluation results."""
        return self.root / "evaluation"

    @property
    def progress(self) -> Path:
        """Folder of the progress files that running stages write."""
        return self.root / "progress"

    @property
    def report(self) -> Path:
        """The run's report, a single HTML page."""
        return self.root / "report.html"

    def create(self) -> RunFolder:
        """Create the folder and return self.

        Raises IncompleteError if the disk refuses to write or the folder is read-only, and InvalidInputError if the
        path cannot be a folder.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except (FileExistsError, NotADirectoryError) as e:
            raise InvalidInputError(
                f"{self.root}: the run folder cannot be written ({e.strerror}); choose another folder"
            ) from e
        except OSError as e:
            raise write_error(self.root, e) from e
        return self


def adapter_name(version: str, base_model: str) -> str:
    """Return an adapter's name: base model, `insurance-lora` and version, joined by hyphens. Version v1 is left out.

    >>> adapter_name("v2", "Qwen/Qwen2.5-7B")
    'qwen2.5-7b-insurance-lora-v2'
    """
    base = BASE_NAMES.get(base_model) or re.sub(r"[^a-z0-9.]+", "-", Path(base_model).name.lower()).strip("-.")
    return f"{base or 'base'}-insurance-lora" + ("" if version == "v1" else f"-{version}")
