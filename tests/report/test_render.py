"""Tests of the page for finished runs and for runs in progress."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from tests.report.page_html import Tags, embedded
from tests.report.sample_evaluation import write_evaluation
from tests.report.sample_run import (
    TYPES,
    edit_json,
    shards,
    stage_progress,
    write_dataset,
    write_generation,
    write_part,
)

from insurance_rag import report as report_package
from insurance_rag.cli.main import main
from insurance_rag.core.artifacts import manifest_path
from insurance_rag.core.files import read_jsonl, write_json, write_jsonl
from insurance_rag.core.records.usage import RunUsage, Usage
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.report import render_report
from insurance_rag.report.collect import collect
from insurance_rag.report.render import render_html
from insurance_rag.report.texts import page_texts


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


def test_what_is_held_out_and_a_weak_part_of_the_retriever_are_shown(finished: RunFolder) -> None:
    html = render_html(collect(finished)).split('id="data"')[0]
    assert "2 sections (14 chunks) are not trained on" in html and "88 chunks are left for training" in html
    assert "1 more chunks are left out" in html and "<li>한빛 암보험 &gt; 암진단 특별약관</li>" in html
    assert "hybrid 0.87, but bm25 0.91 alone" in html
    retrievers = html.split('data-t-label="retrievers"')[1].split("</table>")[0]
    assert [float(rate) for rate in re.findall(r">([\d.]+) ?%<", retrievers)] == [87.0, 91.0, 64.0]


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


def test_a_failed_shard_shows_its_own_usage_and_leaves_the_run_incomplete(run: RunFolder) -> None:
    write_generation(run, failed=5)
    write_dataset(run)
    key = Usage(calls=14, tokens_in=900, requests_429=3)
    write_json(run.usage, RunUsage(model="m", total=key, keys={"gemini_k5": key}).model_dump())
    report = collect(run)
    dead = {shard.label: shard for shard in report.usage or ()}["shard 5/7 · gemini_k5"]
    assert (dead.chunks_done, dead.usage.calls, dead.usage.tokens_in) == (11, 14, 900)
    assert dead.usage.repair_calls == 3, "the progress file is newer than usage.json"
    assert report.incomplete and "replace it in its connection" in render_html(report)


def test_chunks_of_a_dead_key_that_other_keys_answered_are_shown_as_moved(run: RunFolder) -> None:
    write_generation(run, failed=5)
    write_dataset(run)
    write_part(run, shards()[4], 0)
    edit_json(manifest_path(run.part(5)), moved={"gemini_k3": 9, "gemini_k2": 20})
    edit_json(manifest_path(run.part(2)), helped=1200)
    report = collect(run)
    assert not report.incomplete, "the part is complete, although its own key was rejected"
    html = render_html(report)
    assert page_texts()["moved"]["en"].format(n=29, keys="gemini_k2 (20), gemini_k3 (9)") in html
    assert page_texts()["helped"]["ko"].format(n="1,200") in html
    assert "replace it in its connection" in html


def test_the_style_of_the_questions_is_shown_by_type(run: RunFolder) -> None:
    write_dataset(run)
    report = collect(run)
    assert report.funnel and [row.label for row in report.funnel.style] == [*TYPES, "all"]
    html = render_html(report)
    texts = page_texts()
    assert all(texts[key]["ko"] in html and texts[key]["en"] in html for key in ("style", "style_copied", "type_all"))
    assert "47.0%" in html and "18 / 20" in html and "편한 구어체 50% · 정중한 문의 50%" in html


def test_a_report_without_style_shows_no_style(run: RunFolder) -> None:
    write_dataset(run)
    edit_json(run.dataset / "report.json", style={})
    report = collect(run)
    assert report.funnel and not report.funnel.style and not report.problems
    assert page_texts()["style_copied"]["en"] not in render_html(report).split('id="data"')[0]


def test_usage_shows_the_cost_per_pair_the_repairs_and_other_models(run: RunFolder) -> None:
    write_generation(run, failed=None)
    total = Usage(answers=210, pairs_accepted=600, other_model_answers=2)
    models = {"gemini-3.5-flash-lite": 208, "gemini-<b>": 2}
    usage = RunUsage(model="gemini-3.5-flash-lite", total=total, keys={}, models=models)
    write_json(run.usage, usage.model_dump())
    edit_json(manifest_path(run.part(1)), pairs_accepted=80, repair_pairs_accepted=9, cost_usd=0.04)
    report = collect(run)
    first = (report.usage or [])[0]
    assert first.cost_per_1000_pairs == pytest.approx(0.5) and report.problems == []
    html = render_html(report)
    assert page_texts()["usage_repairs"]["en"].format(calls=28, cost="0.0140", pairs=9) in html
    assert "2 answers came from another model" in html and "gemini-&lt;b&gt; (2)" in html


def test_evaluation_without_training_or_generation(run: RunFolder) -> None:
    write_evaluation(run, ("Base",), 3)
    report = collect(run)
    assert report.evaluation and not report.evaluation.tests and report.training is None and report.problems == []
    assert page_texts()["few_questions"]["en"].format(n=3, wanted=200) in render_html(report)


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


def test_results_in_the_rag_format_are_shown_next_to_those_in_the_own_formats(
    finished: RunFolder, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    shutil.copytree(finished.root, run.root)
    heading = f'<h3><span class="ko" lang="ko">{page_texts()["asked_in_rag"]["ko"]}</span><span'
    assumed = page_texts()["assumed_format"]["ko"].format(model="v2")
    html = render_html(collect(run))
    assert heading not in html and assumed not in html
    path = run.evaluation / "summary.json"
    formats = {model: "plain" if model == "v1" else "rag" for model in json.loads(path.read_text())["models"]}
    rag = json.loads(path.read_text())
    rag["models"]["v1"]["rates"]["hallucination"] |= {"rate": 0.8765}
    write_json(run.evaluation / "summary_rag.json", {**rag, "prompt": "rag"})
    edit_json(path, prompt_formats=formats, assumed_formats=["v2"])
    html = render_html(collect(run))
    assert heading in html and assumed in html
    table = html.split(heading)[1].split("</table>")[0]
    assert "87.6%" in table or "87.7%" in table
    assert "(plain)" in table
    assert table.count("%)</span>") >= 5, "v1's results in its own format are repeated"
    assert ", v1 plain, " in html.split('<dl class="facts">')[1].split("</dl>")[0]


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
