"""Files that stages hand to each other: one layout, atomic writes, manifests that are written last.

A reader trusts only what a manifest names; a file without one is work in progress. Every write goes to a temporary
name beside its target and is renamed, so that a kill at any line leaves either the old file or the new one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from insurance_rag.errors import WrongInput


@dataclass(frozen=True)
class RunFolder:
    """The layout of one run; the only place that knows these names."""

    root: Path

    @property
    def plan(self) -> Path:
        return self.root / "plan.json"

    @property
    def chunks(self) -> Path:
        """The run's own copy of its input, so that a resumed run reads what the plan was made from."""
        return self.root / "chunked_data.jsonl"

    @property
    def parts(self) -> Path:
        return self.root / "parts"

    @property
    def journal(self) -> Path:
        """Folder of the append-only journals, one a shard."""
        return self.parts / "journal"

    @property
    def pace(self) -> Path:
        """Events of the rate limiter, shared by the shards' workers."""
        return self.parts / "pace.jsonl"

    @property
    def books(self) -> Path:
        return self.parts / "books.json"

    def part(self, shard: int) -> Path:
        return self.parts / f"dataset_part_{shard}.json"

    def lock(self, shard: int) -> Path:
        return self.parts / f"shard_{shard}.lock"

    @property
    def dataset(self) -> Path:
        return self.root / "dataset"

    @property
    def base_model(self) -> Path:
        return self.root / "base_model"

    @property
    def adapters(self) -> Path:
        return self.root / "adapters"

    def adapter(self, version: str) -> Path:
        """`adapters/llama-3-ko-insurance-lora` for v1, `...-lora-v2` for v2, and so on."""
        suffix = "" if version == "v1" else f"-{version}"
        return self.adapters / f"llama-3-ko-insurance-lora{suffix}"

    @property
    def config(self) -> Path:
        """The run's configuration as it was checked; a cleared task reads the same values again."""
        return self.root / "config.json"

    @property
    def evaluation(self) -> Path:
        return self.root / "evaluation"

    @property
    def progress(self) -> Path:
        return self.root / "progress"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    def create(self) -> RunFolder:
        """Make the folder and prove that it can be written before any costly work starts."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as e:
            raise WrongInput(
                f"{self.root}: the run folder cannot be written ({e.strerror}); choose another or mend its permissions"
            ) from e
        return self


@contextlib.contextmanager
def atomic_write(path: Path, mode: str = "w", durable: bool = True) -> Iterator[IO[Any]]:
    """Open a temporary file beside `path`; on success flush, fsync and rename it over `path`, else remove it.

    Not `durable` leaves the fsync out, for what is worthless after a power cut and must not make anyone wait.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(fd, mode, encoding=None if "b" in mode else "utf-8") as f:
            yield f
            f.flush()
            if durable:
                os.fsync(f.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise


def write_json(path: Path, value: Any, durable: bool = True) -> None:
    """Write one JSON document, atomically, Korean left readable."""
    with atomic_write(path, durable=durable) as f:
        json.dump(value, f, ensure_ascii=False, indent=1)
        f.write("\n")


def write_jsonl(path: Path, rows: Iterable[Any]) -> int:
    """Write one JSON object a line, atomically; returns the number of rows."""
    n = 0
    with atomic_write(path) as f:
        for row in rows:
            f.write(json.dumps(row, ensure_ascii=False) + "\n")
            n += 1
    return n


def read_json(path: Path) -> Any:
    """Read one JSON document; WrongInput names the file, line and column of a fault."""
    try:
        return json.loads(path.read_bytes())
    except OSError as e:
        raise WrongInput(f"{path}: cannot be read ({e.strerror})") from e
    except UnicodeDecodeError as e:
        raise WrongInput(f"{path}: byte {e.start} is not UTF-8") from e
    except json.JSONDecodeError as e:
        raise WrongInput(f"{path}:{e.lineno}: not JSON ({e.msg}, column {e.colno})") from e
    except RecursionError as e:
        raise WrongInput(f"{path}: nested too deeply to be read") from e


def parse_jsonl(path: Path) -> tuple[list[tuple[int, Any]], list[str]]:
    """Every readable row of a JSON-lines file with its line number, and one message for every unreadable line."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as e:
        raise WrongInput(f"{path}: cannot be read ({e.strerror})") from e
    rows, problems = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            rows.append((number, json.loads(line)))
        except UnicodeDecodeError as e:
            problems.append(f"{path}:{number}: not UTF-8 (byte {e.start} of the line); save the file as UTF-8")
        except json.JSONDecodeError as e:
            problems.append(f"{path}:{number}: not JSON ({e.msg}, column {e.colno}); one object a line is wanted")
        except RecursionError:
            problems.append(f"{path}:{number}: nested too deeply to be read")
    return rows, problems


def read_jsonl(path: Path) -> list[Any]:
    """Read JSON lines; blank lines are skipped, every unreadable line is listed in one WrongInput."""
    rows, problems = parse_jsonl(path)
    if problems:
        raise WrongInput(problems)
    return [row for _, row in rows]


def sha256_file(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def sha256_text(*parts: str) -> str:
    """Hash of several texts, unambiguous about where one ends."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()


def sha256_tree(folder: Path) -> str:
    """Hash of a folder: relative names and contents, in name order."""
    entries = [(p.relative_to(folder).as_posix(), sha256_file(p)) for p in sorted(folder.rglob("*")) if p.is_file()]
    return sha256_text(*(f"{name} {digest}" for name, digest in entries))


def model_identity(name: str) -> str:
    """Who a model or adapter is: the files of a local folder by name, size and time, else the name itself.

    Weights are not read for this: hashing 16 GB would cost more than answering a question.
    """
    folder = Path(name)
    if not folder.is_dir():
        return name
    config = sha256_file(folder / "config.json") if (folder / "config.json").exists() else ""
    files = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(folder.glob("*.safetensors"))]
    return sha256_text(config, str(files))


def artifact(path: Path, **facts: Any) -> dict[str, Any]:
    """What XCom carries of a file or folder: `{uri, sha256, **facts}`, never its content."""
    digest = sha256_tree(path) if path.is_dir() else sha256_file(path)
    return {"uri": str(path.resolve()), "sha256": digest, **facts}


def write_manifest(path: Path, *, parents: Iterable[dict[str, Any]] = (), **facts: Any) -> dict[str, Any]:
    """Write `<path>.manifest.json` beside a finished file or folder: its hash, its facts, its parents' hashes."""
    manifest = {
        **artifact(path, **facts),
        "parents": [{"uri": p["uri"], "sha256": p["sha256"]} for p in parents],
    }
    write_json(manifest_path(path), manifest)
    return manifest


def manifest_path(path: Path) -> Path:
    return path.with_name(path.name + ".manifest.json")
