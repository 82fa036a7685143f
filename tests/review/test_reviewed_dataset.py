"""Datasets that are made with the decisions of reviewers, and the review items that are read from them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.validation.helpers import CHUNK_TEXT, SETTINGS, chunk, read_rejects, read_report, read_rows, row, write_part

from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.files import write_jsonl
from insurance_rag.review.edits import new_decision
from insurance_rag.review.records import Decision, ReviewAction, ReviewItem
from insurance_rag.review.store import ReviewStore
from insurance_rag.validation.review_items import read_row_items
from insurance_rag.validation.validate import validate_parts

SHORT = "짧다."
"""An answer that the rules about form drop."""


@pytest.fixture
def part(tmp_path: Path) -> Path:
    rows = [row(0), row(1), row(2, meta={"shard": 1}), row(3, output=SHORT), row(4, chunk_id="gone")]
    return write_part(tmp_path / "dataset_part_1.json", rows)


def make(part: Path, store: ReviewStore | None = None) -> DatasetFolder:
    """Validate the part with the decisions in the store."""
    out = part.parent / "dataset"
    validate_parts([part], [chunk("c1")], out, SETTINGS, reviews=store.path.parent if store else None)
    return DatasetFolder(out)


def items(dataset: DatasetFolder) -> list[ReviewItem]:
    path = dataset.root.parent / "chunks.jsonl"
    write_jsonl(path, [chunk("c1").model_dump()])
    return read_row_items(dataset, path)


def decide(store: ReviewStore, item: ReviewItem, action: ReviewAction, reason: str = "", **texts: str) -> Decision:
    state = store.state(item.key)
    made = new_decision(item, state.decision, action, reviewer="kim", reason=reason, texts=texts)
    decision = store.decide(made, state.version).decision
    assert decision
    return decision


def test_items_show_kept_and_dropped_rows(part: Path) -> None:
    found = items(make(part))
    assert [item.dropped for item in found] == [False, False, False, True, True]
    kept, dropped = found[0], {item.findings[0].rule: item for item in found[3:]}
    assert kept.fields["question"].startswith("한빛 든든 암보험") and kept.chunks[0].text == CHUNK_TEXT
    assert kept.chunks[0].header.startswith("상품: 한빛생명 한빛 든든 암보험") and kept.evidence in kept.chunks[0].text
    assert dropped["too_short"].approvable and not dropped["unknown_chunk"].approvable
    assert dropped["too_short"].findings[0].title_ko == "너무 짧은 답변"
    assert {item.shard for item in found} == {"dataset_part_1"}


def test_decisions_change_the_next_dataset(part: Path, tmp_path: Path) -> None:
    store = ReviewStore(tmp_path / "reviews", "row")
    first, second, third, short, _ = items(make(part))
    decide(store, first, "reject", reason="금액이 틀림")
    answer = "제7조에 따르면 1년 이내에 진단확정되면 50%를 지급합니다."
    evidence = "계약일부터 1년 이내에 진단확정된 때에는 제1항 금액의 50%를 지급합니다."
    decide(store, second, "edit", answer=answer, evidence=evidence)
    decide(store, third, "approve")
    decide(store, short, "approve")

    dataset = make(part, store)
    report = read_report(dataset.root)
    assert report.reviews.model_dump() == {"approved": 2, "edited": 1, "rejected": 1, "overruled": 1, "records": 4}
    assert report.drops["rejected_by_reviewer"] == 1 and report.drops["too_short"] == 0
    (rejected,) = [r for r in read_rejects(dataset.root) if r["reason"] == "rejected_by_reviewer"]
    assert rejected["instruction"] == first.fields["question"] and rejected["span"] == "금액이 틀림"
    kept = {r["instruction"]: r for r in read_rows(dataset.training("merged"))}
    assert set(kept) == {second.fields["question"], third.fields["question"], short.fields["question"]}
    edited = kept[second.fields["question"]]
    assert (edited["output"], edited["evidence"]) == (answer, evidence)
    assert edited["meta"]["review"] == {"action": "edit", "key": second.key}

    again = {item.key: item for item in items(dataset)}
    assert set(again) >= {first.key, second.key, third.key, short.key}, "decided items keep their keys"
    assert again[first.key].dropped and again[second.key].fields["answer"] == answer

    store.undo(second.key, "lee", 1)
    undone = {r["instruction"]: r["output"] for r in read_rows(make(part, store).training("merged"))}
    assert undone[second.fields["question"]] == second.fields["answer"]


def test_rules_check_edited_rows_again(part: Path, tmp_path: Path) -> None:
    store = ReviewStore(tmp_path / "reviews", "row")
    item = items(make(part))[0]
    decide(store, item, "edit", answer="제7조에 따르면 암 진단비로 9,000만원을 지급합니다.")
    dataset = make(part, store)
    (reject,) = [r for r in read_rejects(dataset.root) if r["instruction"] == item.fields["question"]]
    assert reject["reason"] == "unsupported_number"
    shown = next(i for i in items(dataset) if i.key == item.key)
    assert shown.dropped and "9,000만원" in shown.fields["answer"]


def test_approval_does_not_reverse_rules_that_protect_the_evaluation(part: Path, tmp_path: Path) -> None:
    store = ReviewStore(tmp_path / "reviews", "row")
    unknown = next(item for item in items(make(part)) if item.findings and item.findings[0].rule == "unknown_chunk")
    decide(store, unknown, "approve")
    assert read_report(make(part, store).root).drops["unknown_chunk"] == 1


def test_decisions_do_not_apply_to_changed_chunks(part: Path, tmp_path: Path) -> None:
    store = ReviewStore(tmp_path / "reviews", "row")
    decide(store, items(make(part))[0], "reject", reason="틀림")
    changed = f"{CHUNK_TEXT}\n④ 진단서를 제출합니다."
    validate_parts([part], [chunk("c1", changed)], part.parent / "new", SETTINGS, reviews=tmp_path / "reviews")
    report = read_report(part.parent / "new")
    assert report.reviews.rejected == 0 and report.kept == 3
