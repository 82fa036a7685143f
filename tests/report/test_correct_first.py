"""The page puts correct answers first: in the verdict, the figures, the breakdowns and the list of answers."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.browser import Browser
from tests.report.page_html import embedded
from tests.report.sample_run import edit_json, write_run

from insurance_rag.core.files import read_jsonl, write_jsonl
from insurance_rag.core.records import EvaluationSummary
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.promotion import decide
from insurance_rag.report.collect import collect
from insurance_rag.report.render import render_html, render_report
from insurance_rag.report.runs import read_run, render_runs
from insurance_rag.report.texts import page_texts


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return write_run(tmp_path_factory.mktemp("correct") / "run", ("Base", "v1", "v2"), questions=120)


@pytest.fixture
def changed(run: RunFolder, tmp_path: Path) -> RunFolder:
    """Return a copy of the run that the test may change."""
    shutil.copytree(run.root, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def summary(run: RunFolder) -> EvaluationSummary:
    return EvaluationSummary.model_validate_json((run.evaluation / "summary.json").read_text())


def texts(html: str) -> list[str]:
    """Return the page's texts in English, without tags."""
    korean_removed = re.sub(r'<span class="ko" lang="ko">.*?</span>', "", html.split("<script")[0])
    return [text.strip() for text in re.sub(r"<[^>]+>", "\n", korean_removed).splitlines() if text.strip()]


def test_the_order_of_the_figures_is_that_of_the_registry(changed: RunFolder) -> None:
    found = collect(changed).evaluation
    assert found
    assert (found.main, found.breakdown) == ("correct", ["correct", "hallucination"])
    compared = [name for name, metric in summary(changed).metrics.items() if metric.compared]
    assert found.metrics == ["correct", "gold_correct", *compared[1:]]
    assert {"gold_hallucination", "raw_correct", "empty"} <= set(found.further)
    path = changed.evaluation / "summary.json"
    metrics = json.loads(path.read_text())["metrics"]
    edit_json(path, metrics={"hallucination": metrics.pop("hallucination"), **metrics})
    found = collect(changed).evaluation
    assert found and found.metrics[:3] == ["hallucination", "gold_hallucination", "correct"]


def test_the_first_figure_has_both_context_sources_on_one_axis(run: RunFolder) -> None:
    html = render_html(collect(run))
    first = html[html.index('<table class="rates first">') :].split("</table>")[0]
    assert first.count('class="interval') == 6 and first.count('scope="rowgroup"') == 2
    assert first.count('class="axis"') == 1
    for rates in summary(run).models.values():
        assert f"{100 * (rates.rates['correct'].rate or 0):.1f}%" in first


def test_the_verdict_starts_with_correct_answers_and_counts_the_decisions(changed: RunFolder) -> None:
    path = changed.evaluation / "decision.json"
    decision = decide(changed.evaluation, registry=changed.root / "registry", dry_run=True)
    better = next(rule for rule in decision.rules if rule.name == "better").figures
    assert better and better.champion is not None
    html = render_html(collect(changed))
    why = html.split('<p class="why">')[1].split("</p>")[0]
    assert f"Correct answer: {decision.model} {100 * better.own:.1f}%, Base {100 * better.champion:.1f}% (" in why
    assert f"정답 비율은 {decision.model} {100 * better.own:.1f}%, Base" in why
    edit_json(path, earlier_decisions=2)
    html = render_html(collect(changed))
    assert "이 질문들로 내린 3번째 판정입니다." in html and "Decision no. 3 on these questions." in html
    edit_json(path, earlier_decisions=None)
    assert "Decision no." not in render_html(collect(changed)).split("<script")[0]


