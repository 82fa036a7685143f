"""The data recipe: headers, refusals that word overlap cannot predict, contexts from the search, varied numbers."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path
from random import Random

import pytest
from tests.dataset.corpus import qa_row
from tests.validation.helpers import read_report, read_rows, write_part

from gemini_simulator.recorded_pairs import recorded_pairs
from insurance_rag.chunks import read_chunks, read_questions
from insurance_rag.chunks.headings import chunk_header, product_name
from insurance_rag.config import ValidationConfig
from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.records import REFUSAL, Chunk, FormattedRow, QARow
from insurance_rag.dataset.number_variants import vary_numbers
from insurance_rag.dataset.overlap import overlap_auc
from insurance_rag.dataset.refusals import match_overlap, near_miss_rows, refusals_per_type, spread
from insurance_rag.korean import quantities
from insurance_rag.korean.sentences import cut_context
from insurance_rag.validation.validate import validate_parts

ANSWERABLE = ("fact", "scenario", "easy")


@cache
def natural_rows() -> list[QARow]:
    """The recorded pairs about the sample policies as generated rows."""
    rows = []
    for chunk in read_chunks("sample"):
        for kind in (*ANSWERABLE, "unanswerable"):
            for pair in recorded_pairs(product_name(chunk), chunk.text, kind, two_chunks=False):
                rows.append(
                    qa_row(
                        chunk_id=chunk.chunk_id,
                        type=kind,
                        instruction=pair.question,
                        input=chunk.text,
                        output=pair.answer,
                        evidence=pair.evidence,
                        answerable=kind != "unanswerable",
                    )
                )
    return rows


@pytest.fixture(scope="module")
def natural(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder from the recorded pairs, with two contexts per row."""
    folder = tmp_path_factory.mktemp("natural")
    part = write_part(folder / "dataset_part_1.json", natural_rows())
    config = ValidationConfig.parse(
        {"dataset": {"unanswerable_share": 0.35, "contexts_per_row": 2, "parquet": False, "preferences": False}}
    )
    validate_parts([part], read_chunks("sample"), folder / "out", config, questions=read_questions("sample"))
    return folder / "out"


def test_word_overlap_does_not_tell_refusals(natural: Path) -> None:
    auc = read_report(natural).contexts.overlap_auc
    assert auc is not None and auc <= 0.65


def test_every_question_type_has_the_same_share_of_made_refusals(natural: Path) -> None:
    asked = {row["instruction"]: row["type"] for row in natural_rows()}
    rows = read_rows(natural / "train_dataset_rag.json")
    made = Counter(asked[r["instruction"]] for r in rows if not r["answerable"])
    answered = Counter(asked[r["instruction"]] for r in rows if r["answerable"])
    shares = [made[kind] / answered[kind] for kind in ANSWERABLE]
    assert max(shares) - min(shares) < 0.05 and min(shares) > 0


def test_near_misses_fill_only_their_share_and_the_other_refusals_are_of_answerable_questions(natural: Path) -> None:
    """Otherwise the wording of the question would decide whether the model refuses."""
    asked = {row["instruction"]: row["type"] for row in natural_rows()}
    rows = read_rows(natural / "train_dataset_rag.json")
    refused = Counter(asked[r["instruction"]] == "unanswerable" for r in rows if not r["answerable"])
    assert abs(refused[True] / len(rows) - 0.15) < 0.01
    assert abs(refused[False] / len(rows) - 0.20) < 0.01


def test_near_misses_get_several_contexts_as_far_as_their_share_allows() -> None:
    config = ValidationConfig.parse({"dataset": {"unanswerable_share": 0.25, "near_miss_share": 0.2}}).dataset
    assert near_miss_rows(1000, 3, answerable=6000, config=config) == 1600
    assert near_miss_rows(100, 3, answerable=6000, config=config) == 300
    assert near_miss_rows(2500, 3, answerable=6000, config=config) == 2500
    assert spread(7, [4, 5, 6]) == {4: 3, 5: 2, 6: 2} and spread(0, []) == {}


def test_every_chunk_in_a_prompt_is_below_its_product_and_section(natural: Path) -> None:
    headers = {chunk.chunk_id: chunk_header(chunk) for chunk in read_chunks("sample")}
    for row in read_rows(natural / "train_dataset_rag.json"):
        assert all(headers[i] in row["prompt"] for i in row["context_chunk_ids"])
    bare = read_rows(natural / "train_dataset_rag_bare.json")
    assert not any("\n위치: " in row["prompt"] for row in bare)


def test_refusals_that_only_the_header_explains_are_left_out_of_the_format_without_headers(natural: Path) -> None:
    chunks = {chunk.chunk_id: chunk for chunk in read_chunks("sample")}

    def misleading(row: FormattedRow) -> bool:
        own = chunks[row["chunk_id"]]
        shown = [chunks[i] for i in row["context_chunk_ids"]]
        return not row["answerable"] and any(_is_sibling(chunk, own) for chunk in shown if chunk is not own)

    made = {name: _made_refusals(natural / f"train_dataset_{name}.json") for name in ("rag", "rag_bare")}
    assert any(misleading(row) for row in made["rag"])
    assert not any(misleading(row) for row in made["rag_bare"])


