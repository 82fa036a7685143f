"""The `gemini` connection type. The password is the API key. Extra fields hold the quota of the key's project.

Airflow's own Google connection (`google_cloud_platform`) may hold the key too: as the password or in the extra field
`api_key`, with the same extra fields for the quota. Its field *Project Id* is the project whose quota the key shares.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import httpx
from airflow.sdk import BaseHook
from airflow.sdk.log import mask_secret
from pydantic import ValidationError

from insurance_rag.config import GenerationConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.records import ApiKey
from insurance_rag.llm.catalog import retirement_warning
from insurance_rag.llm.gemini import BASE_URL

if TYPE_CHECKING:
    from airflow.sdk import Connection

QUOTA_FIELDS = ("project", "rpm", "tpm", "rpd")
GOOGLE_TYPE = "google_cloud_platform"
KEY_TYPES = ("gemini", GOOGLE_TYPE, "generic")
"""Types of connections that may hold an API key. The password of another one, such as a database, is never sent."""
OTHER_CREDENTIALS = ("key_path", "keyfile_dict", "key_secret_name", "credential_config_file")
"""Extra fields of a Google connection with credentials of a service account, which Gemini's API does not accept."""


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
        secret = self._secret(connection)
        mask_secret(secret)
        mask_secret(secret.strip())
        quota = {name: _extra(connection, name) or None for name in QUOTA_FIELDS}
        try:
            key = ApiKey.model_validate({"id": self.gemini_conn_id, "key": secret, **quota})
        except ValidationError as e:
            problems = [
                f"connection {self.gemini_conn_id}: {x['loc'][0]}: {x['msg'].removeprefix('Value error, ')}; edit the "
                "connection (Admin > Connections)"
                for x in e.errors()
            ]
            raise InvalidInputError(problems) from None
        return key, connection.host or None

    def _secret(self, connection: Connection) -> str:
        """Return the API key of a connection. Raises InvalidInputError if it has none, or is of another type."""
        where = f"connection {self.gemini_conn_id}"
        if connection.conn_type not in KEY_TYPES:
            raise InvalidInputError(
                f"{where}: its type is {connection.conn_type!r}, so its password is no API key; give a connection of "
                f"type {' or '.join(KEY_TYPES[:2])}"
            )
        in_extra = _extra(connection, "api_key") if connection.conn_type == GOOGLE_TYPE else None
        secret = connection.password or in_extra
        if secret:
            return str(secret)
        if any(_extra(connection, name) for name in OTHER_CREDENTIALS):
            raise InvalidInputError(
                f"{where}: it has a service account, but Gemini's API needs an API key; add the key as the extra field "
                "`api_key`, or as the field `password`"
            )
        raise InvalidInputError(f"{where}: no API key; put it into the field `password`")

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


def _extra(connection: Connection, name: str) -> object:
    """Return an extra field. In Google connections of older releases, its name begins with the type."""
    fields = connection.extra_dejson
    return fields.get(name, fields.get(f"extra__{GOOGLE_TYPE}__{name}"))


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
