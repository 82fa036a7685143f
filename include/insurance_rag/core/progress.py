"""Progress of anything over five seconds: a bar in a terminal, log lines elsewhere, a small file for other processes.

    with Progress("generate", "shard 3/7 · gemini_k4", total=57, unit="chunks", folder=run.progress) as progress:
        progress.advance()
        progress.note(requests_429=2)

The file `<folder>/<stage>-<label>.json` is what the demo, the report tab and a person with `cat` look at.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

from insurance_rag.core.files import write_json

log = logging.getLogger("insurance_rag.core.progress")

FILE_EVERY_S = 0.5
LOG_EVERY_S = 10.0


def is_main_process() -> bool:
    """Of the processes of one training, a GPU each, the first speaks and writes."""
    return os.environ.get("RANK", "0") == "0"


class Progress:
    """Counts `done` of `total`; `note` adds figures (loss, tokens/s, 429s). Safe to call often."""

    def __init__(
        self,
        stage: str,
        label: str = "",
        *,
        total: int,
        done: int = 0,
        unit: str = "",
        folder: Path | None = None,
        on_update: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.stage, self.label, self.total, self.done, self.unit = stage, label, total, done, unit
        self.figures: dict[str, Any] = {}
        self.state = "running"
        self._path = folder / (re.sub(r"[^\w.-]+", "-", f"{stage}-{label}".strip("-")) + ".json") if folder else None
        self._on_update = on_update
        self._started, self._resumed_at = time.monotonic(), done
        self._last_file = self._last_log = 0.0
        self._bar: Any = None

    def __enter__(self) -> Progress:
        if sys.stderr.isatty() and is_main_process():
            self._bar = _Bar(self)
        self._publish(force=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.state = "done" if kind is None else "failed"
        if error is not None:
            self.figures["why"] = f"{type(error).__name__}: {error}"[:500]
        self._publish(force=True)
        if self._bar:
            self._bar.stop()

    def advance(self, n: int = 1) -> None:
        self.done += n
        self._publish()

    def note(self, **figures: Any) -> None:
        self.figures.update(figures)
        self._publish()

    @property
    def snapshot(self) -> dict[str, Any]:
        """`rate` is per minute since this process started; `eta_s` is None while it is unknown."""
        elapsed = time.monotonic() - self._started
        fresh = self.done - self._resumed_at
        rate = 60 * fresh / elapsed if elapsed > 0 and fresh else 0.0
        eta = (self.total - self.done) * 60 / rate if rate else None
        return {
            "stage": self.stage,
            "label": self.label,
            "state": self.state,
            "done": self.done,
            "total": self.total,
            "unit": self.unit,
            "rate_per_min": round(rate, 1),
            "eta_s": None if eta is None else round(eta),
            "updated": time.time(),
            **self.figures,
        }

    def _publish(self, force: bool = False) -> None:
        now = time.monotonic()
        if self._bar:
            self._bar.update(self.done, self.figures)
        if self._path and (force or now - self._last_file >= FILE_EVERY_S):
            self._last_file = now
            write_json(self._path, self.snapshot, durable=False)
            if self._on_update:
                self._on_update(self.snapshot)
        if not self._bar and (force or now - self._last_log >= LOG_EVERY_S):
            self._last_log = now
            log.info("%s", self)

    def __str__(self) -> str:
        s = self.snapshot
        figures = "".join(f", {k} {v}" for k, v in self.figures.items())
        eta = "" if s["eta_s"] is None or self.state != "running" else f", ETA {s['eta_s']} s"
        name = f"{self.stage} {self.label}".strip()
        return f"{name}: {self.done}/{self.total} {self.unit}, {s['rate_per_min']} a minute{eta}{figures}"


class _Bar:
    """One line of the terminal's display, which all bars of the process share."""

    _display: ClassVar[Any] = None
    _open: ClassVar[int] = 0

    def __init__(self, progress: Progress) -> None:
        if _Bar._display is None:
            _Bar._display = _new_display()
            _Bar._display.start()
        _Bar._open += 1
        name = f"{progress.stage} {progress.label}".strip()
        self._task = self._display.add_task(name, total=progress.total, completed=progress.done, figures="")

    def update(self, done: int, figures: dict[str, Any]) -> None:
        text = "  ".join(f"{name} {value}" for name, value in figures.items() if value)
        self._display.update(self._task, completed=done, figures=text)

    def stop(self) -> None:
        _Bar._open -= 1
        if not _Bar._open:
            _Bar._display.stop()
            _Bar._display = None


def _new_display() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    return RichProgress(*columns, console=Console(stderr=True))
