"""The `gemini` connection type. The password is the API key. Extra fields hold the quota of the key's project."""

from __future__ import annotations

import os
from collections.abc import Sequence

import httpx
from airflow.sdk import BaseHook
from airflow.sdk.log import mask_secret
from pydantic import ValidationError

from insurance_rag.config import GenerationConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.records import ApiKey
from insurance_rag.llm.catalog import retirement_warning
from insurance_rag.llm.gemini import BASE_URL

QUOTA_FIELDS = ("project", "rpm", "tpm", "rpd")


class GeminiHook(BaseHook):
    """Reads an API key from a connection. Airflow tests the connection with `test_connection`."""

    conn_name_attr = "gemini_conn_id"
    default_conn_name = "gemini_default"
    conn_type = "gemini"
    hook_name = "Gemini API key"

    def __init__(self, gemini_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.gemini_conn_id = gemini_conn_id

    def get_conn(self) -> tuple[ApiKey, str | None]:
        """Return the API key and the server address (None for the default server). Also mask the key in logs.

        Raises an InvalidInputError that lists everything missing or wrong in the connection.
        """
        connection = self.get_connection(self.gemini_conn_id)
        if not connection.password:
            raise InvalidInputError(f"connection {self.gemini_conn_id}: no API key; put it into the field `password`")
        mask_secret(connection.password)
        mask_secret(connection.password.strip())
        quota = {name: connection.extra_dejson.get(name) or None for name in QUOTA_FIELDS}
        try:
            key = ApiKey.model_validate({"id": self.gemini_conn_id, "key": connection.password, **quota})
        except ValidationError as e:
            problems = [
                f"connection {self.gemini_conn_id}: {x['loc'][0]}: {x['msg'].removeprefix('Value error, ')}; edit the "
                "connection (Admin > Connections)"
                for x in e.errors()
            ]
            raise InvalidInputError(problems) from None
        return key, connection.host or None

    def test_connection(self) -> tuple[bool, str]:
        """Return whether the key works, and a message. Requests only the model's description, which uses no quota."""
        key, host = self.get_conn()
        url = server_url(host)
        model = self._test_model()
        headers = {"x-goog-api-key": key.key.get_secret_value()}
        try:
            response = httpx.get(f"{url}/v1beta/models/{model}", headers=headers, timeout=15)
        except httpx.HTTPError as e:
            return False, f"{url} cannot be reached ({type(e).__name__}); check the base URL and the network"
        if response.is_success:
            warning = retirement_warning(model)
            return True, f"The key works and may use {model}." + (f" Warning: {warning}." if warning else "")
        return False, f"The server answered {response.status_code}: {_server_message(response)}"

    def _test_model(self) -> str:
        """Return the model for the connection test: the connection's own, else $GEMINI_MODEL, else the default."""
        own = self.get_connection(self.gemini_conn_id).extra_dejson.get("model")
        return own or os.environ.get("GEMINI_MODEL") or GenerationConfig().model


def server_url(host: str | None) -> str:
    """Return the address of a connection's server. Without a host, it is $GEMINI_BASE_URL, else Google's server."""
    return (host or os.environ.get("GEMINI_BASE_URL") or BASE_URL).rstrip("/")


def connection_keys(connection_ids: Sequence[str]) -> list[ApiKey]:
    """Return the API keys stored in these connections."""
    return [GeminiHook(connection_id).get_conn()[0] for connection_id in connection_ids]


def _server_message(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return response.text[:200]
