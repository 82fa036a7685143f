"""The dataset folder: refusals and distractors, caps, Parquet, the card, the upload."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet
import pytest
import yaml
from tests.dataset.corpus import corpus_chunks, generated_rows, qa_row
from tests.validation.helpers import chunk, read_report, read_rows, reasons, row, with_dataset, write_part

from insurance_rag.chunks.headings import chunk_header
from insurance_rag.config import DatasetConfig
from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.records import REFUSAL, GroupBalance
from insurance_rag.dataset import hub
from insurance_rag.dataset.balance import balance_report, rows_over_cap
from insurance_rag.dataset.card import render_card
from insurance_rag.dataset.contexts import Contexts, names_product
from insurance_rag.dataset.draws import Draw, hash_uniform
from insurance_rag.validation.validate import validate_parts


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder with 15 % refusals and distractors in half of the contexts."""
    folder = tmp_path_factory.mktemp("built")
    part = write_part(folder / "dataset_part_1.json", generated_rows())
    config = with_dataset(unanswerable_share=0.15, distractor_share=0.5)
    validate_parts([part], corpus_chunks(), folder / "out", config)
    return folder / "out"


def test_the_configured_share_is_unanswerable_and_labelled(built: Path) -> None:
    rows = read_rows(built / "train_dataset_rag.json")
    refusals = [r for r in rows if not r["answerable"]]
    assert abs(len(refusals) / len(rows) - 0.15) < 0.01
    answers = {(r["chunk_id"], r["instruction"]): r["output"] for r in rows if r["answerable"]}
    for refusal in refusals:
        assert (refusal["type"], refusal["completion"], refusal["evidence"]) == ("unanswerable", REFUSAL, "")
        assert refusal["chunk_id"] not in refusal["context_chunk_ids"]
        # Sister products share sentences up to the amount, so the statement counts as a whole.
        statement = answers[refusal["chunk_id"], refusal["instruction"]].split("따르면 ")[1]
        assert statement not in refusal["prompt"]


def test_a_share_of_the_rows_has_distractors_next_to_the_right_chunk(built: Path) -> None:
    rows = [r for r in read_rows(built / "train_dataset_rag.json") if r["answerable"]]
    with_distractors = [r for r in rows if len(r["context_chunk_ids"]) > 1]
    assert 0.3 < len(with_distractors) / len(rows) < 0.7
    texts = {c.chunk_id: c.text for c in corpus_chunks()}
    headers = {c.chunk_id: chunk_header(c) for c in corpus_chunks()}
    for example in with_distractors:
        assert 3 <= len(example["context_chunk_ids"]) <= 5
        assert example["chunk_id"] in example["context_chunk_ids"]
        assert example["input"] == "\n\n".join(texts[i] for i in example["context_chunk_ids"])
        assert all(f"{headers[i]}\n{texts[i]}" in example["prompt"] for i in example["context_chunk_ids"])
        assert len(example["input"]) <= 1600 + 2 * 4
    positions = {r["context_chunk_ids"].index(r["chunk_id"]) for r in with_distractors}
    assert len(positions) > 1  # the right chunk is not always first


def test_without_shares_the_dataset_is_that_of_the_reference_design(tmp_path: Path) -> None:
    part = write_part(tmp_path / "p.json", generated_rows())
    config = with_dataset(unanswerable_share=0, distractor_share=0)
    validate_parts([part], corpus_chunks(), tmp_path / "out", config)
    rows = read_rows(tmp_path / "out/train_dataset_rag.json")
    assert len(rows) == len(read_rows(tmp_path / "out/train_dataset_final_v2.json"))
    assert all(r["answerable"] and r["context_chunk_ids"] == [r["chunk_id"]] for r in rows)


def test_generated_refusals_are_kept_labelled_and_checked(tmp_path: Path) -> None:
    refused = row(1, type="unanswerable", answerable=False, output=REFUSAL, evidence="")
    answered = row(2, type="unanswerable", answerable=False)
    part = write_part(tmp_path / "p.json", [row(3), refused, answered])
    validate_parts([part], [chunk("c1")], tmp_path / "out", with_dataset())
    report = read_report(tmp_path / "out")
    assert (report.kept, report.drops["missed_refusal"]) == (2, 1)
    assert [r["answerable"] for r in read_rows(tmp_path / "out/train_dataset.json")] == [True]
    rag_rows = read_rows(tmp_path / "out/train_dataset_rag.json")
    assert not next(r for r in rag_rows if r["completion"] == REFUSAL)["answerable"]


