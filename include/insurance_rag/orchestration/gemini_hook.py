"""The `gemini` connection: the password is the API key, the extra fields are its project's quota."""

from __future__ import annotations

import os
from typing import Any

from airflow.sdk import BaseHook
from airflow.sdk.log import mask_secret
from pydantic import ValidationError

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.records import ApiKey

QUOTA_FIELDS = ("project", "rpm", "tpm", "rpd")
GOOGLE = "https://generativelanguage.googleapis.com"


class GeminiHook(BaseHook):
    """Reads one key; `airflow connections test` and the UI's Test button call `test_connection`."""

    conn_name_attr = "gemini_conn_id"
    default_conn_name = "gemini_default"
    conn_type = "gemini"
    hook_name = "Gemini API key"

    def __init__(self, gemini_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.gemini_conn_id = gemini_conn_id

    def get_conn(self) -> tuple[ApiKey, str | None]:
        """The key, masked in logs, and its server's address (None: the usual one); InvalidInputError says what is lacking."""
        connection = self.get_connection(self.gemini_conn_id)
        if not connection.password:
            raise InvalidInputError(f"connection {self.gemini_conn_id}: has no API key; put it into the password field")
        mask_secret(connection.password)
        mask_secret(connection.password.strip())
        quota = {name: connection.extra_dejson.get(name) or None for name in QUOTA_FIELDS}
        try:
            key = ApiKey.model_validate({"id": self.gemini_conn_id, "key": connection.password, **quota})
        except ValidationError as e:
            faults = [f"connection {self.gemini_conn_id}: {x['loc'][0]}: {x['msg']}" for x in e.errors()]
            raise InvalidInputError(faults) from None
        return key, connection.host or None

    def test_connection(self) -> tuple[bool, str]:
        """Ask the server for the model's card: costs no quota, and tells a bad key from a bad address."""
        import httpx

        key, host = self.get_conn()
        url = (host or os.environ.get("GEMINI_BASE_URL") or GOOGLE).rstrip("/")
        model = self.get_connection(self.gemini_conn_id).extra_dejson.get("model") or "gemini-2.5-flash"
        headers = {"x-goog-api-key": key.key.get_secret_value()}
        try:
            answer = httpx.get(f"{url}/v1beta/models/{model}", headers=headers, timeout=15)
        except httpx.HTTPError as e:
            return False, f"{url} cannot be reached: {type(e).__name__}"
        if answer.is_success:
            return True, f"The key works and may use {model}."
        return False, f"The server answered {answer.status_code}: {_server_message(answer)}"


def _server_message(answer: Any) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return str(answer.text[:200])
