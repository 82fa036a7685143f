"""The annotation sheet, its labels, and the rates that are corrected with them."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import pytest
from tests.evaluation.fake_model import FakeBackend
from tests.evaluation.openai_server import serving

from insurance_rag.chunks import read_chunks, read_questions
from insurance_rag.config import DecodingConfig, EvaluationConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json, read_jsonl
from insurance_rag.core.records import ScoredAnswer
from insurance_rag.evaluation import runner
from insurance_rag.evaluation.agreement import Rating, agreement
from insurance_rag.evaluation.annotations import Annotations, read_annotations, write_annotation_sheet
from insurance_rag.evaluation.runner import evaluate

CLAUSE = "제7조 회사는 암진단급여금 3,000만원을 지급합니다."


def scored(
    i: int, answer: str = "3,000만원을 지급합니다.", hallucinated: bool = False, model: str = "v1"
) -> ScoredAnswer:
    verdict = {"hallucinated": hallucinated, "findings": [], "raw_hallucinated": hallucinated, "raw_findings": []}
    asked = {"question_id": f"q{i}", "question": "얼마인가요?", "type": "fact", "answerable": True, "product": "-"}
    shown = {"chunk_ids": ["c"], "context": CLAUSE, "context_source": "retrieved", "gold_in_context": True}
    said = {"model": model, "key": f"{model}{i}", "raw_answer": answer, "answer": answer, "refusal": "none"}
    gold = {"reference_answer": None, "gold_chunk_ids": ["c"], "number_accuracy": None, "cluster": "c", "document": "d"}
    judged = {"correctness": {"correct": None}, "raw_correctness": {"correct": None}, "prompt_format": "rag"}
    return ScoredAnswer.model_validate(verdict | asked | shown | said | gold | judged)


def sheet(path: Path, *rows: tuple[str, ...]) -> Path:
    """Write a filled-in sheet with rows of (key, question, answer, hallucinated, correct)."""
    with path.open("w", newline="") as f:
        writer = csv.writer(f)
        writer.writerow(["key", "question", "context", "answer", "hallucinated", "correct"])
        writer.writerows((key, question, CLAUSE, answer, *labels) for key, question, answer, *labels in rows)
    return path


def test_evaluate_with_judge_and_labels(monkeypatch: pytest.MonkeyPatch, cache: Path, tmp_path: Path) -> None:
    monkeypatch.setattr(runner, "open_backend", lambda *_: FakeBackend())
    questions, chunks = read_questions("sample")[:6], read_chunks("sample")
    lie = json.dumps({"claims": [{"claim": "x", "supported": False}], "relevant": True})
    with serving(lambda *_: (200, {"choices": [{"message": {"content": lie}}]})) as url:
        config = EvaluationConfig(judge=f"gpt@{url}")
        evaluate(questions, chunks, "fake", {}, DecodingConfig(), tmp_path, config, cache=cache)
        rows = list(csv.DictReader((tmp_path / "labelling.csv").read_text("utf-8-sig").splitlines()))
        some = {row["key"]: i % 2 == 0 for i, row in enumerate(rows)}
        labels = Annotations(hallucinated=some, correct=some)
        evaluate(questions, chunks, "fake", {}, DecodingConfig(), tmp_path, config, labels=labels, cache=cache)
    summary = read_json(tmp_path / "summary.json")
    assert summary["judge"]["models"]["Base"]["hallucination"]["n"] == 6
    assert summary["judge"]["models"]["Base"]["relevance"]["n"] <= 6
    assert {rater: found["fault"] for rater, found in summary["labels"].items()} == {
        "checks": "hallucinated", "judge": "hallucinated", "correct": "wrong",
    }  # fmt: skip
    assert summary["labels"]["checks"]["kappa"]["n"] == 6
    assert summary["labels"]["checks"]["models"]["Base"]["scope"] == "pooled"
    assert len(read_jsonl(tmp_path / "judgements.jsonl")) == 6
    assert "NaN" not in (tmp_path / "summary.json").read_text()


def test_the_sheet_is_blind_balanced_and_kept(tmp_path: Path) -> None:
    rows = [scored(i, f"=답{i}\x00", hallucinated=i < 5, model=m) for m in ("Base", "v1") for i in range(50)]
    path = tmp_path / "labelling.csv"
    assert write_annotation_sheet(path, rows, size=40) == 40
    lines = list(csv.DictReader(path.read_text("utf-8-sig").splitlines()))
    flagged = {row.key for row in rows if row.hallucinated}
    assert sum(row["key"] in flagged for row in lines) == 10  # all there are
    assert "model" not in lines[0]
    assert lines[0]["answer"].startswith("'=")  # no formula for a spreadsheet
    assert read_annotations(path) == Annotations({}, {})
    before = path.read_text()
    assert write_annotation_sheet(path, rows) == 0
    assert path.read_text() == before


def test_the_sheet_grows_with_the_number_of_models(tmp_path: Path) -> None:
    rows = [scored(i, model=f"v{m}") for m in range(4) for i in range(50)]
    assert write_annotation_sheet(tmp_path / "l.csv", rows) == 160


def test_all_unreadable_labels_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    path.write_text("key,hallucinated\na,yes\nb,아니요\nc,\nd,maybe\ne,?\n")
    with pytest.raises(InvalidInputError) as caught:
        read_annotations(path)
    assert len(caught.value.problems) == 2
    path.write_text("\ufeffkey,hallucinated\na,Yes\nb,아니요\nc,\n")
    assert read_annotations(path) == Annotations({"a": True, "b": False}, {})
    path.write_text("key,verdict\na,yes\n")
    with pytest.raises(InvalidInputError, match="hallucinated is missing"):
        read_annotations(path)
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read_annotations(tmp_path / "none.csv")


def test_labels_are_read_per_column_and_may_repeat(tmp_path: Path) -> None:
    path = sheet(
        tmp_path / "l.csv",
        ("a", "얼마?", "답", "no", "yes"),
        ("a", "얼마?", "답", "no", ""),
        ("b", "얼마?", " 답", "no", "yes"),  # the same answer from another model
        ("c", "언제?", "답", "yes", "no"),  # to another question
    )
    found = read_annotations(path)
    assert found.hallucinated == {"a": False, "b": False, "c": True}
    assert found.correct == {"a": True, "b": True, "c": False}


def test_contradictory_labels_are_reported_with_both_rows(tmp_path: Path) -> None:
    path = sheet(
        tmp_path / "l.csv",
        ("a", "얼마?", "답", "no", "yes"),
        ("a", "얼마?", "답", "yes", "yes"),
        ("b", "얼마?", "답", "no", "no"),
        ("c", "언제?", "다른 답", "yes", ""),
    )
    with pytest.raises(InvalidInputError) as caught:
        read_annotations(path)
    text = str(caught.value)
    assert "2 problems" in text
    assert "hallucinated is yes in row 3, but no in row 2 (line 2) for the same key" in text
    assert "correct is no in row 4, but yes in row 2 (line 2) for the same answer to the same question" in text
    assert "decide on one label, or delete both" in text


def test_rates_are_corrected_by_labels_drawn_unevenly() -> None:
    """Of 1,000 answers 200 are wrong. 150 of these and 40 correct ones are flagged; 60 of each are labelled."""
    truth = {f"a{i}": i < 200 for i in range(1000)}
    ratings = [Rating(k, "v1", k, i < 150 or 200 <= i < 240) for i, k in enumerate(truth)]
    drawn = [r.key for r in ratings if r.flagged][::3][:60] + [r.key for r in ratings if not r.flagged][::13][:60]
    found = agreement({k: truth[k] for k in drawn}, ratings, ["v1"]).models["v1"]
    assert found.scope == "model"
    assert found.corrected.rate == pytest.approx(0.20, abs=0.06)
    assert found.corrected.interval is not None
    assert found.corrected.interval[0] < 0.20 < found.corrected.interval[1]
    assert found.sensitivity.rate == pytest.approx(0.75, abs=0.15)
    assert found.sensitivity.effective < found.sensitivity.of  # unequal weights
    unlabelled = agreement({}, ratings, ["v1"]).models["v1"]
    assert (unlabelled.scope, unlabelled.corrected.rate) == ("pooled", None)


def test_each_model_is_corrected_with_its_own_sensitivity() -> None:
    """The rater finds all faults of Base, and 3 of 10 faults of v1. Pooled figures would hide half of v1's faults."""
    rng = random.Random(0)
    truth, ratings = dict[str, bool](), list[Rating]()
    for model, sensitivity in (("Base", 1.0), ("v1", 0.3), ("v2", 0.3)):
        for i in range(400):
            key = f"{model} {i}"
            truth[key] = i % 2 == 0
            ratings.append(Rating(key, model, f"q{i}", truth[key] and rng.random() < sensitivity))
    labels = {k: v for k, v in truth.items() if int(k.split()[1]) < (100 if not k.startswith("v2") else 10)}
    found = agreement(labels, ratings, ["Base", "v1", "v2"]).models
    assert [found[m].scope for m in ("Base", "v1", "v2")] == ["model", "model", "pooled"]
    assert (found["v2"].faulty, found["v2"].faultless) == (5, 5)
    assert found["v1"].sensitivity.rate == pytest.approx(0.3, abs=0.1)
    assert found["v1"].sensitivity.low is not None
    assert found["v1"].sensitivity.low < 0.3
    assert found["v1"].corrected.rate == pytest.approx(0.5, abs=0.15)
    assert found["Base"].corrected.rate == pytest.approx(0.5, abs=0.05)
    assert found["v2"].sensitivity == agreement(labels, ratings, ["v2"]).sensitivity


