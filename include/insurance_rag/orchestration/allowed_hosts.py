"""Restricts the servers to which a run may send API keys and documents.

Whoever may trigger a DAG may set the address of the teacher, the judge and the embedding server. Without a restriction,
such a user could read the API keys of the connections, by sending them to a server of their own, and could reach
servers in the internal network.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from pydantic import JsonValue

from insurance_rag.config import RunConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.llm.gemini import BASE_URL

VARIABLE = "ALLOWED_API_HOSTS"
"""Environment variable with further hosts, separated by commas, e.g. `llm.internal,10.0.0.7:8000,[fd00::7]:8000`.
Entries without a port allow every port of the host."""
ADDRESS_VARIABLES = ("GEMINI_BASE_URL", "OPENAI_BASE_URL")
Host = tuple[str, int | None]
"""Name and port of a server. IPv6 addresses are without brackets."""
_ADDRESS = re.compile(r"(?:^|@)(\w+://.*)$", re.DOTALL)


def check_addresses(config: RunConfig) -> None:
    """Raise an InvalidInputError that lists every server address of a run whose host is not allowed.

    Allowed are the hosts in $ALLOWED_API_HOSTS, those of $GEMINI_BASE_URL and $OPENAI_BASE_URL, Google's server, and
    this machine. The address in a connection is not restricted, because only administrators may edit connections.
    """
    values: dict[str, JsonValue] = config.model_dump(mode="json", include={"generation", "evaluation"})
    problems = [
        f"parameters: {name}: API keys and texts may not be sent to {_show(host) or url!r}; put the address into the "
        f"connection, or add the host to {VARIABLE} in the environment of Airflow"
        for name, url in _addresses(values, "")
        if not _is_allowed(host := _host(url))
    ]
    if problems:
        raise InvalidInputError(problems)


def _addresses(value: JsonValue, name: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the address of every setting that has an address, such as URL or MODEL@URL."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _addresses(inner, f"{name}.{key}".lstrip("."))
    elif isinstance(value, str) and (found := _ADDRESS.search(value.strip())):
        yield name, found[1]


def _host(url: str) -> Host:
    """Return the host's name and its port; an empty name if the address has none."""
    try:
        parts = urlsplit(url)
        return parts.hostname or "", parts.port
    except ValueError:
        return "", None


def _show(host: Host) -> str:
    name, port = host
    shown = f"[{name}]" if ":" in name else name
    return f"{shown}:{port}" if name and port else shown


def _is_allowed(host: Host) -> bool:
    name = host[0]
    own = [os.environ.get(variable, "") for variable in ADDRESS_VARIABLES]
    configured = {_host(f"//{entry.strip()}") for entry in os.environ.get(VARIABLE, "").split(",")}
    known = {_host(url) for url in (BASE_URL, *own)}
    return bool(name) and (host in known or bool({host, (name, None)} & configured) or _is_this_machine(name))


def _is_this_machine(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
