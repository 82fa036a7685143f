"""Work that must not grow with the square of the input. `make bench-scale` measures the rest."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.scale import Point, fitted_exponent, slopes
from bench.scale_inputs import make_run
from bench.scale_stages import STAGES

from insurance_rag.planning import generation_journal


def points(stage: str, power: float) -> list[Point]:
    return [
        Point(stage=stage, items=n, cpu_s=n**power / 1000, wall_s=1, peak_mib=50 + n / 1024)
        for n in (10_000, 100_000, 1_000_000)
    ]


def test_the_exponent_tells_linear_from_quadratic() -> None:
    assert fitted_exponent(points("plan", 1.0)) == pytest.approx(1.0)
    assert fitted_exponent(points("plan", 2.0)) == pytest.approx(2.0)
    assert fitted_exponent(points("plan", 1.0)[:1]) is None
    (slope,) = slopes(points("plan", 1.0))
    assert slope.exponent == 1.0 and slope.kib_per_item == pytest.approx(1.0)


def test_parts_read_each_answer_a_few_times_whatever_the_number_of_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 100 keys, reading the answers of all other shards for each part would be 100 times as many."""
    parse, read = generation_journal._parse, list[int]()

    def count(line: bytes, path: Path, offset: int) -> generation_journal.ChunkRecord:
        read.append(offset)
        return parse(line, path, offset)

    monkeypatch.setattr(generation_journal, "_parse", count)
    make_run(tmp_path, 200)
    STAGES["parts"].work(tmp_path, 200)
    assert 200 <= len(read) <= 3 * 200
