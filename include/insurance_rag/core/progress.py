"""Progress of a stage: a bar in a terminal, log lines elsewhere, and a small file that other processes read.

    with Progress("generate", "shard 3/7 · gemini_k4", total=57, unit="chunks", folder=run.progress) as progress:
        progress.advance()
        progress.note(requests_429=2)

The file is `<folder>/<stage>-<label>.json` and contains a `ProgressState`. The demo and the report page read it, and it
is short enough to read with `cat`.
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
from typing import TYPE_CHECKING, ClassVar, Literal

from insurance_rag.core.files import write_json
from insurance_rag.core.records.progress import ProgressFigure, ProgressState

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

log = logging.getLogger(__name__)

FILE_INTERVAL_S = 0.5
LOG_INTERVAL_S = 10.0
MAX_ERROR_CHARACTERS = 500


def is_main_process() -> bool:
    """Return whether this process may print and write files. In training on several GPUs, only rank 0 may."""
    return os.environ.get("RANK", "0") == "0"


class Progress:
    """Counts finished units. `advance` and `note` may be called often: file and log are written only at intervals."""

    def __init__(
        self,
        stage: str,
        label: str = "",
        *,
        total: int,
        done: int = 0,
        unit: str = "",
        folder: Path | None = None,
        on_update: Callable[[ProgressState], None] | None = None,
    ) -> None:
        """`done` is the number of units that earlier processes finished.

        `on_update` receives every state that is written to the file.
        """
        self.stage, self.label, self.total, self.done, self.unit = stage, label, total, done, unit
        self.figures: dict[str, ProgressFigure] = {}
        self.state: Literal["running", "done", "failed"] = "running"
        self._path = folder / (re.sub(r"[^\w.-]+", "-", f"{stage}-{label}".strip("-")) + ".json") if folder else None
        self._on_update = on_update
        self._started, self._done_at_start = time.monotonic(), done
        self._last_file = self._last_log = 0.0
        self._bar: _Bar | None = None

    def __enter__(self) -> Progress:
        if sys.stderr.isatty() and is_main_process():
            self._bar = _Bar(self)
        self._publish(force=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.state = "done" if kind is None else "failed"
        if error is not None:
            self.figures["error"] = f"{type(error).__name__}: {error}"[:MAX_ERROR_CHARACTERS]
        self._publish(force=True)
        if self._bar:
            self._bar.stop()

    def advance(self, n: int = 1) -> None:
        """Count `n` more units as done."""
        self.done += n
        self._publish()

    def note(self, **figures: ProgressFigure) -> None:
        """Show more values next to the count. A new value replaces an earlier one of the same name."""
        self.figures.update(figures)
        self._publish()

    @property
    def snapshot(self) -> ProgressState:
        elapsed = time.monotonic() - self._started
        done_here = self.done - self._done_at_start
        rate = 60 * done_here / elapsed if elapsed > 0 and done_here else 0.0
        return ProgressState(
            stage=self.stage,
            label=self.label,
            state=self.state,
            done=self.done,
            total=self.total,
            unit=self.unit,
            rate_per_min=round(rate, 1),
            eta_s=round((self.total - self.done) * 60 / rate) if rate else None,
            updated=time.time(),
            figures=dict(self.figures),
        )

    def _publish(self, force: bool = False) -> None:
        now = time.monotonic()
        if self._bar:
            self._bar.update(self.done, self.figures)
        if self._path and (force or now - self._last_file >= FILE_INTERVAL_S):
            self._last_file = now
            state = self.snapshot
            write_json(self._path, state.model_dump(), durable=False)
            if self._on_update:
                self._on_update(state)
        if not self._bar and (force or now - self._last_log >= LOG_INTERVAL_S):
            self._last_log = now
            log.info("%s", self)

    def __str__(self) -> str:
        state = self.snapshot
        figures = "".join(f", {name} {value}" for name, value in self.figures.items())
        eta = "" if state.eta_s is None or self.state != "running" else f", ETA {state.eta_s} s"
        name = f"{self.stage} {self.label}".strip()
        return f"{name}: {self.done}/{self.total} {self.unit}, {state.rate_per_min} per minute{eta}{figures}"


class _Bar:
    """One progress bar. All bars in this process share one terminal display, which has one line per bar."""

    _display: ClassVar[RichProgress | None] = None
    _open: ClassVar[int] = 0

    def __init__(self, progress: Progress) -> None:
        if _Bar._display is None:
            _Bar._display = _new_display()
            _Bar._display.start()
        _Bar._open += 1
        name = f"{progress.stage} {progress.label}".strip()
        self._task = _Bar._display.add_task(name, total=progress.total, completed=progress.done, figures="")

    def update(self, done: int, figures: dict[str, ProgressFigure]) -> None:
        text = "  ".join(f"{name} {value}" for name, value in figures.items() if value)
        if _Bar._display:
            _Bar._display.update(self._task, completed=done, figures=text)

    def stop(self) -> None:
        _Bar._open -= 1
        if not _Bar._open and _Bar._display:
            _Bar._display.stop()
            _Bar._display = None


def _new_display() -> RichProgress:
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
