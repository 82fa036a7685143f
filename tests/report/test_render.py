"""Tests of the page for every kind of run folder: finished, in progress, damaged, hostile, of another version."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.report.sample_run import (
    MODELS,
    edit_json,
    stage_progress,
    write_dataset,
    write_evaluation,
    write_generation,
    write_run,
)

from insurance_rag import report as report_package
from insurance_rag.cli.main import main
from insurance_rag.core.files import read_jsonl, write_json, write_jsonl
from insurance_rag.core.records.usage import RunUsage, Usage
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.report import render_report
from insurance_rag.report.collect import collect
from insurance_rag.report.render import render_html
from insurance_rag.report.texts import page_texts


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return write_run(tmp_path_factory.mktemp("run"), questions=24)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run").create()


def embedded(html: str) -> dict[str, object]:
    """Return the JSON block as a browser reads it: up to the first end tag."""
    block = html.split('<script type="application/json" id="data">')[1].split("</script>")[0]
    data: dict[str, object] = json.loads(block)
    return data


class Tags(HTMLParser):
    """Collects names and attributes of the tags that a browser would see, without the content of scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_finished_run_shows_every_part_without_a_problem(finished: RunFolder, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    result = render_report(finished, out)
    html = out.read_text()
    assert result.problems == [] and result.decision is not None and result.questions == 24
    assert [tag[1]["id"] for tag in Tags(html).found if tag[0] == "section"] == [
        "verdict", "comparison", "funnel", "usage", "progress", "training", "questions"
    ]  # fmt: skip
    decided = page_texts()[f"decision_{result.decision}"]
    model = json.loads((finished.evaluation / "decision.json").read_text())["model"]
    assert all(text.format(model=model) in html for text in decided.values())
    assert "규칙 cut_off" in html and "Rule cut_off" in html
    assert html.count("<polyline") == 6  # three adapters, training and held-out loss
    shown = html.split('id="data"')[0]
    assert not re.findall(r"\b(?:reason|state|outcome|decision|fact|stage|unit)_\w+", shown), "a text is missing"
    assert len(embedded(html)["questions"]) == 24  # type: ignore[arg-type]


def test_nothing_of_the_page_asks_for_anything_outside(finished: RunFolder) -> None:
    html = render_html(collect(finished))
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)
    assert policy and "default-src &#39;none&#39;" in policy[1] and "connect-src &#39;none&#39;" in policy[1]
    assert "unsafe" not in policy[1]
    loading = ("src", "href", "action", "data", "poster", "srcset", "style", "onclick", "onload")
    for tag, attributes in Tags(html).found:
        assert tag not in {"link", "iframe", "img", "object", "embed", "base"}
        for name in loading:
            assert name not in attributes or str(attributes[name]).startswith("#"), (tag, attributes)
    css = html.split("<style>")[1].split("</style>")[0]
    assert "url(" not in css and "@import" not in css


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


def test_empty_folder_says_what_is_missing(run: RunFolder) -> None:
    html = render_html(collect(run))
    for key in (
        "decision_missing",
        "missing_evaluation",
        "missing_funnel",
        "missing_usage",
        "missing_training",
        "missing_questions",
    ):
        assert page_texts()[key]["ko"] in html and page_texts()[key]["en"] in html


def test_run_in_progress_shows_shards_and_why_one_failed(run: RunFolder) -> None:
    write_generation(run, failed=5, running=3)
    report = collect(run)
    states = {shard.label: (shard.state, shard.chunks_done, shard.chunks) for shard in report.usage or ()}
    assert states["shard 3/7 · gemini_k3"] == ("running", 17, 30)
    assert states["shard 5/7 · gemini_k5"] == ("failed", 11, 30)
    assert states["shard 1/7 · gemini_k1"] == ("done", 30, 30)
    html = render_html(report)
    assert "API key not valid" in html and "17 / 30" in html


def test_silent_stage_is_not_shown_as_a_working_one(run: RunFolder) -> None:
    progress = stage_progress("train", "v1").model_copy(update={"state": "running", "updated": 1.0})
    write_json(run.progress / "train.json", progress.model_dump())
    report = collect(run)
    assert (report.stages[0].silent_s or 0) > 1e6 and page_texts()["fact_silent_s"]["en"] in render_html(report)


def test_chunks_of_a_dead_shard_are_shown_as_reassigned(run: RunFolder) -> None:
    write_generation(run, failed=5)
    write_dataset(run)
    assert collect(run).incomplete
    plan = json.loads(run.plan.read_text())
    plan["shards"][4]["chunk_ids"] = plan["shards"][4]["chunk_ids"][:11]
    edit_json(run.plan, shards=plan["shards"], reassigned_to={"5": [8]})
    key = Usage(calls=14, tokens_in=900, requests_429=3)
    write_json(run.usage, RunUsage(model="m", total=key, keys={"gemini_k5": key}).model_dump())
    report = collect(run)
    dead = {shard.label: shard for shard in report.usage or ()}["shard 5/7 · gemini_k5"]
    assert (dead.chunks_done, dead.chunks, dead.usage.calls, dead.usage.tokens_in) == (11, 11, 14, 900)
    assert dead.usage.repair_calls == 3, "the progress file is newer than usage.json"
    assert dead.reassigned_to == [8] and not report.incomplete
    assert page_texts()["reassigned"]["en"].format(shards="8") in render_html(report)


