"""Reads the settings that a run was started with: the trigger form or request, the form's defaults, and the event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from airflow.sdk import Context
from pydantic import JsonValue

from insurance_rag.config import RunConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.orchestration.allowed_hosts import check_addresses
from insurance_rag.orchestration.assets import published_questions
from insurance_rag.orchestration.form_values import Settings, run_settings
from insurance_rag.orchestration.run_inputs import AssetEvents, event_settings


class Params(Protocol):
    """The part of Airflow's mapping of parameters that this module uses."""

    def dump(self) -> dict[str, JsonValue]:
        """Return the values of the parameters."""
        ...


def requested_config(
    params: Mapping[str, JsonValue], context: Context, events: AssetEvents | None, *, asks: bool = True
) -> RunConfig:
    """Return the configuration of the run. Raises an InvalidInputError that lists every invalid setting.

    Servers that are not allowed (`check_addresses`) are invalid, too.

    `params` are Airflow's parameters: the values of the untouched form, overridden by those of the trigger request.
    With `asks=False`, the run needs no evaluation questions.
    """
    given: Settings = dict(getattr(context["dag_run"], "conf", None) or {})
    defaults: Settings = {name: value for name, value in params.items() if name not in given}
    if "dag" in context:
        form: Params = context["dag"].params
        defaults |= form.dump()
    config = RunConfig.parse(run_settings(given, defaults, event_settings(events)), "parameters")
    check_addresses(config)
    return _with_published_questions(config) if asks else config


def _with_published_questions(config: RunConfig) -> RunConfig:
    """Replace `published` with the path of the published question set."""
    wanted = config.questions == "published" or (config.questions == "sample" and bool(config.documents))
    if not wanted or config.make_questions or config.dataset:
        return config
    published = published_questions()
    if published is None:
        raise InvalidInputError(
            "parameters: questions: no question set is published; start the DAG make_questions with these documents "
            "and approve its questions, or name a file, or set make_questions"
        )
    return config.model_copy(update={"questions": published.uri})
