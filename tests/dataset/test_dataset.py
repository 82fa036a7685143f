"""The training files: formats to the character, refusals and distractors, caps, the card."""
# ruff: noqa: E501  golden strings are not broken

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
import yaml
from tests.validation.helpers import CLAUSE, chunk, read_rows, row, with_dataset, write_part

from insurance_rag.config import DatasetConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json
from insurance_rag.core.records import REFUSAL
from insurance_rag.dataset import hub
from insurance_rag.dataset.balance import balance_report, over_the_caps
from insurance_rag.dataset.contexts import Contexts, names_product
from insurance_rag.dataset.examples import chat_example, merged_example, plain_example, rag_example
from insurance_rag.validation import validate_parts

ROW = row(
    instruction="암 진단비는 얼마인가요?",
    output="제7조에 따르면 3,000만원입니다.",
    input="제7조(암 진단비)\n3,000만원을 지급합니다.",
)


def test_plain_rows_to_the_character() -> None:
    example = plain_example(ROW)
    assert example["text"] == (
        "### 지시\n암 진단비는 얼마인가요?\n### 입력\n제7조(암 진단비)\n3,000만원을 지급합니다.\n### 출력\n제7조에 따르면 3,000만원입니다."
    )
    assert example["prompt"].endswith("### 출력\n") and example["prompt"] + example["completion"] == example["text"]


@pytest.mark.parametrize("clause", ["가" * 700, "한 문장입니다. " * 80, "끝" * 490 + ". 다음 문장입니다."])
def test_plain_clauses_are_cut_to_500_characters(clause: str) -> None:
    shown = plain_example(ROW | {"input": clause})["input"]
    assert len(shown) <= 500 and clause.startswith(shown)


def test_rag_rows_to_the_character() -> None:
    example = rag_example(ROW)
    assert example["text"] == (
        "### 지시\n아래 제공된 [보험약관]을 참고하여 사용자의 질문에 답변하세요. 약관에 명시된 내용에 근거하여 답변해야 하며, "
        "약관에 없는 내용은 추측하지 말고 '약관에 해당 내용이 없습니다'라고 답변하세요.\n### 입력\n[보험약관]\n제7조(암 진단비)\n"
        "3,000만원을 지급합니다.\n\n질문: 암 진단비는 얼마인가요?\n### 출력\n제7조에 따르면 3,000만원입니다.<|end_of_text|>"
    )
    assert example["completion"] == "제7조에 따르면 3,000만원입니다."
    assert example["prompt"] + example["completion"] + "<|end_of_text|>" == example["text"]


def test_merged_and_chat_rows() -> None:
    example = merged_example(ROW)
    assert example["text"] == (
        "### 지시\n암 진단비는 얼마인가요?\n\n### 입력\n제7조(암 진단비)\n3,000만원을 지급합니다.\n\n### 출력\n제7조에 따르면 3,000만원입니다."
    )
    assert example["meta"] == {"model": "teacher"}
    messages = chat_example(rag_example(ROW))["messages"]
    assert [m["role"] for m in messages] == ["system", "user", "assistant"]
    assert (
        messages[1]["content"]
        == "[보험약관]\n제7조(암 진단비)\n3,000만원을 지급합니다.\n\n질문: 암 진단비는 얼마인가요?"
    )
    assert messages[2]["content"] == ROW["output"]


# ---- the files


def clauses() -> list[Any]:
    """Three sister products of 14 clauses each; the first clause differs in its amount alone."""
    found = []
    for n, name in enumerate(("든든", "여성든든", "다시든든")):
        facts = {"source": f"{n}.pdf", "product": f"한빛 {name} 암보험"}
        found.append(chunk(f"p{n}_00", CLAUSE.replace("3,000", f"{3 + n},000"), **facts))
        for k, word in enumerate(
            ["청약", "해지", "부활", "소멸", "대출", "배당", "분쟁", "관할", "청구", "통지", "연체", "갱신", "특약"]
        ):
            text = f"제{k + 10}조({word}의 절차)\n{word}에 관한 {name} 상품의 업무는 {word} 신청서를 받은 뒤 {word} 부서가 맡습니다."
            found.append(chunk(f"p{n}_{k + 1:02}", text, **facts))
    return found


