"""Ask a Gemini server which models it has. These requests use no quota."""

from __future__ import annotations

from collections.abc import Iterator

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.llm.client import Client
from insurance_rag.llm.gemini import read_error
from insurance_rag.llm.json_values import as_dict, as_list, as_text

MAX_NAMED_MODELS = 10
"""Maximum number of available models that an error message names."""
MODELS_PATH = "/v1beta/models"


def check_model(client: Client, model: str) -> None:
    """Check that the server has the model.

    Raises an InvalidInputError that names available models if the server does not have it, ServerUnavailableError if
    the server does not answer, and KeyRejectedError if it rejects the key. For other errors, see `Client.error`.
    """
    # Retired models, whose successors answer for them, and aliases are missing in the list, so the model is requested.
    response = client.request("GET", f"{MODELS_PATH}/{model}")
    if response.status == 200:
        return
    if response.status != 404:
        raise read_error(client, response)
    available = list(available_models(client))
    named = ", ".join(available[:MAX_NAMED_MODELS]) + (", ..." if len(available) > MAX_NAMED_MODELS else "")
    raise InvalidInputError(
        f"generation.model: {client.base_url} has no model {model!r} for this key; "
        + (f"available: {named}" if available else "check the name and the base URL")
    )


def available_models(client: Client) -> Iterator[str]:
    """Yield the names of the models that can generate content; nothing if the server does not list its models."""
    response = client.request("GET", f"{MODELS_PATH}?pageSize=1000")
    models = as_list(as_dict(response.body).get("models")) if response.status == 200 else []
    for entry in map(as_dict, models):
        if "generateContent" in as_list(entry.get("supportedGenerationMethods")):
            yield as_text(entry.get("name")).removeprefix("models/")
