"""The page from whatever lies in a run folder: complete, half-done, broken, hostile."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.report.sample_run import MODELS, write_dataset, write_evaluation, write_generation, write_run

from insurance_rag.cli.main import main
from insurance_rag.core.files import read_jsonl, write_json, write_jsonl
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.report import render_report
from insurance_rag.report.collect import collect
from insurance_rag.report.render import render_html, texts


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return write_run(tmp_path_factory.mktemp("run"), questions=24)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run").create()


def embedded(html: str) -> dict[str, object]:
    """The JSON block as a browser reads it: up to the first end tag."""
    block = html.split('<script type="application/json" id="data">')[1].split("</script>")[0]
    data: dict[str, object] = json.loads(block)
    return data


class Tags(HTMLParser):
    """Names and attributes of the tags a browser would see, scripts' contents left out."""

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
    assert result["problems"] == [] and result["decision"] == "cannot_tell" and result["rows"] == 24
    assert [tag[1]["id"] for tag in Tags(html).found if tag[0] == "section"] == [
        "verdict", "comparison", "funnel", "books", "progress", "training", "questions"
    ]  # fmt: skip
    assert "아직 판단할 수 없습니다" in html and "Cannot tell yet" in html
    assert html.count("<polyline") == 6  # three adapters, training and held-out loss
    shown = html.split('id="data"')[0]
    assert not re.findall(r"\b(?:reason|metric|state|outcome|decision|fact|rule|check)_\w+", shown), "a text is missing"
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
    report = json.loads((run.dataset / "report.json").read_text())
    report["drops"] = {text[:80]: 3}
    report["samples"] = {text[:80]: [{"instruction": text, text[:20]: text}]}
    (run.dataset / "report.json").write_text(json.dumps(report))
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
    write_json(
        run.progress / "train.json", {"stage": "train", "label": "a\x00b\u202ec", "state": "failed", "updated": 0}
    )
    assert "a␀b[U+202E]c" in render_html(collect(run))


def test_empty_folder_says_what_is_missing(run: RunFolder) -> None:
    html = render_html(collect(run))
    for key in (
        "decision_missing",
        "missing_evaluation",
        "missing_funnel",
        "missing_books",
        "missing_training",
        "missing_questions",
    ):
        assert texts()[key]["ko"] in html and texts()[key]["en"] in html


def test_run_in_progress_shows_shards_and_why_one_failed(run: RunFolder) -> None:
    write_generation(run, failed=5, running=3)
    report = collect(run)
    states = {book.label: (book.state, book.chunks_done, book.chunks) for book in report.books or ()}
    assert states["shard 3/7 · gemini_k3"] == ("running", 17, 30)
    assert states["shard 5/7 · gemini_k5"] == ("failed", 11, 30)
    assert states["shard 1/7 · gemini_k1"] == ("done", 30, 30)
    html = render_html(report)
    assert "API key not valid" in html and "17 / 30" in html


def test_silent_stage_is_not_taken_for_a_working_one(run: RunFolder) -> None:
    write_json(run.progress / "train.json", {"stage": "train", "label": "v1", "state": "running", "updated": 1.0})
    assert collect(run).jobs[0].figures["silent_s"] > 1e6  # type: ignore[operator]


def test_chunks_of_a_dead_shard_are_seen_to_have_moved(run: RunFolder) -> None:
    write_generation(run, failed=5)
    write_dataset(run)
    assert collect(run).incomplete
    plan = json.loads(run.plan.read_text())
    plan["shards"][4]["chunk_ids"] = plan["shards"][4]["chunk_ids"][:11]
    write_json(run.plan, {**plan, "moved": {"5": [8]}})
    write_json(run.usage, {"keys": {"gemini_k5": {"calls": 14, "tokens_in": 900, "requests_429": 3}}})
    report = collect(run)
    dead = {book.label: book for book in report.books or ()}["shard 5/7 · gemini_k5"]
    assert (dead.chunks_done, dead.chunks, dead.calls, dead.tokens_in) == (11, 11, 14, 900)
    assert dead.why.endswith("→ shard 8") and not report.incomplete


def test_evaluation_without_training_or_generation(run: RunFolder) -> None:
    write_evaluation(run, ("Base",), 3)
    report = collect(run)
    assert report.evaluation and not report.evaluation.tests and report.training is None and report.problems == []
    assert texts()["few_questions"]["en"].format(n=3) in render_html(report)


def test_no_question_at_all_is_no_division_by_zero(run: RunFolder) -> None:
    write_evaluation(run, tuple(MODELS), 0)
    write_dataset(run)
    report = json.loads((run.dataset / "report.json").read_text())
    write_json(
        run.dataset / "report.json", {**report, "rows": 0, "kept": 0, "drops": {}, "by_shard": {}, "by_type": {}}
    )
    html = render_html(collect(run))
    assert "NaN" not in html.split("<script")[0] and texts()["no_drops"]["ko"] in html


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
    place = document
    while isinstance(place, dict | list) and place:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        inner = place[key]  # type: ignore[call-overload,index]
        if not isinstance(inner, dict | list) or data.draw(st.booleans()):
            place[key] = data.draw(json_values)  # type: ignore[call-overload,index]
            break
        place = inner
    path.write_text("".join(json.dumps(row) + "\n" for row in document) if lines else json.dumps(document))
    html = render_html(collect(run))
    assert embedded(html)["texts"]
    shutil.rmtree(run.root)


def test_answers_to_the_gold_clauses_stand_beside_only_where_they_differ(run: RunFolder) -> None:
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
    decision = json.loads(path.read_text())
    rules = [{"name": "better", "outcome": "unknown", "text": ""}, {"name": "my_rule", "outcome": "fail", "text": ""}]
    write_json(path, {**decision, "decision": "cannot_tell", "more_questions": 120, "rules": rules})
    assert "About 120 more questions would tell: hallucinates less." in render_html(collect(run))
    write_json(path, {**decision, "decision": "refuse", "more_questions": None, "rules": rules})
    assert "Not met: my_rule." in render_html(collect(run))
    write_json(
        path, {**decision, "decision": "refuse", "model": None, "rules": [], "reason": "no adapter was <evaluated>"}
    )
    assert "no adapter was &lt;evaluated&gt;" in render_html(collect(run))


def test_every_text_is_in_both_languages_with_the_same_figures() -> None:
    for key, both in texts().items():
        assert both.keys() == {"ko", "en"}, key
        assert re.findall(r"{(\w+)}", both["ko"]).sort() == re.findall(r"{(\w+)}", both["en"]).sort(), key


def test_command_writes_the_file_and_refuses_a_missing_run(
    finished: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "report.html"
    assert main(["report", "--run", str(finished.root), "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["uri"] == str(out)
    assert main(["report", "--run", str(tmp_path / "none"), "--out", str(out)]) == 2
    assert "no such run folder" in capsys.readouterr().err and out.exists()