def generated() -> list[dict[str, Any]]:
    rows = []
    for n, one in enumerate(clauses()):
        product = one.metadata.breadcrumbs.split(" > ")[0]
        heading = one.text[one.text.index("(") + 1 : one.text.index(")")]
        article = one.text[: one.text.index("(")]
        answer = f"{article}에 따르면 {one.text.splitlines()[1].removeprefix('① ')}"
        for k, ask in enumerate(
            (
                f"{product}에서 {heading}는 어떤가요?",
                f"{product} 가입자입니다. {heading} 부분이 궁금한데 알려 주시겠어요?",
            )
        ):
            rows.append({"chunk_id": one.chunk_id, "type": ("fact", "easy")[k], "instruction": ask, "input": one.text,
                         "output": answer if k else answer + f" {heading}에 적혀 있습니다.", "evidence": "", "meta": {"n": n}})  # fmt: skip
    return rows


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    part = write_part(folder / "dataset_part_1.json", generated())
    validate_parts([part], clauses(), folder / "out", with_dataset(unanswerable_share=0.15, distractor_share=0.5))
    return folder / "out"


def test_a_planned_share_is_unanswerable_and_labelled(built: Path) -> None:
    rows = read_rows(built / "train_dataset_rag.json")
    refusals = [r for r in rows if not r["answerable"]]
    assert abs(len(refusals) / len(rows) - 0.15) < 0.01
    answers = {(r["chunk_id"], r["instruction"]): r["output"] for r in rows if r["answerable"]}
    for refused in refusals:
        assert (refused["type"], refused["completion"], refused["evidence"]) == ("unanswerable", REFUSAL, "")
        assert refused["chunk_id"] not in refused["context_chunk_ids"]
        assert answers[refused["chunk_id"], refused["instruction"]].split("따르면 ")[1][:40] not in refused["prompt"]


def test_a_share_has_distractors_beside_the_right_clause(built: Path) -> None:
    rows = [r for r in read_rows(built / "train_dataset_rag.json") if r["answerable"]]
    crowded = [r for r in rows if len(r["context_chunk_ids"]) > 1]
    assert 0.3 < len(crowded) / len(rows) < 0.7
    texts = {c.chunk_id: c.text for c in clauses()}
    for example in crowded:
        assert 3 <= len(example["context_chunk_ids"]) <= 5
        assert example["chunk_id"] in example["context_chunk_ids"]
        assert example["input"] == "\n\n".join(texts[i] for i in example["context_chunk_ids"])
        assert len(example["input"]) <= 1600 + 2 * 4
    assert len({r["context_chunk_ids"].index(r["chunk_id"]) for r in crowded}) > 1  # the right one is not always first


def test_without_shares_the_dataset_is_the_specs(tmp_path: Path) -> None:
    part = write_part(tmp_path / "p.json", generated())
    validate_parts([part], clauses(), tmp_path / "out", with_dataset(unanswerable_share=0, distractor_share=0))
    rows = read_rows(tmp_path / "out/train_dataset_rag.json")
    assert len(rows) == len(read_rows(tmp_path / "out/train_dataset_final_v2.json"))
    assert all(r["answerable"] and r["context_chunk_ids"] == [r["chunk_id"]] for r in rows)


def test_generated_refusals_are_kept_labelled_and_checked(tmp_path: Path) -> None:
    refused = row(1, type="unanswerable", answerable=False, output=REFUSAL, evidence="")
    answered = row(2, type="unanswerable", answerable=False)
    part = write_part(tmp_path / "p.json", [row(3), refused, answered])
    validate_parts([part], [chunk("c1")], tmp_path / "out", with_dataset())
    report = read_json(tmp_path / "out/report.json")
    assert (report["kept"], report["drops"]["missed_refusal"]) == (2, 1)
    assert [r["answerable"] for r in read_rows(tmp_path / "out/train_dataset.json")] == [True]
    assert not next(r for r in read_rows(tmp_path / "out/train_dataset_rag.json") if r["completion"] == REFUSAL)[
        "answerable"
    ]