def test_evaluation_without_training_or_generation(run: RunFolder) -> None:
    write_evaluation(run, ("Base",), 3)
    report = collect(run)
    assert report.evaluation and not report.evaluation.tests and report.training is None and report.problems == []
    assert page_texts()["few_questions"]["en"].format(n=3, wanted=200) in render_html(report)


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


def test_answers_to_the_gold_chunks_are_shown_only_where_they_differ(run: RunFolder) -> None:
    write_evaluation(run, ("Base", "v2"), 6)
    answers = read_jsonl(run.evaluation / "answers.jsonl")
    gold = [
        {**row, "answer": "다른 답입니다.", "raw_answer": "다른 답입니다."} if row["model"] == "v2" else row
        for row in answers
    ]
    write_jsonl(run.evaluation / "answers_gold.jsonl", gold)
    for question in collect(run).questions or ():
        assert [answer.model for answer in question.gold_answers] == ["v2"]


def test_reason_of_the_verdict_names_the_rules_that_decided(finished: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    shutil.copytree(finished.root, run.root)
    path = run.evaluation / "decision.json"
    rules = [
        {
            "name": "better",
            "title": "better hallucination rate",
            "title_ko": "환각률 개선",
            "outcome": "unknown",
            "text": "",
        },
        {"name": "mine", "title": "my <rule>", "title_ko": "내 규칙", "outcome": "fail", "text": ""},
    ]
    edit_json(path, decision="cannot_tell", model="v2", more_questions=120, rules=rules)
    html = render_html(collect(run))
    assert "Undecided rules: better hallucination rate. About 120 more questions are needed." in html
    assert "판정할 수 없는 규칙: 환각률 개선." in html
    edit_json(path, decision="refuse", more_questions=None)
    assert "Failed rules: my &lt;rule&gt;." in render_html(collect(run))
    edit_json(path, model=None, rules=[], reason="no adapter was <evaluated>")
    assert "no adapter was &lt;evaluated&gt;" in render_html(collect(run))


def test_added_metrics_checks_and_rules_have_their_own_labels(finished: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    shutil.copytree(finished.root, run.root)
    path = run.evaluation / "summary.json"
    summary = json.loads(path.read_text())
    info = {"title": "My metric", "title_ko": "내 지표", "description": "What it counts."}
    summary["metrics"]["mine"] = {**info, "better": "higher", "compared": False}
    summary["checks"]["my_check"] = {**info, "title": "My check", "title_ko": "내 검사", "hallucination": False}
    for model in summary["models"].values():
        model["rates"]["mine"] = model["rates"]["hallucination"]
        model["findings"]["my_check"] = 3
    write_json(path, summary)
    html = render_html(collect(run))
    assert all(text in html for text in ("My metric", "내 지표", "My check", "내 검사", "What it counts."))
    assert embedded(html)["checks"]["my_check"] == {"ko": "내 검사", "en": "My check"}  # type: ignore[index]


def test_contaminated_model_is_named(finished: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    shutil.copytree(finished.root, run.root)
    edit_json(run.evaluation / "summary.json", contaminated={"v1": 7, "v2": 0})
    html = render_html(collect(run))
    assert page_texts()["contaminated"]["en"].format(model="v1", n=7) in html
    assert page_texts()["contaminated"]["en"].format(model="v2", n=0) not in html


def test_unknown_field_of_another_version_is_reported_and_ignored(finished: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    shutil.copytree(finished.root, run.root)
    edit_json(run.dataset / "report.json", added_later={"a": 1})
    edit_json(run.evaluation / "summary.json", added_later=[1])
    path = run.evaluation / "answers.jsonl"
    write_jsonl(path, ({**row, "added_later": 1} for row in read_jsonl(path)))
    report = collect(run)
    assert report.funnel and report.evaluation and len(report.questions or ()) == 24
    assert sum("added_later: unknown field, ignored" in problem for problem in report.problems) == 5  # 3 per file


def test_run_of_an_older_version_gives_problems_and_a_page(finished: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    shutil.copytree(finished.root, run.root)
    for path in (run.dataset / "report.json", run.evaluation / "summary.json", run.evaluation / "decision.json"):
        old = {key: value for key, value in json.loads(path.read_text()).items() if key in ("rows", "models", "model")}
        write_json(path, old)
    report = collect(run)
    assert (report.funnel, report.evaluation, report.decision) == (None, None, None)
    assert "Field required" in "".join(report.problems) and "<h1>" in render_html(report)


def test_every_text_is_in_both_languages_with_the_same_figures() -> None:
    for key, both in page_texts().items():
        assert both.keys() == {"ko", "en"}, key
        assert sorted(re.findall(r"{(\w+)}", both["ko"])) == sorted(re.findall(r"{(\w+)}", both["en"])), key


def test_command_writes_the_file_and_refuses_a_missing_run(
    finished: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "report.html"
    assert main(["report", "--run", str(finished.root), "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["uri"] == str(out)
    assert main(["report", "--run", str(tmp_path / "none"), "--out", str(out)]) == 2
    assert "no such run folder" in capsys.readouterr().err and out.exists()


def test_every_text_is_used() -> None:
    folder = Path(report_package.__file__).parent
    sources = [*folder.glob("*.py"), *folder.glob("templates/*.j2"), *folder.glob("templates/*.js")]
    code = "\n".join(path.read_text() for path in sources)
    for key in page_texts():
        prefix = key.partition("_")[0] + "_"
        assert re.search(rf"['\"{{]{key}['\"]", code) or re.search(rf"['\"]{prefix}['\"{{]", code), (
            f"unused text {key!r}"
        )