def test_every_rule_is_shown_with_its_figures_and_margin(changed: RunFolder) -> None:
    decision = decide(changed.evaluation, registry=changed.root / "registry", dry_run=True)
    html = render_html(collect(changed))
    verdict = html.split('id="verdict"')[1].split("</section>")[0]
    with_figures = [rule.figures for rule in decision.rules if rule.figures]
    assert verdict.count('class="limit"') == len(with_figures) > 8
    assert "≤ +5.0" in verdict and "≥ 60%" in verdict and "&gt; 0" in verdict
    assert verdict.count('class="outcome ') == len(decision.rules)
    others = set(decision.challengers) - {decision.model}
    assert others and all(f'<th scope="row">{model}</th>' in verdict for model in others)
    for rule in decision.rules:
        if not rule.figures:
            assert rule.text in texts(html), rule.name
            assert f'<span class="ko" lang="ko">{rule.text_ko}</span>' in verdict


def test_reasons_for_wrong_answers_are_counted_by_model(run: RunFolder) -> None:
    found = summary(run)
    evaluation = collect(run).evaluation
    assert evaluation
    for name, model in found.models.items():
        rows = [row for row in read_jsonl(run.evaluation / "answers.jsonl") if row["model"] == name]
        wrong = [r for r in rows if not r["correctness"]["correct"] and (r["gold_in_context"] or not r["answerable"])]
        counted = Counter(kind for row in wrong for kind in {p["kind"] for p in row["correctness"]["problems"]})
        assert model.problems == counted and counted
        assert {kind: by_model[name] for kind, by_model in evaluation.problems.items() if by_model[name]} == counted
        assert len(wrong) == model.rates["correct"].n - model.rates["correct"].count
    shown = texts(render_html(collect(run)))
    assert "Why answers are not correct" in shown and "Number contradicts the policy" in shown


def test_the_clusters_and_the_design_effect_are_one_line(run: RunFolder) -> None:
    clusters = max(model.rates["hallucination"].clusters or 0 for model in summary(run).models.values())
    effect = f"{summary(run).design_effect:.2f}"
    lines = [text for text in texts(render_html(collect(run))) if "design effect" in text]
    expected = page_texts()["clusters"]["en"].format(clusters=clusters, effect=effect)
    assert lines == [expected]


def test_an_answer_without_gold_chunk_in_the_context_is_not_counted(changed: RunFolder) -> None:
    path = changed.evaluation / "answers.jsonl"
    rows = read_jsonl(path)
    row = next(row for row in rows if row["answerable"] and row["gold_in_context"])
    problem = {"kind": "content", "text": "different"}
    row |= {"gold_in_context": False, "correctness": {"correct": False, "problems": [problem]}}
    unknown = next(r for r in rows if r["answerable"] and r["gold_in_context"])
    unknown["correctness"] = {"correct": None, "cannot_judge": "the question has no reference answer"}
    write_jsonl(path, rows)
    found = {
        (question.id, answer.model): answer
        for question in collect(changed).questions or ()
        for answer in question.answers
    }
    answer = found[row["question_id"], row["model"]]
    assert (answer.correct, answer.unjudged, answer.problems) == (None, "unjudged_no_gold", [])
    answer = found[unknown["question_id"], unknown["model"]]
    assert (answer.correct, answer.unjudged) == (None, "the question has no reference answer")


def test_the_list_of_runs_shows_correct_next_to_hallucination(run: RunFolder) -> None:
    line = read_run(run, key="dag/run", url="./x", state="success", when=None)
    assert line.decision and line.decision.model and line.evaluation
    rates = summary(run).models[line.decision.model].rates
    wanted = [f"{100 * (rates[metric].rate or 0):.1f}%" for metric in ("correct", "hallucination")]
    table = render_runs([line]).split('<table class="runs">')[1].split("</table>")[0]
    assert re.findall(r'<td class="number">([\d.]+%)</td>', table) == wanted
    assert table.index("Correct answer") < table.index("Hallucination")
    compared = render_runs([line], {"dag/run"})
    assert compared.split("<caption>")[1].startswith('<span title="Answers that say what the reference says')


def test_problem_kinds_have_titles_in_both_languages(run: RunFolder) -> None:
    problems: Any = embedded(render_html(collect(run)))["problems"]
    assert problems["polarity"] == {"ko": "긍정과 부정이 반대", "en": "Says the opposite"}


