"""Typed records on both sides of XCom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import pytest
from pydantic import JsonValue

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.records.run import RunArtifact
from insurance_rag.orchestration.xcom import dump, with_records

RUN: dict[str, JsonValue] = {"uri": "/artifacts/run", "sha256": "0", "rows": 3, "questions": 2, "estimate": None}


class MappedResults(Sequence[dict[str, JsonValue]]):
    """Results of a mapped task as Airflow passes them: every access to the lazy sequence is one request."""

    def __init__(self, *results: dict[str, JsonValue]) -> None:
        self.results = list(results)
        self.requests = 0

    def __len__(self) -> int:
        return len(self.results)

    @overload
    def __getitem__(self, index: int) -> dict[str, JsonValue]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, JsonValue]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, JsonValue] | list[dict[str, JsonValue]]:
        self.requests += 1
        return self.results[index]


def describe_run(run: RunArtifact) -> RunArtifact:
    return run.model_copy(update={"rows": (run.rows or 0) + 1})


def count_rows(runs: Sequence[RunArtifact] = (), label: str = "") -> list[RunArtifact]:
    return [run.model_copy(update={"rows": (run.rows or 0) * 2}) for run in runs]


def test_a_function_gets_records_and_returns_plain_json() -> None:
    assert with_records(describe_run)(RUN) == {**RUN, "rows": 4}  # type: ignore[arg-type]
    assert with_records(count_rows)() == []


def test_mapped_results_are_read_with_one_request() -> None:
    results = MappedResults(RUN, RUN)
    assert with_records(count_rows)(runs=results) == [{**RUN, "rows": 6}] * 2  # type: ignore[arg-type]
    assert results.requests == 1
    assert with_records(count_rows)(MappedResults()) == []  # type: ignore[arg-type]


def test_a_result_that_does_not_fit_names_the_field_and_what_to_do() -> None:
    with pytest.raises(
        InvalidInputError, match=r"run: the result of an earlier task does not fit \(rows: .*; clear that"
    ):
        with_records(describe_run)({**RUN, "rows": "many"})  # type: ignore[arg-type]


def test_the_wrapper_keeps_name_documentation_and_signature() -> None:
    """Airflow reads all three from the function."""
    assert with_records(describe_run).__name__ == "describe_run"
    assert with_records(describe_run).__wrapped__ is describe_run  # type: ignore[attr-defined]


def test_only_records_and_json_go_into_xcom() -> None:
    assert dump(None) is None and dump([{"a": 1}]) == [{"a": 1}]
    with pytest.raises(TypeError, match="not set"):
        dump({1, 2})
