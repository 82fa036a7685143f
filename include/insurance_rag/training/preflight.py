"""Run all checks before the base model is loaded, and report every problem at once."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from insurance_rag.config import TrainingConfig
from insurance_rag.core.artifact_store.locations import public_text, public_uri
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.hashing import sha256_file
from insurance_rag.core.prompt_templates import PROMPT_FORMATS
from insurance_rag.core.records import HeldOut, ReplayData, TrainingPair, TrainingRow
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.models import devices
from insurance_rag.models.base_model import load_model_config
from insurance_rag.models.linear_layers import linear_layers
from insurance_rag.models.tokenizer import load_training_tokenizer
from insurance_rag.training import checks
from insurance_rag.training.dataset_rows import (
    held_out,
    heldout_file,
    read_heldout_rows,
    read_rows,
    training_file,
)
from insurance_rag.training.encoders import prompt_encoder
from insurance_rag.training.encoding import EncodedPairs, EncodedRows, encode_rows
from insurance_rag.training.fingerprint import recipe_fingerprint, training_fingerprint
from insurance_rag.training.init_adapter import check_init_adapter, init_recipe, init_weights
from insurance_rag.training.memory import plan_memory
from insurance_rag.training.memory_advice import fitting_settings
from insurance_rag.training.memory_estimate import model_shape
from insurance_rag.training.preference_encoding import encode_pairs
from insurance_rag.training.preference_rows import (
    heldout_preference_file,
    preference_file,
    read_heldout_pairs,
    read_pairs,
)
from insurance_rag.training.replay import add_replay, read_replay, replay_file
from insurance_rag.training.target_modules import target_problems
from insurance_rag.training.training_plan import TrainingPlan

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class PreparedTraining:
    """A training run that has passed all checks, with its encoded rows and memory plan."""

    config: TrainingConfig
    plan: TrainingPlan
    device: devices.Device
    tokenizer: PreTrainedTokenizerBase
    rows: EncodedRows | EncodedPairs
    """Rows of the dataset, and after them those of the general dataset."""
    heldout: EncodedRows | EncodedPairs
    dataset: Path
    """File with the training rows."""
    replay: ReplayData | None
    """The general dataset, if a share of the rows comes from it."""
    held_out: HeldOut | None
    """What was held out from training; None if the dataset has no report."""
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
    """The training and held-out files, and the rows that they contain. With the objectives dpo and orpo, rows are
    pairs."""

    path: Path
    rows: Sequence[TrainingRow | TrainingPair]
    heldout_path: Path | None
    heldout: Sequence[TrainingRow | TrainingPair]
    held_out: HeldOut | None
    replay: Sequence[TrainingRow] = ()
    """Rows of the general dataset."""


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
    tokenizer = problems.attempt(_load_tokenizer, base_model, revision, config) if model_config else None
    device = devices.find_device()
    problems.messages += checks.device_problems(config, device) + checks.package_problems(config)
    if config.objective != "sft" and config.early_stopping_metric != "eval_loss":
        problems.messages.append(
            f"early_stopping_metric={config.early_stopping_metric} is only measured with objective=sft; use eval_loss"
        )
    if config.early_stopping_patience and not (data.heldout and config.eval_steps):
        problems.messages.append(
            "early_stopping_patience needs held-out rows and eval_steps; run `validate` with --questions, "
            "or remove the setting"
        )
    problems.attempt(RunFolder(out).create)
    rows: EncodedRows | EncodedPairs = EncodedRows()
    heldout_rows: EncodedRows | EncodedPairs = EncodedRows()
    if data.rows and tokenizer and model_config:
        encoded = problems.attempt(_encode, data, tokenizer, config)
        if encoded:
            rows, heldout_rows = encoded
            problems.messages += checks.row_problems(rows, len(data.rows), config, model_config, data.path)
    n_dataset_rows = len(rows.rows)
    if data.replay and tokenizer and isinstance(rows, EncodedRows):
        rows = problems.attempt(add_replay, rows, data.replay, tokenizer, config) or rows
    if model_config and (layers := problems.attempt(linear_layers, model_config)):
        problems.messages += target_problems(layers, config.lora.target_modules)
        problems.attempt(check_init_adapter, config, base_model, revision, layers)
    problems.raise_if_any()
    checks.warn_about_short_run(config, len(rows.rows))
    assert model_config is not None and tokenizer is not None  # otherwise raise_if_any has raised
    plan = _plan(config, model_config, rows, device, out)
    files = [data.path, data.heldout_path, *replay_file(config)]
    return PreparedTraining(
        config, plan, device, tokenizer, rows, heldout_rows, data.path,
        _describe_replay(config, len(rows.rows) - n_dataset_rows), data.held_out, base_model, revision,
        training_fingerprint(config, [*files, *init_weights(config)], base_model, revision),
        recipe_fingerprint(config, files, public_text(base_model), revision, init_recipe(config)),
    )  # fmt: skip


def _describe_replay(config: TrainingConfig, rows: int) -> ReplayData | None:
    """Return the record of the general dataset, of which `rows` rows are used. None if the recipe names none."""
    found = (ReplayData(uri=public_uri(path), sha256=sha256_file(path), rows=rows) for path in replay_file(config))
    return next(found, None)


def _load_tokenizer(base_model: str, revision: str | None, config: TrainingConfig) -> PreTrainedTokenizerBase:
    """Load the tokenizer. Raises InvalidInputError if it cannot encode the recipe's prompt format."""
    tokenizer = load_training_tokenizer(base_model, revision)
    prompt_encoder(tokenizer, config)
    return tokenizer


