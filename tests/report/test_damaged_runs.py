"""Tests of the page for damaged and hostile run folders, and for those of another version."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.report.page_html import embedded
from tests.report.sample_evaluation import MODELS, write_evaluation
from tests.report.sample_run import edit_json, stage_progress, write_dataset, write_generation

from insurance_rag.core.files import read_jsonl, write_json, write_jsonl
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.report.collect import collect
from insurance_rag.report.render import render_html
from insurance_rag.report.texts import page_texts

HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<!--<script>",
    "\x00\x07\x1b[31m\x7f\x9b",
    "‮gnp.exe‏",
    "\ud800 lone",
    "\u2028\u2029",
    "{{ 7*7 }}{% raw %}",
    "보험" * 60_000,
)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_stays_text(run: RunFolder, text: str) -> None:
    write_generation(run)
    write_dataset(run)
    write_evaluation(run, ("Base", "v1"), 3)
    rows = read_jsonl(run.evaluation / "answers.jsonl")
    finding = {"check": text[:50], "span": text[:50], "evidence": text[:50]}
    hostile = [{**row, "answer": text, "question": text, "product": text, "findings": [finding]} for row in rows]
    run.evaluation.joinpath("answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in hostile))
    sample = {"chunk_id": text[:20], "type": text[:20], "instruction": text, "output": text, "span": text[:20]}
    report = json.loads((run.dataset / "report.json").read_text())
    rule = {"title": text[:80], "title_ko": text[:80], "description": text[:80], "repairable": False}
    changed = {"drops": {text[:80]: 3}, "rules": {text[:80]: rule}, "samples": {text[:80]: [sample]}}
    (run.dataset / "report.json").write_text(json.dumps({**report, **changed}))
    html = render_html(collect(run))
    html.encode()  # no lone surrogate is left
    assert (
        html.count("<script") == 2
        and "<img" not in html
        and "onerror=alert" not in html.split("<script")[0].replace("&lt;img src=x onerror=alert", "")
    )
    assert not set("\x00\x07\x1b\x7f\x9b\u202e\u200f\ud800") & set(html)
    assert len(embedded(html)["questions"]) == 3  # type: ignore[arg-type]


def test_invisible_characters_are_shown(run: RunFolder) -> None:
    progress = stage_progress("train", "a\x00b\u202ec").model_copy(update={"state": "failed"})
    write_json(run.progress / "train.json", progress.model_dump())
    assert "a␀b[U+202E]c" in render_html(collect(run))


def test_no_question_at_all_is_no_division_by_zero(run: RunFolder) -> None:
    write_evaluation(run, tuple(MODELS), 0)
    write_dataset(run)
    edit_json(run.dataset / "report.json", rows=0, kept=0, drops={}, by_shard={}, by_type={})
    html = render_html(collect(run))
    assert "NaN" not in html.split("<script")[0] and page_texts()["no_drops"]["ko"] in html


def files_of(run: RunFolder) -> list[Path]:
    return sorted(path for path in run.root.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "junk", [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b"[" * 100_000, b"{}", b'{"state": 3}\n']
)
def test_broken_files_are_named_and_break_nothing(finished: RunFolder, tmp_path: Path, junk: bytes) -> None:
    run = RunFolder(tmp_path / "broken")
    shutil.copytree(finished.root, run.root)
    for path in files_of(run):
        path.write_bytes(junk)
    report = collect(run)
    assert report.evaluation is None and report.funnel is None and not report.questions
    if junk:
        assert any(problem.startswith("evaluation/summary.json: ") for problem in report.problems)
        assert str(tmp_path) not in "".join(report.problems)
    assert "<h1>" in render_html(report)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def replace_one_value(document: Any, data: st.DataObject) -> None:
    """Put any JSON value in any one place of a document."""
    place = document
    while isinstance(place, dict | list) and place:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or data.draw(st.booleans()):
            place[key] = data.draw(json_values)
            break
        place = place[key]


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_json_in_any_place_of_any_file_still_gives_a_page(
    finished: RunFolder, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    run = RunFolder(tmp_path_factory.mktemp("mutated") / "run")
    shutil.copytree(finished.root, run.root)
    path = data.draw(st.sampled_from([p for p in files_of(run) if p.name != "chunked_data.jsonl"]))
    lines = path.suffix == ".jsonl"
    document = read_jsonl(path) if lines else json.loads(path.read_text())
    replace_one_value(document, data)
    path.write_text("".join(json.dumps(row) + "\n" for row in document) if lines else json.dumps(document))
    html = render_html(collect(run))
    assert embedded(html)["texts"]
    shutil.rmtree(run.root)


def test_unknown_field_of_another_version_is_reported_and_ignored(finished: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    shutil.copytree(finished.root, run.root)
    edit_json(run.dataset / "report.json", added_later={"a": 1})
    edit_json(run.evaluation / "summary.json", added_later=[1])
    path = run.evaluation / "answers.jsonl"
    write_jsonl(path, ({**row, "added_later": 1} for row in read_jsonl(path)))
    report = collect(run)
    assert report.funnel and report.evaluation and len(report.questions or ()) == 24
    assert report.unreadable == [] and report.problems == [
        "evaluation/answers.jsonl and 2 more: ignored unknown fields: added_later; another version wrote the file"
    ]


def test_run_of_an_older_version_gives_problems_and_a_page(finished: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    shutil.copytree(finished.root, run.root)
    for path in (run.dataset / "report.json", run.evaluation / "summary.json", run.evaluation / "decision.json"):
        old = {key: value for key, value in json.loads(path.read_text()).items() if key in ("rows", "models", "model")}
        write_json(path, old)
    report = collect(run)
    assert (report.funnel, report.evaluation, report.decision) == (None, None, None)
    assert "Field required" in "".join(report.problems)
    assert report.unreadable == ["dataset/report.json", "evaluation/decision.json", "evaluation/summary.json"]
    html = render_html(report)
    assert all(page_texts()["unreadable"]["en"].format(file=file) in html for file in report.unreadable)
