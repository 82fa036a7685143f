"""Runs Postgres, Redis and an S3 server as processes of this machine, with all their files in one folder.

Used by the distributed tests and by check_postgres.py. Requires Debian's packages `postgresql` and `redis-server`
(`bash tools/debian.sh postgresql redis-server`), or $PGBIN with the path of the folder that contains the Postgres
programs. The servers listen on free ports of 127.0.0.1. If this process runs as root, Postgres and Redis run as the
user `nobody`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from demo.airflow_stack import free_port
from insurance_rag.core.locks import hold_lock

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 20
MOTO = "moto[server]==5.2.5"
"""The S3 server. It has an environment of its own, because its dependencies conflict with those of Airflow."""


Server = TypeVar("Server", bound="LocalServer")


class ServerStartError(Exception):
    """A server did not start. The message contains the end of its log."""


class LocalServer(ABC):
    """A server process that can be stopped, killed and started again with the same files and the same port."""

    name: str
    refuses_root = True
    """Whether the server does not run as root."""

    def __init__(self, folder: Path) -> None:
        """Prepare a server that keeps its files in `folder`, which must not exist yet."""
        self.folder = folder
        self.port = free_port()
        self.user = "nobody" if self.refuses_root and os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        if self.user:
            shutil.chown(folder, self.user)

    @property
    @abstractmethod
    def url(self) -> str:
        """URL that Airflow uses to reach the server."""

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command line of the server."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Return whether the server answers."""

    def start(self) -> None:
        """Start the server and wait until it answers. Raises ServerStartError if it does not."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), user=self.user, cwd=self.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                start_new_session=True, env={**os.environ, "HOME": str(self.folder)},
            )  # fmt: skip
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                lines = (self.folder / "log").read_text(errors="replace").splitlines()[-15:]
                raise ServerStartError("\n".join([f"{self.name} did not start; the end of its log:", *lines]))
            time.sleep(0.1)

    def stop(self) -> None:
        """Ask the server to end, and kill it if it does not."""
        self._end(signal.SIGINT)  # Postgres then ends without waiting for its clients

    def kill(self) -> None:
        """Kill the server and its child processes, like a machine that loses power."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        for signal_number in (number, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal_number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_TIMEOUT_S)
                break
        self._process = None

    def run(self, *command: str) -> bool:
        """Run a command as the server's user. Return whether it succeeded."""
        done = subprocess.run(command, user=self.user, cwd=self.folder, capture_output=True)
        return done.returncode == 0


class Postgres(LocalServer):
    """A Postgres server with one database, `airflow`, and no password."""

    name = "Postgres"

    def __init__(self, folder: Path) -> None:
        """Create the database files."""
        super().__init__(folder)
        command = [_program("initdb"), "-D", str(self._data), "-U", "airflow", "-A", "trust", "--no-sync"]
        subprocess.run(command, check=True, user=self.user, cwd=self.folder, stdout=subprocess.DEVNULL)

    @property
    def url(self) -> str:
        """URL of the database, for SQLAlchemy."""
        return f"postgresql+psycopg2://airflow@127.0.0.1:{self.port}/airflow"

    def command(self) -> list[str]:
        """Return the command line of the server."""
        options = ["-p", str(self.port), "-k", str(self.folder), "-h", "127.0.0.1", "-c", "max_connections=200"]
        return [_program("postgres"), "-D", str(self._data), *options]

    def is_ready(self) -> bool:
        """Return whether the database exists. The first call that reaches the server creates it."""
        address = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "airflow"]
        if not self.run(_program("pg_isready"), *address):
            return False
        return self.run(_program("psql"), *address, "-c", "", "airflow") or self.run(
            _program("createdb"), *address, "airflow"
        )

    @property
    def _data(self) -> Path:
        return self.folder / "data"


class Redis(LocalServer):
    """A Redis server that writes every change to an append-only file, so that a restart loses at most one second."""

    name = "Redis"

    @property
    def url(self) -> str:
        """URL of the first database, for Celery."""
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        """Return the command line of the server."""
        files = ["--dir", str(self.folder), "--appendonly", "yes", "--save", ""]
        return ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), *files]

    def is_ready(self) -> bool:
        """Return whether the server answers."""
        return b"PONG" in subprocess.run(["redis-cli", "-p", str(self.port), "ping"], capture_output=True).stdout


class S3(LocalServer):
    """The S3 server of moto. It keeps its objects in memory, so they are lost when it ends."""

    name = "S3"
    refuses_root = False  # the user `nobody` cannot enter the cache folder of root

    @property
    def url(self) -> str:
        """URL of the server, for $AWS_ENDPOINT_URL."""
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        """Return the command line of the server."""
        return [str(moto_server()), "-H", "127.0.0.1", "-p", str(self.port)]

    def is_ready(self) -> bool:
        """Return whether the server answers."""
        import httpx

        try:
            return httpx.get(f"{self.url}/moto-api/", timeout=2).is_success
        except httpx.HTTPError:
            return False


@contextlib.contextmanager
def running(kind: Callable[[Path], Server], folder: Path) -> Iterator[Server]:
    """Run a server with its files in `folder` during a `with` block, and kill it at the end."""
    server = kind(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def moto_server() -> Path:
    """Return the program of moto's S3 server. Its environment is made once and kept in the user's cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "insurance-rag" / MOTO.replace("[", "-").replace("]", "")
    with hold_lock(folder.with_suffix(".lock"), "the environment of moto", wait_s=120):
        if not (folder / "complete").exists():
            uv = [sys.executable, "-m", "uv"]
            subprocess.run([*uv, "venv", "--quiet", "--clear", str(folder)], check=True)
            install = ["pip", "install", "--quiet", "--compile-bytecode", "--python", str(folder), MOTO]
            subprocess.run([*uv, *install], check=True)
            (folder / "complete").touch()
    return folder / "bin" / "moto_server"


def missing_programs() -> list[str]:
    """Return the names of the Debian packages that are needed and not installed."""
    needed = {"postgresql": _postgres_programs() is not None, "redis-server": shutil.which("redis-server") is not None}
    return [package for package, installed in needed.items() if not installed]


def _program(name: str) -> str:
    folder = _postgres_programs()
    if folder is None:
        raise ServerStartError(
            "Postgres is not installed; run `bash tools/debian.sh postgresql`, or set PGBIN to its program folder"
        )
    return str(folder / name)


def _postgres_programs() -> Path | None:
    """Return $PGBIN, or else the program folder of the newest installed Postgres, or None."""
    if "PGBIN" in os.environ:
        return Path(os.environ["PGBIN"])
    found = Path("/usr/lib/postgresql").glob("*/bin")
    return max(found, key=lambda folder: int(folder.parent.name), default=None)