@pytest.fixture(scope="module")
def browser(run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    page = tmp_path_factory.mktemp("page") / "report.html"
    render_report(run, page)
    with Browser() as browser:
        browser.open(page.as_uri())
        yield browser


def choose(browser: Browser, **values: str) -> int:
    """Set filters, clear the others, and return the number of questions that are shown."""
    browser.run(
        f"(values => {{ const f = document.querySelector('#filters').elements;"
        "for (const name of ['model', 'type', 'product', 'correct', 'finding', 'sort'])"
        "  f[name].value = values[name] ?? '';"
        f"f.model.dispatchEvent(new Event('input', {{bubbles: true}})) }})({json.dumps(values)})"
    )
    browser.run("while (!document.querySelector('#more').hidden) document.querySelector('#more').click()")
    return int(browser.run("document.querySelectorAll('.question').length"))


@pytest.mark.browser
def test_the_filter_shows_exactly_the_answers_that_the_rate_counts(browser: Browser, run: RunFolder) -> None:
    for name, model in summary(run).models.items():
        rate = model.rates["correct"]
        assert choose(browser, model=name, correct="wrong") == rate.n - rate.count
        assert choose(browser, model=name, correct="correct") == rate.count
        assert choose(browser, model=name, correct="unjudged") == 120 - rate.n > 0
        for kind, count in model.problems.items():
            assert choose(browser, model=name, correct=f"problem:{kind}") == count
    found = choose(browser, correct="wrong", finding="check:article")
    assert 0 < found < choose(browser, finding="any")


@pytest.mark.browser
def test_questions_on_which_the_models_differ_and_sorting(browser: Browser) -> None:
    states = (
        "[...document.querySelectorAll('.question')].map("
        "q => [...q.querySelectorAll('.marks > span')].map(m => m.className))"
    )
    assert 0 < choose(browser, correct="differ") < 120
    assert all({"correct", "wrong"} <= set(marks) for marks in browser.run(states))
    assert choose(browser, sort="wrong") == 120
    wrong = [marks.count("wrong") for marks in browser.run(states)]
    assert wrong == sorted(wrong, reverse=True) and wrong[0] > wrong[-1]
    ids = "[...document.querySelectorAll('.question .id')].map(e => e.textContent)"
    choose(browser)
    assert browser.run(ids) == sorted(browser.run(ids))


@pytest.mark.browser
def test_an_answer_says_whether_it_is_correct_in_a_sign_and_a_word(browser: Browser) -> None:
    browser.look(1200, 900)
    choose(browser, correct="problem:contradicting_number")
    row = browser.run("document.querySelector('.question .marks .wrong').innerText").split()
    assert row[:2] == ["✕", "오답"]
    label = browser.run("document.querySelector('.question .marks .wrong').getAttribute('aria-label')")
    assert "오답" in label and re.match(r"Base|v1|v2", label)
    browser.run("document.querySelector('.question').open = true")
    browser.wait("document.querySelector('.detail')")
    shown = browser.run("document.querySelector('.detail').innerText")
    assert "기준 답변" in shown and "약관과 다른 숫자 — 7,700만원" in shown
    top, first = (
        browser.run(f"document.querySelector('.detail .{part}').getBoundingClientRect().top")
        for part in ("reference", "answer")
    )
    assert top < first
    browser.look(390, 900)
    assert browser.run("document.querySelector('.question .marks .wrong').innerText").split()[0] == "✕"
    assert browser.run("document.documentElement.scrollWidth") <= 390
    assert browser.errors == []


@pytest.mark.browser
@pytest.mark.parametrize("width", [1200, 390])
def test_no_table_squeezes_its_first_column(browser: Browser, width: int) -> None:
    browser.look(width, 900)
    browser.run("document.querySelectorAll('#verdict details, #comparison details').forEach(d => d.open = true)")
    narrow = (
        "[...document.querySelectorAll('#verdict tbody th, #comparison tbody th')].filter(h => h.checkVisibility())"
        ".filter(h => h.getBoundingClientRect().height > 130 && h.rowSpan === 1).map(h => h.innerText)"
    )
    assert browser.run(narrow) == []
    assert browser.run("document.documentElement.scrollWidth") <= width
