"""Preference pairs and rows for a verifier: what they hold, their balance, and that nothing leaks into them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pyarrow.parquet
import pytest
from tests.dataset.corpus import corpus_chunks, generated_rows
from tests.validation.helpers import GeneratedRow, read_report, read_rows, with_dataset, write_part

from insurance_rag.config import DatasetConfig, PreferenceConfig
from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.prompt_templates import VERIFY
from insurance_rag.core.records import REFUSAL, Question
from insurance_rag.dataset.kind_balance import balanced_weights, weighted_order
from insurance_rag.korean import refusal
from insurance_rag.training.dataset_rows import read_rows as read_training_rows
from insurance_rag.training.preference_rows import read_pairs
from insurance_rag.validation.validate import validate_parts

NATURAL = (
    ("{}에서 암으로 진단받으면 얼마를 받나요?", "제7조에 따르면 회사는 암 진단비로 {}만원을 지급합니다.", "fact"),
    (
        "{} 가입 열 달 만에 암에 걸렸어요. 다 나오죠?",
        "아니요, 제7조에 따르면 계약일부터 1년 이내이면 50%를 지급해요.",
        "easy",
    ),
    (
        "{}의 암보장개시일은 언제인가요?",
        "제7조에 따르면 계약일부터 90일이 지난 날의 다음 날이 암보장개시일입니다.",
        "scenario",
    ),
)
FIRST_ANSWER = "제7조에 따르면 암으로 진단확정되면 9,000만원을 지급합니다."
REPAIRED = "한빛 든든 암보험은 진단확정되면 암 진단비를 얼마나 지급하나요?"


def natural_rows() -> list[GeneratedRow]:
    """Return the rows of the corpus, natural ones about the first chunks, a near miss per product, and a repair."""
    rows = generated_rows()
    for n, name in enumerate(("한빛 든든 암보험", "한빛 여성든든 암보험", "한빛 다시든든 암보험")):
        first = next(c for c in corpus_chunks() if c.chunk_id == f"p{n}_00")
        base = {"chunk_id": first.chunk_id, "input": first.text, "meta": {}}
        for question, answer, kind in NATURAL:
            evidence = first.text.splitlines()[{"fact": 1, "easy": 2, "scenario": 3}[kind]]
            pair = {"instruction": question.format(name), "output": answer.format(f"{3 + n},000")}
            rows.append({**base, **pair, "type": kind, "evidence": evidence})
        missing = {"instruction": f"{name}에서 암 진단비는 나누어 받을 수 있나요?", "output": f"{REFUSAL}."}
        rows.append({**base, **missing, "type": "unanswerable", "evidence": "", "answerable": False})
    first = next(c for c in corpus_chunks() if c.chunk_id == "p0_00")
    repaired = {"chunk_id": "p0_00", "type": "fact", "instruction": REPAIRED, "input": first.text}
    repaired |= {"evidence": first.text.splitlines()[1]}
    rows.append({**repaired, "output": FIRST_ANSWER, "meta": {"fault": "unsupported_number"}})
    good = "제7조에 따르면 암으로 진단확정되면 3,000만원을 지급합니다."
    rows.append({**repaired, "output": good, "meta": {"repaired": True, "repair_reason": "unsupported_number"}})
    return rows


def build(out: Path, rows: list[GeneratedRow], parts: int = 1, **settings: Any) -> DatasetFolder:
    """Validate the rows, which come in several part files, and return the dataset folder."""
    files = [write_part(out / f"dataset_part_{n + 1}.json", rows[n::parts]) for n in range(parts)]
    gold = Question(
        question_id="q1", question="배당은 누가 맡나요?", type="fact", answerable=True, gold_chunk_ids=["p2_05"]
    )
    validate_parts(files, corpus_chunks(), out / "d", with_dataset(**settings), questions=[gold])
    return DatasetFolder(out / "d")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> DatasetFolder:
    return build(tmp_path_factory.mktemp("pairs"), natural_rows(), unanswerable_share=0.3, verifier_rows=True)


def read(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return rows


def test_every_pair_belongs_to_a_training_row_and_its_worse_answer_is_worse(built: DatasetFolder) -> None:
    shown = {(row["prompt"], row["completion"]) for row in read_rows(built.training("rag"))}
    pairs = read(built.preferences)
    assert len(read_pairs(built.preferences)) == len(pairs) > 50
    for pair in pairs:
        assert (pair["prompt"], pair["chosen"]) in shown
        assert pair["rejected"].strip(" .") != pair["chosen"].strip(" .")
        if pair["kind"] == "false_refusal":
            assert pair["answerable"] and refusal(pair["rejected"]) == "full"
        elif pair["kind"] in ("hedge", "missed_refusal"):
            level = "none" if pair["kind"] == "missed_refusal" else "partial"
            assert refusal(pair["rejected"]) == level, pair["rejected"]
        elif pair["kind"] == "prompt_echo":
            assert pair["chosen"].strip(".") in pair["rejected"]
    per_row = Counter((pair["prompt"], pair["chosen"]) for pair in pairs)
    assert set(per_row.values()) == {1, 2}
    kinds = Counter((pair["prompt"], pair["kind"]) for pair in pairs)
    assert max(kinds.values()) == 1


def test_a_missed_refusal_answers_what_the_context_lacks(built: DatasetFolder) -> None:
    answers = {row["instruction"]: row["output"] for row in natural_rows()}
    missed = [pair for pair in read(built.preferences) if pair["kind"] == "missed_refusal"]
    near = [pair for pair in missed if "나누어" in pair["instruction"]]
    for pair in missed:
        right = answers[pair["instruction"]]
        assert pair["rejected"] == right if pair not in near else pair["rejected"].startswith("제7조에 따르면 ")
    assert len(missed) > len(near)


def test_the_teachers_rejected_answer_is_the_worse_one_of_its_repair(tmp_path: Path) -> None:
    only = PreferenceConfig(shares={"repair": 1})
    folder = build(tmp_path, natural_rows(), preference_pairs=only, unanswerable_share=0)
    pairs = read(folder.preferences)
    assert [(pair["instruction"], pair["rejected"]) for pair in pairs] == [(REPAIRED, FIRST_ANSWER)]


def test_the_shares_of_the_kinds_are_those_of_the_configuration(built: DatasetFolder) -> None:
    counts = read_report(built.root).preferences.training
    assert sum(counts.values()) == len(read(built.preferences))
    shares = {kind: n / sum(counts.values()) for kind, n in counts.items()}
    assert shares["false_refusal"] == pytest.approx(DatasetConfig().preference_pairs.shares["false_refusal"], abs=0.08)
    assert {"number", "negation", "roles", "article", "hedge", "missed_refusal", "prompt_echo"} <= counts.keys()


def test_held_out_documents_are_only_in_the_held_out_files(built: DatasetFolder) -> None:
    for training, heldout in (
        (built.preferences, built.heldout_preferences),
        (built.training(VERIFY.name), built.heldout(VERIFY.name)),
    ):
        assert read(training) and not any(row["chunk_id"].startswith("p2_") for row in read(training))
        assert not any("다시든든" in row["prompt"].split("질문: ")[0] for row in read(training))
        assert read(heldout) and all(row["chunk_id"].startswith("p2_") for row in read(heldout))
    report = read_report(built.root)
    assert sum(report.preferences.heldout.values()) == len(read(built.heldout_preferences))
    assert sum(report.verifier.heldout.values()) == len(read(built.heldout(VERIFY.name)))


def test_the_pairs_do_not_depend_on_the_order_of_the_rows(built: DatasetFolder, tmp_path: Path) -> None:
    again = build(tmp_path, natural_rows()[::-1], parts=3, unanswerable_share=0.3, verifier_rows=True)
    for name in ("train_dataset_preference", "heldout_preference", "train_dataset_verifier", "heldout_verifier"):
        assert (again.root / f"{name}.json").read_bytes() == (built.root / f"{name}.json").read_bytes()


def test_a_verifier_sees_as_many_right_as_wrong_answers(built: DatasetFolder) -> None:
    path = built.training(VERIFY.name)
    rows, counts = read(path), Counter(row["label"] for row in read(path))
    assert abs(counts["supported"] - counts["unsupported"]) <= 0.05 * len(rows)
    assert len(read_training_rows(path)) == len(rows)
    right = {(row["instruction"], row["output"]) for row in natural_rows() if row["output"] != FIRST_ANSWER}
    for row in rows:
        question, answer = row["prompt"].split("질문: ")[-1].removesuffix("\n### 출력\n").split("\n답변: ")
        assert (row["completion"] == "지지됨") is (row["kind"] == "right") is (row["label"] == "supported")
        assert ((question, answer) in right) is (row["kind"] in ("right", "other_context"))
        assert bool(row["wrong"]) is (row["kind"] not in ("right", "other_context"))
        assert answer == row["answer"] and all(part in answer for part in row["wrong"])
    kinds = read_report(built.root).verifier.training
    assert {"right", "other_context", "negated", "number_invented", "other_article"} <= kinds.keys()


def test_the_files_have_parquet_copies_and_only_the_configured_ones_are_written(
    built: DatasetFolder, tmp_path: Path
) -> None:
    for path in (built.preferences, built.training(VERIFY.name)):
        table = pyarrow.parquet.read_table(built.parquet(path))
        assert table.slice(0, 1).to_pylist() == read(path)[:1]
    folder = build(tmp_path, natural_rows(), preferences=False)
    assert not folder.preferences.exists() and not folder.training(VERIFY.name).exists()
    assert "train_dataset_verifier.json" not in folder.card.read_text(encoding="utf-8")


def test_a_rare_kind_is_preferred_where_it_is_possible() -> None:
    possible = [frozenset(["common", "other"])] * 900 + [frozenset(["common", "other", "rare"])] * 100
    weights = balanced_weights(possible, {"common": 0.6, "other": 0.32, "rare": 0.08})
    chosen = Counter(
        next(kind for kind in weighted_order(weights, Random(n)) if kind in kinds) for n, kinds in enumerate(possible)
    )
    assert chosen["rare"] == pytest.approx(80, abs=15) and chosen["common"] == pytest.approx(600, abs=60)


def test_pairs_without_any_kind_are_rejected() -> None:
    with pytest.raises(InvalidInputError, match=r"preferences=false"):
        PreferenceConfig.parse({"shares": {"hedge": 0}})