def _made_refusals(path: Path) -> list[FormattedRow]:
    return [r for r in read_rows(path) if not r["answerable"] and r["chunk_id"] not in r["context_chunk_ids"]]


def _is_sibling(chunk: Chunk, own: Chunk) -> bool:
    title, own_title = (re.search(r"\((.+?)\)", c.text[:80]) for c in (chunk, own))
    other_product = product_name(chunk) != product_name(own)
    return bool(title and own_title and title[1] == own_title[1] and other_product)


def test_distractors_are_in_the_order_of_the_search(natural: Path) -> None:
    rows = [
        r for r in read_rows(natural / "train_dataset_rag.json") if r["answerable"] and len(r["context_chunk_ids"]) > 1
    ]
    first = sum(r["context_chunk_ids"][0] == r["chunk_id"] for r in rows) / len(rows)
    assert 0.5 < first < 1  # as in a search, the right chunk is mostly first


def test_held_out_rows_are_like_training_rows_in_every_format(natural: Path) -> None:
    folder = DatasetFolder(natural)
    plain, rag = read_rows(folder.heldout("plain")), read_rows(folder.heldout("rag"))
    assert folder.heldout("rag").name == "heldout.json"
    assert plain == rag == []  # no recorded pair is about a held-out document


def test_repetitions_have_other_numbers_that_agree_with_their_chunk(natural: Path) -> None:
    texts = {chunk.chunk_id: chunk.text for chunk in read_chunks("sample")}
    varied = [
        row
        for row in read_rows(natural / "train_dataset_rag.json")
        if row["answerable"] and texts[row["chunk_id"]] not in row["prompt"]
    ]
    assert len(varied) > 200
    for row in varied:
        stated = {q.key for q in quantities(row["completion"]) if q.value != 1}
        assert stated <= {q.key for q in quantities(row["input"])}, row["completion"]
        assert row["evidence"] in row["input"]


def test_numbers_are_not_varied_where_a_calculation_would_become_wrong() -> None:
    chunk = read_chunks("sample")[4]
    calculated = qa_row(instruction="든든 암보험 수술비는요?", output="200만원 × 2 = 400만원입니다.", evidence="")
    asked = qa_row(instruction="든든 암보험에서 5일 입원하면요?", output="5만원입니다.", evidence="")
    assert vary_numbers(calculated, chunk, Random(0)) is None
    assert vary_numbers(asked, chunk, Random(0)) is None


@pytest.mark.parametrize("existing", [0, 20])
def test_refusals_reach_the_share_in_all_types(existing: int) -> None:
    counts = {"fact": 40, "easy": 35, "scenario": 25}
    made = refusals_per_type(counts, existing, 0.25)
    assert sum(made.values()) + existing == pytest.approx(0.25 * (100 + existing + sum(made.values())), abs=1)
    assert refusals_per_type(counts, 60, 0.25) == {}


def test_the_context_with_the_nearest_overlap_is_chosen() -> None:
    overlaps = {0: 0.1, 1: 0.5, 2: 0.9, 3: 0.4}
    chosen = match_overlap([0.5, 0.1], list(overlaps), lambda i: (overlaps[i], str(i)))
    assert chosen == {1: "1", 0: "0"}


def test_auc_is_the_probability_that_an_answer_has_the_higher_overlap() -> None:
    assert overlap_auc([0.9, 0.8], [0.1, 0.2]) == 1.0
    assert overlap_auc([0.5], [0.5]) == 0.5
    assert overlap_auc([], [0.5]) is None


def test_the_cut_keeps_the_evidence_or_gives_up() -> None:
    text = "첫 문장입니다. 둘째 문장입니다. 셋째 문장입니다."
    assert cut_context(text, 10, "첫 문장입니다.") == "첫 문장입니다."
    assert cut_context(text, 12, "셋째 문장입니다.") == "셋째 문장입니다."
    assert cut_context(text, 5, "셋째 문장입니다.") is None


def test_rows_whose_evidence_does_not_fit_are_left_out_and_counted(tmp_path: Path) -> None:
    long = "제7조(보상)\n" + "회사는 보상합니다. " * 60
    evidence = "가" * 20 + " 회사는 " + "나" * 500 + " 보상합니다."
    chunk = read_chunks("sample")[0].model_copy(update={"chunk_id": "long", "text": f"{long}\n{evidence}"})
    row = qa_row(chunk_id="long", input=chunk.text, evidence=evidence, output="제7조에 따르면 회사는 보상합니다.")
    part = write_part(tmp_path / "p.json", [row])
    config = ValidationConfig.parse({"rules": ["malformed"], "dataset": {"unanswerable_share": 0}})
    validate_parts([part], [chunk], tmp_path / "out", config)
    assert read_rows(tmp_path / "out/train_dataset.json") == []
    assert read_report(tmp_path / "out").contexts.evidence_cut == 1
    assert REFUSAL not in (tmp_path / "out/train_dataset_rag.json").read_text(encoding="utf-8").split("### 출력")[-1]
