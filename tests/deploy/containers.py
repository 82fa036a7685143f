"""Runs the services of docker-compose.yaml without Docker, in namespaces of Linux (bubblewrap).

Each service gets what docker compose would give it: its command, environment, user, secrets, volumes, a read-only root
file system, no capabilities, and the addresses of the other services by name. The images are this machine's /usr with
/opt as the Dockerfile builds it. All services share one network, so networks and resource limits are not simulated.
Needs root and the Debian packages `bubblewrap`, `postgresql` and `redis-server`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.deploy.files import ROOT, ComposeFile, Service, dockerfile

POSTGRES = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
PROGRAMS = ("bwrap", "setpriv", "redis-server", "nsenter")
SYSTEM = [path for path in map(Path, ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc")) if path.exists()]


def missing_programs() -> list[str]:
    """Return what this machine lacks to run the services."""
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    return [*missing, *([] if POSTGRES else ["postgres"]), *([] if os.getuid() == 0 else ["root"])]


@dataclass
class Engine:
    """A set of running services. `folder` holds their volumes and logs, `images` the folder /opt of each image."""

    compose: ComposeFile
    folder: Path
    secrets: Path
    packages: Path
    """Folder with the environments: `venv`, and `ml` for the image `worker`."""
    dags: Path
    _network: int = 0
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __enter__(self) -> Engine:
        holder = subprocess.Popen(
            [
                "bwrap",
                "--die-with-parent",
                "--unshare-net",
                "--dev-bind",
                "/",
                "/",
                "sh",
                "-c",
                "echo $$; exec sleep 3600",
            ],
            stdout=subprocess.PIPE,
        )
        assert holder.stdout
        self._network = int(holder.stdout.readline())
        self._processes["network"] = holder
        names = ["localhost", *self.compose.services]
        hosts = "".join(f"127.0.0.{n} {name}\n" for n, name in enumerate(names, start=1))
        (self.folder / "hosts").write_text(hosts)
        entrypoint = (ROOT / "deploy/entrypoint.sh").read_text()
        files = {"entrypoint": entrypoint, "docker-entrypoint.sh": '#!/bin/sh\nexec "$@"\n', "airflow.cfg": ""}
        for name, text in files.items():
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(0o755)
        for volume in self.compose.volumes:
            (self.folder / volume).mkdir()
            (self.folder / volume).chmod(0o777)
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes.values()):
            process.terminate()
        for process in reversed(self._processes.values()):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()

    def start(self, name: str, **extra: str) -> None:
        """Start a service in the background. `extra` are further environment variables."""
        service = self.compose.services[name]
        command = self._postgres() if name == "postgres" else self.inside(name, self._command(service), **extra)
        with self.log(name).open("wb") as log:
            self._processes[name] = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def run(self, name: str) -> None:
        """Run a service to its end. Fails if the service fails."""
        self.start(name)
        code = self._processes.pop(name).wait(240)
        assert code == 0, f"{name}: exit code {code}\n{self.tail(name)}"

    def healthy(self, name: str) -> bool:
        """Return whether the health check of a service succeeds."""
        check = self.compose.services[name].healthcheck
        assert check
        kind, *test = check.test
        command = ["sh", "-c", *test] if kind == "CMD-SHELL" else test
        if name == "postgres":
            assert POSTGRES
            command = [str(POSTGRES / command[0]), *command[1:]]
            argv = [*self._enter(), "env", f"PGPASSWORD={(self.secrets / 'postgres_password').read_text()}", *command]
        else:
            argv = self.inside(name, command)
        done = subprocess.run(argv, capture_output=True, timeout=float(check.timeout.removesuffix("s")) * 3)
        (self.folder / f"{name}.health").write_bytes(done.stdout[-4000:] + done.stderr[-4000:])
        return done.returncode == 0

    def wait_until_healthy(self, name: str, timeout_s: float = 240) -> None:
        """Wait until the health check of a service succeeds."""
        deadline = time.monotonic() + timeout_s
        while not self.healthy(name):
            assert self._processes[name].poll() is None, f"{name} has ended\n{self.tail(name)}"
            health = (self.folder / f"{name}.health").read_text()
            assert time.monotonic() < deadline, f"{name} is not healthy: {health}\n{self.tail(name)}"
            time.sleep(2)

    def log(self, name: str) -> Path:
        """Return the log file of a service."""
        return self.folder / f"{name}.log"

    def url(self, name: str, port: int) -> str:
        """Return the address of a service for programs outside the containers."""
        return f"http://127.0.0.{list(self.compose.services).index(name) + 2}:{port}"

    def ask(self, code: str, *arguments: str) -> str:
        """Run Python code in this environment, but in the network of the services, and return what it prints."""
        argv = [*self._enter(), sys.executable, "-c", code, *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=240, cwd=ROOT)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    def tail(self, name: str) -> str:
        """Return the end of the log of a service."""
        return self.log(name).read_text(errors="replace")[-3000:]

    def inside(self, name: str, command: list[str], **extra: str) -> list[str]:
        """Return the command line that runs `command` in the container of a service."""
        service = self.compose.services[name]
        sandbox = [
            "bwrap",
            "--die-with-parent",
            "--unshare-pid",
            "--unshare-uts",
            "--hostname",
            name,
            "--cap-add",
            "ALL",
            "--clearenv",
        ]
        for variable in {**self._environment(service), **extra, "HOSTNAME": name}.items():
            sandbox += ["--setenv", *variable]
        sandbox += [*self._system(), *self._image(service), *self._volumes(service)]
        for target in service.tmpfs:
            path, _, mode = target.partition(":mode=")
            sandbox += ["--tmpfs", path, "--chmod", mode or "1777", path]
        if service.read_only:
            sandbox += ["--remount-ro", "/", "--remount-ro", "/usr/local/lib"]
        return [*self._enter(), *sandbox, "--chdir", "/tmp", *self._as_user(service), *command]

    def _environment(self, service: Service) -> dict[str, str]:
        if not service.build:
            return {"PATH": "/opt/bin:/usr/local/bin:/usr/bin:/bin", **service.environment}
        return {**dockerfile().environment(service.build.target), **service.environment}

    def _system(self) -> list[str]:
        """Return the mounts of the base image, for which the folders of this machine stand."""
        mounts = []
        for path in SYSTEM:
            mounts += ["--symlink", str(path.readlink())] if path.is_symlink() else ["--ro-bind", str(path)]
            mounts.append(str(path))
        mounts += ["--dev", "/dev", "--tmpfs", "/dev/shm", "--chmod", "1777", "/dev/shm", "--proc", "/proc"]
        mounts += ["--ro-bind", str(self.folder / "hosts"), "/etc/hosts", "--tmpfs", "/usr/local/lib"]
        # bwrap would make the missing parents of a file readable for root only.
        parents = ("/usr/local/lib/insurance-rag", "/opt", "/opt/airflow", "/opt/bin", "/run", "/run/secrets")
        return [*mounts, *(word for path in parents for word in ("--dir", path))]

    def _image(self, service: Service) -> list[str]:
        """Return the mounts of what the Dockerfile copies, or of a stub of the entry point of Postgres and Redis."""
        if service.build:
            mounts = {self.packages / "venv": "/opt/venv", self.dags: "/opt/airflow/dags"}
            mounts |= {ROOT / "plugins": "/opt/airflow/plugins"}
            mounts |= {ROOT / "deploy/health.py": "/usr/local/lib/insurance-rag/health.py"}
            mounts |= {self.folder / "entrypoint": "/entrypoint"}
            mounts |= {self.folder / "airflow.cfg": "/opt/airflow/airflow.cfg"}
            mounts |= {self.packages / "ml": "/opt/ml"} if service.build.target == "worker" else {}
        else:
            mounts = {self.folder / "docker-entrypoint.sh": "/opt/bin/docker-entrypoint.sh"}
        return [word for source, target in mounts.items() for word in ("--ro-bind", str(source), target)]

    def _volumes(self, service: Service) -> list[str]:
        """Return the mounts of the secrets and volumes."""
        mounts = []
        for secret in service.secrets:
            source = self.secrets.parent / self.compose.secrets[secret.source].file
            mounts += ["--ro-bind", str(source), f"/run/secrets/{secret.target}"]
        for volume in service.volumes:
            name, _, target = volume.removesuffix(":ro").rpartition(":")
            if name:
                mounts += ["--bind", str(ROOT / name if name.startswith(".") else self.folder / name), target]
            else:
                mounts += ["--tmpfs", target, "--chmod", "1777", target]
        return mounts

    def _as_user(self, service: Service) -> list[str]:
        """Return the command that gives up root and all capabilities. Services with other images do that themselves."""
        if not service.build:
            return []
        user = service.user.split(":")[0]
        drop = ["setpriv", "--reuid", user, "--regid", "0", "--clear-groups", "--no-new-privs"]
        return [*drop, "--inh-caps=-all", "--bounding-set=-all"]

    def _command(self, service: Service) -> list[str]:
        entrypoint = ["/entrypoint"] if service.build else []
        return [*(service.entrypoint or entrypoint), *service.command]

    def _enter(self) -> list[str]:
        return ["nsenter", f"--net=/proc/{self._network}/ns/net"]

    def _postgres(self) -> list[str]:
        """Initialize the database as the image's entry point does, and return the command line of the server."""
        assert POSTGRES
        data = self.folder / "postgres" / "data"
        shutil.copy(self.secrets / "postgres_password", self.folder / "password")
        for path in (self.folder / "postgres", self.folder / "password"):
            shutil.chown(path, "nobody")
        as_nobody = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]
        password = str(self.folder / "password")
        settings = ["--username", "airflow", "--pwfile", password, "--auth-host", "scram-sha-256", "--no-sync"]
        initialize = [*as_nobody, str(POSTGRES / "initdb"), *settings, str(data)]
        subprocess.run(initialize, check=True, capture_output=True)
        (data / "pg_hba.conf").write_text("local all all trust\nhost all all 127.0.0.0/8 scram-sha-256\n")
        single = [*as_nobody, str(POSTGRES / "postgres"), "--single", "-D", str(data), "postgres"]
        subprocess.run(single, input=b"CREATE DATABASE airflow;\n", check=True, capture_output=True)
        server = [str(POSTGRES / "postgres"), "-D", str(data), "-c", "listen_addresses=*", "-k", str(data)]
        return [*self._enter(), *as_nobody, *server]
