"""Run all checks before the base model is loaded, and report every problem at once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from insurance_rag.config import TrainingConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.records import MemoryPlan, TrainingRow
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.models import devices
from insurance_rag.models.base_model import load_model_config
from insurance_rag.models.tokenizer import load_training_tokenizer
from insurance_rag.training import checks
from insurance_rag.training.dataset_rows import (
    heldout_documents,
    heldout_file,
    in_prompt_format,
    read_heldout_rows,
    read_rows,
    training_file,
)
from insurance_rag.training.encoding import EncodedRows, encode_rows
from insurance_rag.training.fingerprint import recipe_fingerprint, training_fingerprint
from insurance_rag.training.memory import plan_memory
from insurance_rag.training.memory_estimate import model_shape

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class PreparedTraining:
    """A training run that has passed all checks, with its encoded rows and memory plan."""

    config: TrainingConfig
    plan: MemoryPlan
    device: devices.Device
    tokenizer: PreTrainedTokenizerBase
    rows: EncodedRows
    heldout: EncodedRows
    dataset: Path
    """File with the training rows."""
    heldout_documents: list[str] | None
    """Documents held out from training; None if the dataset has no report."""
    base_model: str
    revision: str | None
    """Commit of the base model on the Hugging Face Hub; None for a local folder."""
    fingerprint: str
    recipe_fingerprint: str


class _Problems:
    """Collects the problems that several checks find."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def attempt(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Return the function's result. On InvalidInputError, record the problems in the error and return None."""
        try:
            return function(*args, **kwargs)
        except InvalidInputError as e:
            self.messages += e.problems
            return None

    def raise_if_any(self) -> None:
        """Raise InvalidInputError with all recorded problems, if there are any."""
        if self.messages:
            raise InvalidInputError(self.messages)


@dataclass(frozen=True)
class _Data:
    """The training and held-out files, and the rows that they contain."""

    path: Path
    rows: list[TrainingRow]
    heldout_path: Path | None
    heldout: list[TrainingRow]
    heldout_documents: list[str] | None


def prepare_training(
    config: TrainingConfig, dataset: Path, base_model: str, out: Path, heldout: Path | None = None
) -> PreparedTraining:
    """Read and encode the rows, run all checks, and plan the memory.

    Raises an InvalidInputError that lists all problems with the data, base model, device, disk and settings.
    """
    problems = _Problems()
    data = _read_data(config, dataset, heldout, problems)
    model_config = problems.attempt(load_model_config, base_model, config.base_revision)
    revision: str | None = getattr(model_config, "_commit_hash", None)
    tokenizer = problems.attempt(load_training_tokenizer, base_model, revision) if model_config else None
    device = devices.find_device()
    problems.messages += checks.device_problems(config, device) + checks.package_problems(config)
    if config.early_stopping_patience and not (data.heldout and config.eval_steps):
        problems.messages.append(
            "early_stopping_patience needs held-out rows and eval_steps; run `validate` with --questions, "
            "or remove the setting"
        )
    problems.attempt(RunFolder(out).create)
    rows = heldout_rows = EncodedRows()
    if data.rows and tokenizer and model_config:
        rows, heldout_rows = _encode(data, tokenizer, config)
        problems.messages += checks.row_problems(rows, len(data.rows), config, model_config, data.path)
    problems.raise_if_any()
    assert model_config is not None and tokenizer is not None  # otherwise raise_if_any has raised
    plan = _plan(config, model_config, rows, device, out)
    identity = (config, [data.path, data.heldout_path], base_model, revision)
    return PreparedTraining(
        config, plan, device, tokenizer, rows, heldout_rows, data.path, data.heldout_documents, base_model, revision,
        training_fingerprint(*identity), recipe_fingerprint(*identity),
    )  # fmt: skip


def _read_data(config: TrainingConfig, dataset: Path, heldout: Path | None, problems: _Problems) -> _Data:
    path = training_file(dataset, config.prompt_format)
    heldout_path = heldout or heldout_file(dataset)
    return _Data(
        path,
        problems.attempt(read_rows, path) or [],
        heldout_path,
        (problems.attempt(read_heldout_rows, heldout_path) if heldout_path else None) or [],
        problems.attempt(heldout_documents, dataset),
    )


def _encode(data: _Data, tokenizer: PreTrainedTokenizerBase, config: TrainingConfig) -> tuple[EncodedRows, EncodedRows]:
    """Return the encoded training rows, and the encoded held-out rows in the recipe's prompt format."""
    heldout = [in_prompt_format(row, config.prompt_format) for row in data.heldout[: config.eval_rows]]
    return encode_rows(data.rows, tokenizer, config), encode_rows(heldout, tokenizer, config)


def _plan(
    config: TrainingConfig, model_config: PretrainedConfig, rows: EncodedRows, device: devices.Device, out: Path
) -> MemoryPlan:
    """Plan the memory. Raises InvalidInputError if there is not enough memory or disk space."""
    shape = model_shape(model_config, config.lora.target_modules)
    plan = plan_memory(config, shape, rows.lengths, device)
    if problems := [*checks.memory_problems(plan, device), *checks.disk_problems(config, shape, out)]:
        raise InvalidInputError(problems)
    return plan