def test_clusters_widen_the_interval() -> None:
    keys = [f"a{i}" for i in range(100)]
    flags = [i // 10 % 2 == 0 for i in range(100)]  # all answers of a cluster are flagged, or none
    labels = dict.fromkeys(keys, True) | {f"b{i}": False for i in range(20)}
    clean = [Rating(f"b{i}", "v1", f"b{i}", i == 0) for i in range(20)]
    alone = [Rating(k, "v1", k, f) for k, f in zip(keys, flags, strict=True)] + clean
    together = [Rating(k, "v1", f"c{i // 10}", f) for i, (k, f) in enumerate(zip(keys, flags, strict=True))] + clean
    narrow, wide = (agreement(labels, ratings, ["v1"]).sensitivity for ratings in (alone, together))
    assert narrow.rate == wide.rate == 0.5
    assert narrow.low is not None
    assert wide.low is not None
    assert wide.low < narrow.low
    assert wide.effective < narrow.effective / 5


def test_a_model_without_labels_for_its_flagged_answers_uses_the_pooled_figures() -> None:
    ratings = [Rating(f"a{i}", "v1", f"a{i}", i < 50) for i in range(100)]
    labels = {f"a{i}": i % 2 == 0 for i in range(50, 100)}
    assert agreement(labels, ratings, ["v1"]).models["v1"].scope == "pooled"