def test_the_files_open_with_datasets_and_pyarrow(built: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    folder = DatasetFolder(built)
    for path in map(folder.training, ("plain", "rag", "merged", "chat")):
        rows = read_rows(path)
        loaded = load_dataset("json", data_files=str(path), cache_dir=str(tmp_path), split="train")
        assert loaded.num_rows == len(rows) and loaded[0] == rows[0]
        table = pyarrow.parquet.read_table(folder.parquet(path))
        first = {key: value for key, value in rows[0].items() if key != "meta"}
        assert table.num_rows == len(rows) and table.slice(0, 1).to_pylist() == [first]


def test_the_card_has_a_header_and_the_figures(built: Path) -> None:
    folder = DatasetFolder(built)
    _, header, body = folder.card.read_text(encoding="utf-8").split("---\n", 2)
    fields = yaml.safe_load(header)
    assert fields["language"] == ["ko"] and len(fields["configs"]) == 5
    assert all((built / c["data_files"][0]["path"]).is_file() for c in fields["configs"])
    report = read_report(built)
    assert f"{report.kept:,} of" in body.replace("\n", " ") and "| near_duplicate | Near duplicate |" in body
    assert "funnel.svg" in body and "<svg" in folder.funnel.read_text(encoding="utf-8")


def test_the_card_lists_the_rows_of_each_teacher_model(built: Path) -> None:
    report = read_report(built)
    lineage = report.lineage.model_copy(update={"rows_by_model": {"gemini-2.5-flash": 30, "gemini-3.5-flash-lite": 70}})
    card = render_card(report.model_copy(update={"lineage": lineage}))
    assert "| gemini-3.5-flash-lite | 70 | 70.0 % |\n| gemini-2.5-flash | 30 | 30.0 % |" in card


def test_a_question_names_its_product_only_if_the_name_excludes_sister_products() -> None:
    own, sister = chunk("a", product="한빛 든든 암보험"), chunk("b", product="한빛 여성든든 암보험")
    assert names_product("한빛 든든 암보험의 면책기간은요?", own, sister)
    assert names_product("한빛 여성든든 암보험의 면책기간은요?", sister, own)
    assert not names_product("암보험의 면책기간은 며칠인가요?", own, sister)
    assert not names_product("한빛 여성든든 암보험의 면책기간은요?", own, own)


def test_there_is_no_negative_if_every_chunk_contains_the_answer() -> None:
    own, same = chunk("a"), chunk("b", source="b.pdf", product="다른 암보험")
    assert Contexts([own, same], DatasetConfig()).refusal_context(qa_row(chunk_id="a")) is None
    assert Contexts([own], DatasetConfig()).with_distractors(qa_row(chunk_id="unknown")) is None


def test_random_choices_do_not_change() -> None:
    digest = 0x0123456789ABCDEF
    draws = [hash_uniform(digest, seed, draw) for seed in (0, 5) for draw in (Draw.DISTRACTORS, Draw.REFUSAL, Draw.CAP)]
    assert draws == [
        0.15350729136036928,
        0.38813450288371876,
        0.4104183020814943,
        0.12766865514280332,
        0.5982829419576288,
        0.7329312397590461,
    ]


def test_caps_reduce_the_largest_group_and_return_the_rows_to_leave_out() -> None:
    kinds = ["easy"] * 80 + ["fact"] * 15 + ["scenario"] * 5
    out = rows_over_cap({"type": kinds}, {"type": 0.5}, list(range(100)))
    left = [kind for n, kind in enumerate(kinds) if n not in set(out)]
    assert left.count("easy") == 20 and left.count("fact") == 15 and out == list(range(20, 80))
    assert rows_over_cap({"type": ["a", "b"] * 5}, {"type": 0.3}, list(range(10))) == []
    report = balance_report({"type": kinds})["type"]
    assert report["easy"] == GroupBalance(rows=80, share=0.8, top_up=0) and report["scenario"].top_up == 29


def test_capped_rows_are_counted_and_kept_among_the_rejects(tmp_path: Path) -> None:
    part = write_part(tmp_path / "p.json", [row(n, type="easy" if n < 30 else "fact") for n in range(40)])
    result = validate_parts([part], [chunk("c1")], tmp_path / "out", with_dataset(caps={"type": 0.5}))
    assert (result.kept, read_report(tmp_path / "out").drops["balance"]) == (20, 20)
    assert set(reasons(tmp_path / "out")) == {"balance"}


def test_a_failed_upload_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InvalidInputError, match="HF_TOKEN"):
        hub.push_to_hub(DatasetFolder(tmp_path), "someone/data")


def test_files_without_rows_can_be_opened(tmp_path: Path) -> None:
    part = write_part(tmp_path / "p.json", generated_rows())
    validate_parts([part], corpus_chunks(), tmp_path / "out", with_dataset())
    folder = DatasetFolder(tmp_path / "out")
    assert read_rows(folder.heldout()) == []
    assert pyarrow.parquet.read_table(folder.parquet(folder.heldout())).num_rows == 0
