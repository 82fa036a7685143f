"""The clock of the commands, which a fault sets forward or back with libfaketime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from insurance_rag.core.files import atomic_write

_LIBRARIES = (
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
)


def faketime_library() -> Path | None:
    """Return the path of libfaketime, or None if it is not installed (`apt-get install faketime`)."""
    return next((path for path in map(Path, _LIBRARIES) if path.exists()), None)


class FakeClock:
    """A wall clock with an offset that can change while processes run. The monotonic clock stays right."""

    def __init__(self, library: Path, file: Path) -> None:
        """Create the file from which the processes read the offset."""
        self._library, self._file = library, file
        self.set_offset(0)

    @property
    def environment(self) -> Mapping[str, str]:
        """Environment variables for the processes."""
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def set_offset(self, seconds: int) -> None:
        """Set the difference to the real clock. Processes notice it within a second."""
        with atomic_write(self._file, durable=False) as f:
            f.write(f"{seconds:+d}\n")
