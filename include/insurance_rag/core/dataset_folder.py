"""The layout of a dataset folder. No other module knows its file names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from insurance_rag.core.prompt_templates import PROMPT_FORMATS, RAG, VERIFY
from insurance_rag.core.record_files import read_record
from insurance_rag.core.records.dataset import ValidationReport

_HELDOUT = {RAG.name: "heldout.json", VERIFY.name: "heldout_verifier.json"}
"""Names of files with held-out rows that are not made from the name of the prompt format."""


@dataclass(frozen=True)
class DatasetFolder:
    """Paths of the files in one dataset folder."""

    root: Path

    @property
    def report(self) -> Path:
        """File with the `ValidationReport`."""
        return self.root / "report.json"

    @property
    def card(self) -> Path:
        """The dataset card."""
        return self.root / "README.md"

    @property
    def funnel(self) -> Path:
        """Chart of the kept and dropped rows."""
        return self.root / "funnel.svg"

    @property
    def rejects(self) -> Path:
        """File with every dropped row and the reason why it was dropped."""
        return self.root / "rejects.jsonl"

    def heldout(self, prompt_format: str = RAG.name) -> Path:
        """Return the path of the held-out rows in a prompt format. They are about documents excluded from training."""
        return self.root / _HELDOUT.get(prompt_format, f"heldout_{prompt_format}.json")

    @property
    def preferences(self) -> Path:
        """File with the preference pairs: prompts, each with a better and a worse answer."""
        return self.root / "train_dataset_preference.json"

    @property
    def heldout_preferences(self) -> Path:
        """File with the preference pairs about documents that are excluded from training."""
        return self.root / "heldout_preference.json"

    def training(self, prompt_format: str) -> Path:
        """Return the path of the training file for a registered prompt format.

        Raises InvalidInputError for an unknown format.
        """
        return self.root / PROMPT_FORMATS[prompt_format].file

    def parquet(self, data_file: Path) -> Path:
        """Return the path of a data file's Parquet copy."""
        return self.root / "parquet" / f"{data_file.stem}.parquet"

    def read_report(self) -> ValidationReport:
        """Return the content of report.json. Raises InvalidInputError if it is missing or not a validation report."""
        return read_validation_report(self.report)


def read_validation_report(path: Path) -> ValidationReport:
    """Return the report that `validate` wrote to `path`.

    Raises InvalidInputError if the file is missing or not a validation report.
    """
    return read_record(path, ValidationReport, "a report of `validate`", "give report.json of a dataset folder")
