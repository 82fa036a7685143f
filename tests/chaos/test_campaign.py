"""Scenarios follow from their seeds, the faults really fire, and a short campaign breaks no invariant."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx
import pytest
from chaos.__main__ import main
from chaos.menu import KINDS, possible_kinds
from chaos.proxy import Proxy
from chaos.scenario import draw_scenario

from gemini_simulator import running_simulator

NAMES = [kind.name for kind in KINDS]


def test_a_seed_determines_the_schedule_and_consecutive_seeds_cover_the_menu() -> None:
    assert draw_scenario(7, NAMES) == draw_scenario(7, NAMES)
    assert draw_scenario(7, NAMES) != draw_scenario(8, NAMES)
    scenarios = [draw_scenario(seed, NAMES) for seed in range(1, len(NAMES) + 1)]
    assert {fault.kind for scenario in scenarios for fault in scenario.faults} == set(NAMES)
    assert "generate at" in scenarios[0].describe()
    late = draw_scenario(7, NAMES, ["kill -9"], pipeline=True)
    assert {fault.stage for fault in late.faults} - {"generate"}


def test_the_proxy_interrupts_the_network() -> None:
    with running_simulator() as simulator:
        proxy = Proxy("127.0.0.1", int(simulator.url.rsplit(":", 1)[1]))
        assert httpx.get(f"{proxy.url}/stats").json()["calls"] == 0
        with proxy.interrupted("refusing"), pytest.raises(httpx.TransportError):
            httpx.get(f"{proxy.url}/stats")
        with proxy.interrupted("silent"), pytest.raises(httpx.TimeoutException):
            httpx.get(f"{proxy.url}/stats", timeout=0.3)
        assert httpx.get(f"{proxy.url}/stats").json()["calls"] == 0
        proxy.close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", int(proxy.url.rsplit(":", 1)[1])))


@pytest.mark.slow
def test_a_campaign_fires_its_faults_and_breaks_no_invariant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    possible = [kind.name for kind in possible_kinds()]
    seed = possible.index("kill -9") + len(possible)
    arguments = ["--seed", str(seed), "--runs", "1", "--only", "kill -9"]
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- generation -->\n<previous>\n<!-- end of generation -->\nafter\n")
    folders = ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "results")]
    code = main([*arguments, *folders, "--page", str(page)])
    printed = capsys.readouterr().out
    assert code == 0, printed
    assert "0 campaigns broke an invariant" in printed
    row = next(line for line in printed.splitlines() if line.startswith("| kill -9 "))
    assert int(row.split("|")[2]) >= 1
    assert row in (tmp_path / "results" / "generation.md").read_text()
    assert row in page.read_text()
    assert "<previous>" not in page.read_text()
    assert page.read_text().endswith("after\n")
    assert not list((tmp_path / "work").glob("seed_*"))
