"""A notifier that logs an alert and posts it to a webhook as `{"text": ...}`.

Slack, Mattermost and most other chat tools accept this format. Without a connection, alerts are only logged. The field
`host` of the connection contains the URL of the webhook. To keep the last segment of the URL secret, omit it from
`host` and enter it in the field `password`.

The notifier can be used wherever Airflow takes one:

    on_failure_callback=AlertNotifier()
    on_success_callback=AlertNotifier("{{ dag.dag_id }} published {{ ti.task_id }}", connection="team_chat")
    DeadlineAlert(..., callback=AsyncCallback(AlertNotifier, kwargs={"hours": 24}))
"""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook, BaseNotifier, Connection
from airflow.sdk.exceptions import AirflowNotFoundException, AirflowRuntimeError

from insurance_rag.orchestration.alert_texts import AlertContext, alert_text

if TYPE_CHECKING:
    from collections.abc import Generator

log = logging.getLogger(__name__)

TIMEOUT_S = 10


class AlertNotifier(BaseNotifier):
    """Logs and posts an alert about a failed task, a late run or a success. A failed delivery raises no error.

    Airflow calls it in the task process, in the DAG processor (for callbacks of DAGs), or in the triggerer (for
    deadlines).
    """

    template_fields: Sequence[str] = ("text", "connection")

    def __init__(
        self,
        text: str = "",
        connection: str = "",
        hours: float | None = None,
        context: AlertContext | None = None,
    ) -> None:
        """`text` replaces the text that fits the event (see `alert_texts.alert_text`); it is a Jinja template.

        `connection` is the Airflow connection of the webhook, by default $ALERT_CONNECTION when the alert is sent.
        `hours` is the length of the deadline, for the text about a late run. Airflow sets `context` for deadlines.
        """
        super().__init__(context)
        self.text = text
        self.connection = connection
        self.hours = hours

    def __call__(self, *args: object) -> None:
        """Send the alert. The templates are rendered in a copy, because one notifier serves many tasks."""
        BaseNotifier.__call__(copy.copy(self), *args)

    def __await__(self) -> Generator[object, None, None]:
        """Send the alert in the triggerer."""
        return BaseNotifier.__await__(copy.copy(self))

    def notify(self, context: AlertContext) -> None:
        """Log and post the alert."""
        import httpx

        text, connection = self._text(context), self._connection_id()
        if not connection:
            return
        try:
            url = _webhook(BaseHook.get_connection(connection))
            httpx.post(url, json={"text": text}, timeout=TIMEOUT_S).raise_for_status()
        except (httpx.HTTPError, httpx.InvalidURL, AirflowNotFoundException, AirflowRuntimeError) as e:
            _log_undelivered(connection, e)

    async def async_notify(self, context: AlertContext) -> None:
        """Log and post the alert without blocking the triggerer."""
        import httpx

        text, connection = self._text(context), self._connection_id()
        if not connection:
            return
        try:
            url = _webhook(await BaseHook.aget_connection(connection))
            async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
                (await client.post(url, json={"text": text})).raise_for_status()
        except (httpx.HTTPError, httpx.InvalidURL, AirflowNotFoundException, AirflowRuntimeError) as e:
            _log_undelivered(connection, e)

    def _text(self, context: AlertContext) -> str:
        """Log and return the text of the alert."""
        text = str(self.text) or alert_text(context, self.hours)
        failed = "deadline" in context or context.get("exception") is not None or text.startswith("failed:")
        log.log(logging.ERROR if failed else logging.INFO, "%s", text)
        return text

    def _connection_id(self) -> str:
        return self.connection or os.environ.get("ALERT_CONNECTION", "")


def _webhook(connection: Connection) -> str:
    host, token = str(connection.host or "").rstrip("/"), connection.password
    return f"{host}/{token}" if token else host


def _log_undelivered(connection_id: str, error: Exception) -> None:
    """Log only the type of the error, because its text can contain the secret URL."""
    log.warning("the alert could not be posted to connection %s: %s", connection_id, type(error).__name__)
