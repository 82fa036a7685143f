"""Environment of the tests, and the rule for tests that need a browser."""

from __future__ import annotations

import gc
import os

import pytest

# Set before the libraries that read them are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")  # two threads on a busy machine are 25 times as slow
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")

SLOW_FOLDERS = {"airflow", "demo", "models", "orchestration", "plugins", "training"}
"""Their tests start Airflow, torch or whole trainings; `make check` leaves them out, like single tests marked slow."""

NO_BROWSER = "no Chromium found: install it (apt-get install chromium fonts-nanum) or set CHROMIUM to its path"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark slow folders. Skip tests that need a browser if there is none; with REQUIRE_BROWSER=1 stop instead."""
    from tests.browser import chromium_path

    for item in items:
        if item.path.parent.name in SLOW_FOLDERS:
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: not item.get_closest_marker("slow"))  # so that no worker is left with a long file
    browser_tests = [item for item in items if item.get_closest_marker("browser")]
    if not browser_tests or chromium_path():
        return
    if os.environ.get("REQUIRE_BROWSER") == "1":
        raise pytest.UsageError(f"{len(browser_tests)} browser tests cannot run: {NO_BROWSER}")
    for item in browser_tests:
        item.add_marker(pytest.mark.skip(reason=NO_BROWSER))


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """After each file, exempt what is in memory from garbage collections. Otherwise each of them visits torch again."""
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print one loud line about browser tests that did not run."""
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if NO_BROWSER in str(report.longrepr)]
    if skipped:
        line = f"{len(skipped)} BROWSER TESTS DID NOT RUN: {NO_BROWSER}"
        terminalreporter.write_line(line, red=True, bold=True)