def test_the_files_open_with_datasets_and_pyarrow(built: Path, tmp_path: Path) -> None:
    import pyarrow.parquet
    from datasets import load_dataset

    for name in (
        "train_dataset.json",
        "train_dataset_rag.json",
        "train_dataset_final_v2.json",
        "train_dataset_chat.json",
    ):
        rows = read_rows(built / name)
        loaded = load_dataset("json", data_files=str(built / name), cache_dir=str(tmp_path), split="train")
        assert loaded.num_rows == len(rows) and loaded[0] == rows[0]
        table = pyarrow.parquet.read_table(built / "parquet" / f"{Path(name).stem}.parquet")
        first = {key: value for key, value in rows[0].items() if key != "meta"}
        assert table.num_rows == len(rows) and table.slice(0, 1).to_pylist() == [first]


def test_the_card_has_a_header_and_the_figures(built: Path) -> None:
    _, header, body = (built / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    fields = yaml.safe_load(header)
    assert fields["language"] == ["ko"] and len(fields["configs"]) == 3
    assert all((built / c["data_files"][0]["path"]).is_file() for c in fields["configs"])
    report = read_json(built / "report.json")
    assert f"{report['kept']:,} of" in body.replace("\n", " ") and "| near_duplicate |" in body
    assert "funnel.svg" in body and "<svg" in (built / "funnel.svg").read_text(encoding="utf-8")


# ---- parts


def test_a_question_names_its_product_only_where_its_sisters_are_told_apart() -> None:
    own, sister = chunk("a", product="한빛 든든 암보험"), chunk("b", product="한빛 여성든든 암보험")
    assert names_product("한빛 든든 암보험의 면책기간은요?", own, sister)
    assert names_product("한빛 여성든든 암보험의 면책기간은요?", sister, own)
    assert not names_product("암보험의 면책기간은 며칠인가요?", own, sister)
    assert not names_product("한빛 여성든든 암보험의 면책기간은요?", own, own)


def test_no_negative_where_every_clause_holds_the_answer() -> None:
    one, same = chunk("a"), chunk("b", source="b.pdf", product="다른 암보험")
    assert Contexts([one, same], DatasetConfig()).without_answer(row(chunk_id="a")) == []
    assert Contexts([one], DatasetConfig()).with_distractors(row(chunk_id="unknown")) == []


def test_caps_bring_the_largest_group_down_and_say_which_rows_go() -> None:
    kinds = ["easy"] * 80 + ["fact"] * 15 + ["scenario"] * 5
    out = over_the_caps({"type": kinds}, {"type": 0.5}, list(range(100)))
    left = [kind for n, kind in enumerate(kinds) if n not in set(out)]
    assert left.count("easy") == 20 and left.count("fact") == 15 and out == list(range(20, 80))
    assert over_the_caps({"type": ["a", "b"] * 5}, {"type": 0.3}, list(range(10))) == []
    report = balance_report({"type": kinds})["type"]
    assert report["easy"] == {"rows": 80, "share": 0.8, "top_up": 0} and report["scenario"]["top_up"] == 29


def test_capped_rows_are_counted_and_kept_among_the_rejects(tmp_path: Path) -> None:
    part = write_part(tmp_path / "p.json", [row(n, type="easy" if n < 30 else "fact") for n in range(40)])
    result = validate_parts([part], [chunk("c1")], tmp_path / "out", with_dataset(caps={"type": 0.5}))
    report = read_json(tmp_path / "out/report.json")
    assert (result["kept"], report["drops"]["balance"]) == (20, 20)
    lines = (tmp_path / "out/rejects.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(line)["reason"] for line in lines} == {"balance"}


def test_a_failed_upload_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InvalidInputError, match="HF_TOKEN"):
        hub.push_to_hub(tmp_path, "someone/data")


def test_no_held_out_rows_are_files_that_open(tmp_path: Path) -> None:
    part = write_part(tmp_path / "p.json", generated())
    validate_parts([part], clauses(), tmp_path / "out", with_dataset())
    assert read_rows(tmp_path / "out/heldout.json") == []
    assert pyarrow.parquet.read_table(tmp_path / "out/parquet/heldout.parquet").num_rows == 0