def _read_data(config: TrainingConfig, dataset: Path, heldout: Path | None, problems: _Problems) -> _Data:
    form = PROMPT_FORMATS[config.prompt_format]
    if config.objective != "sft":
        path, heldout_path = preference_file(dataset), heldout or heldout_preference_file(dataset)
        prompt = form.prompt if form.chat else None
        return _Data(
            path,
            problems.attempt(read_pairs, path, prompt) or [],
            heldout_path,
            (problems.attempt(read_heldout_pairs, heldout_path, prompt) if heldout_path else None) or [],
            problems.attempt(held_out, dataset),
        )
    path = training_file(dataset, config.prompt_format)
    heldout_path = heldout or heldout_file(dataset, config.prompt_format)
    rows = problems.attempt(read_rows, path, chat=form.chat) or []
    return _Data(
        path,
        rows,
        heldout_path,
        (problems.attempt(read_heldout_rows, heldout_path, chat=form.chat) if heldout_path else None) or [],
        problems.attempt(held_out, dataset),
        problems.attempt(read_replay, config, rows, path) or [],
    )


def _encode(
    data: _Data, tokenizer: PreTrainedTokenizerBase, config: TrainingConfig
) -> tuple[EncodedRows | EncodedPairs, EncodedRows | EncodedPairs]:
    """Return the encoded training rows, and `eval_rows` encoded held-out rows from all parts of their file."""
    heldout = data.heldout[:: max(1, len(data.heldout) // config.eval_rows)][: config.eval_rows]

    def encode(rows: Sequence[TrainingRow | TrainingPair]) -> EncodedRows | EncodedPairs:
        if config.objective == "sft":
            return encode_rows([row for row in rows if isinstance(row, TrainingRow)], tokenizer, config)
        return encode_pairs([row for row in rows if isinstance(row, TrainingPair)], tokenizer, config)

    return encode(data.rows), encode(heldout)


def _plan(
    config: TrainingConfig,
    model_config: PretrainedConfig,
    rows: EncodedRows | EncodedPairs,
    device: devices.Device,
    out: Path,
) -> TrainingPlan:
    """Plan the memory. Raises InvalidInputError if there is not enough memory or disk space."""
    shape = model_shape(model_config, config.lora.target_modules)
    plan = plan_memory(config, shape, rows.lengths, device)
    advice = functools.partial(fitting_settings, config, shape, rows.lengths, device)
    if problems := [*checks.memory_problems(plan, device, advice), *checks.disk_problems(config, shape, out)]:
        raise InvalidInputError(problems)
    return plan
