"""A verifier is trained, calibrated on held-out answers, and used in an evaluation, with a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from tests.evaluation.fake_model import REFUSAL_ANSWER, FakeBackend
from tests.evaluation.tiny import make_adapter, make_base
from tests.fakes.training_manifest import training_manifest
from transformers import LlamaForCausalLM

from insurance_rag.chunks import read_chunks, read_questions
from insurance_rag.cli.main import main
from insurance_rag.config import DecodingConfig, EvaluationConfig
from insurance_rag.core.adapter_folder import AdapterFolder
from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json, read_jsonl, write_json
from insurance_rag.core.prompt_templates import SUPPORTED, UNSUPPORTED, VERIFY, question_with_answer
from insurance_rag.core.records import EvaluationSummary, ScoredAnswer, SplitSummary, ValidationReport
from insurance_rag.evaluation import runner
from insurance_rag.evaluation.backends.local.verifier_model import VerifierModel
from insurance_rag.evaluation.prompts import own_format
from insurance_rag.evaluation.verifier.adapter import read_calibration
from insurance_rag.evaluation.verifier.calibrate import calibrate
from insurance_rag.evaluation.verifier.calibration import ScoredRow, measure, threshold_half
from insurance_rag.evaluation.verifier.claims import claims_of_row
from insurance_rag.training import load_recipe, train_adapter

DOCUMENT = "held-out.pdf"
ANSWERED = 4


def verifier_row(n: int, kind: str) -> dict[str, str]:
    chunk = read_chunks("sample")[n % 40]
    amount = n + 100 if kind == "right" else n + 200
    answer = f"제{n % 9 + 1}조에 따라 {amount}만원을 지급합니다. 접수 후 {n % 5 + 1}일 안에 지급합니다."
    return {
        "prompt": VERIFY.prompt(question_with_answer("얼마를 지급합니까?", answer), chunk.text[:80]),
        "completion": SUPPORTED if kind == "right" else UNSUPPORTED,
        "chunk_id": chunk.chunk_id,
        "kind": kind,
        "answer": answer,
    }


def write_dataset(folder: Path, right: int = 60, documents: tuple[str, ...] = (DOCUMENT,)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(
        folder / "train_dataset_verifier.json",
        [verifier_row(n, kind) for n in range(8) for kind in ("right", "negated")],
    )
    rows = [verifier_row(n, "right") for n in range(right)]
    rows += [verifier_row(n, kind) for n in range(20) for kind in ("negated", "number_swapped")]
    write_json(DatasetFolder(folder).heldout(VERIFY.name), rows)
    counts = {"rows": 0, "kept": 0, "dropped": 0, "drops": {}}
    fields = {name: counts.get(name, 0) for name, field in ValidationReport.model_fields.items() if field.is_required()}
    report = fields | {"by_shard": {}, "by_type": {}, "split": SplitSummary(documents=list(documents)).model_dump()}
    write_json(DatasetFolder(folder).report, report)
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("dataset"))


@pytest.fixture(scope="module")
def verifier(base: Path, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a verifier that was trained for a few steps and calibrated with the command."""
    folder = tmp_path_factory.mktemp("adapters") / "verifier"
    settings = {"profile": "smoke", "max_steps": 3, "eval_rows": 2, "warmup_steps": 0}
    train_adapter(load_recipe("verifier", settings), dataset, str(base), folder, recipe_name="verifier")
    paths = ["--adapter", str(folder), "--dataset", str(dataset), "--base-model", str(base)]
    assert main(["verifier", *paths, "--json"]) == 0
    return folder


def made_up(right: dict[str, float], wrong: dict[str, dict[str, float]]) -> list[ScoredRow]:
    rows = [ScoredRow(chunk, "right", True, score) for chunk, score in right.items()]
    return rows + [ScoredRow(c, kind, False, score) for kind, of in wrong.items() for c, score in of.items()]


def test_one_half_chooses_the_threshold_and_the_other_is_measured() -> None:
    chunks = [f"c{n}" for n in range(400)]
    chosen_on = threshold_half(chunks)
    measured = sorted(set(chunks) - chosen_on)
    assert len(chosen_on) == len(measured) == 200
    # The half that chooses: scores from 1 to 200, so two scores (1 %) may be below the threshold. In the other half,
    # five right answers are below it.
    right = {c: float(n + 1) for n, c in enumerate(sorted(chosen_on))}
    right |= {c: 2.0 if n < 5 else 50.0 for n, c in enumerate(measured)}
    negated = dict.fromkeys(chunks, -1.0)
    roles = {c: 0.0 if n < 20 else 9.0 for n, c in enumerate(measured)}
    found = measure(made_up(right, {"negated": negated, "roles": roles}))
    assert found.threshold == 3.0 and found.right_answers_for_threshold == 200
    assert (found.specificity.count, found.specificity.n) == (195, 200)
    assert {kind: (rate.count, rate.n) for kind, rate in found.recall_by_kind.items()} == {
        "negated": (200, 200),
        "roles": (20, 200),
    }
    assert (found.recall.count, found.recall.n, found.untrusted) == (220, 400, ["roles"])
    low, high = found.recall_by_kind["roles"].low, found.recall_by_kind["roles"].high
    assert low is not None and high is not None and low < 0.1 < high


def test_a_single_chunk_cannot_be_divided() -> None:
    with pytest.raises(InvalidInputError, match="hold out more documents"):
        measure(made_up({"c": 1.0}, {"negated": {"c": 0.0}}))


def test_calibration_is_written_next_to_the_adapter(verifier: Path, dataset: Path) -> None:
    found = read_calibration(verifier)
    assert found.heldout_file == str(DatasetFolder(dataset).heldout(VERIFY.name).resolve())
    assert set(found.recall_by_kind) == {"negated", "number_swapped"}
    assert found.specificity.n + found.right_answers_for_threshold == 60 and found.unscored == 0


def test_scores_are_those_of_peft(base: Path, verifier: Path) -> None:
    row = verifier_row(3, "right")
    prompts = [claim.prompt for claim in claims_of_row(row["prompt"], row["answer"])]
    assert len(prompts) == 2 and prompts[1].endswith("답변: 접수 후 4일 안에 지급합니다.\n### 출력\n")
    prompts.append(verifier_row(5, "right")["prompt"] * 20)  # longer than the context of the base model
    scores: dict[int, float | None] = {}
    with VerifierModel(verifier, str(base), "fp32") as model:
        model.score(prompts, scores.__setitem__)
        tokenizer, common = model.tokenizer, model.common
    peft = PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(base), verifier).eval()
    yes, no = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (SUPPORTED, UNSUPPORTED))
    assert yes[: len(common)] == no[: len(common)] and yes[len(common)] != no[len(common)]
    for n in (0, 1):
        with torch.no_grad():
            logits = peft(input_ids=torch.tensor([tokenizer(prompts[n])["input_ids"] + common])).logits[0, -1]
        assert scores[n] == pytest.approx(float(logits[yes[len(common)]] - logits[no[len(common)]]), abs=1e-3)
    assert scores[2] is None


def evaluate_answers(
    answers: list[str], base: Path, out: Path, monkeypatch: pytest.MonkeyPatch, **settings: object
) -> tuple[list[ScoredAnswer], EvaluationSummary]:
    questions, chunks = read_questions("sample")[: len(answers)], read_chunks("sample")
    backend = FakeBackend({q.question_id: text for q, text in zip(questions, answers, strict=True)})
    monkeypatch.setattr(runner, "open_backend", lambda *_: backend)
    config = EvaluationConfig.parse({"contexts": ["gold"], **settings}, "test")
    runner.evaluate(questions, chunks, str(base), {}, DecodingConfig(), out, config, cache=out.parent / "cache")
    return read_results(out)


def read_results(out: Path) -> tuple[list[ScoredAnswer], EvaluationSummary]:
    rows = [ScoredAnswer.model_validate(row) for row in read_jsonl(out / "answers.jsonl")]
    return rows, EvaluationSummary.model_validate(read_json(out / "summary.json"))


def recalibrated(verifier: Path, folder: Path, threshold: float) -> Path:
    """Return a copy of the verifier with another threshold."""
    folder.mkdir()
    for path in verifier.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    changed = read_calibration(verifier).model_copy(update={"threshold": threshold})
    write_json(AdapterFolder(folder).verifier, changed.model_dump(mode="json"))
    return folder


def test_findings_appear_and_rescoring_keeps_them(
    base: Path, verifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict, out = recalibrated(verifier, tmp_path / "strict", 1e6), tmp_path / "evaluation"
    questions = read_questions("sample")[:2]
    supported = [str(q.reference_answer) for q in questions]
    answers = [supported[0], f"{supported[1]} {REFUSAL_ANSWER}", REFUSAL_ANSWER, ""]
    without, plain_summary = evaluate_answers(answers, base, tmp_path / "without", monkeypatch)
    rows, summary = evaluate_answers(answers, base, out, monkeypatch, verifier=str(strict))
    flagged = [[f.span for f in row.findings if f.check == "verifier"] for row in rows]
    assert flagged[0] and "".join(flagged[0]) in supported[0] and REFUSAL_ANSWER not in flagged[1]
    assert flagged[2:] == [[], []] and [row.verifier_score is None for row in rows] == [False, False, True, True]
    # The verifier has a metric of its own and does not change the others.
    assert [row.hallucinated for row in rows] == [row.hallucinated for row in without]
    rates = summary.models["Base"].rates
    assert (rates["verifier_flagged"].count, rates["verifier_flagged"].n) == (2, 2)
    assert plain_summary.models["Base"].rates["verifier_flagged"].n == 0
    assert rates["hallucination"] == plain_summary.models["Base"].rates["hallucination"]
    assert summary.verifier == read_calibration(strict) and plain_summary.verifier is None

    before, stored = (out / "answers.jsonl").read_bytes(), (out / "verifier.jsonl").read_bytes()
    monkeypatch.setattr(VerifierModel, "score", lambda *_: pytest.fail("a model was used"))
    runner.rescore(out, read_questions("sample")[:ANSWERED], read_chunks("sample"))
    assert (out / "answers.jsonl").read_bytes() == before
    counted, _ = evaluate_answers(answers, base, out, monkeypatch, verifier=str(strict), verifier_counts=True)
    assert [row.hallucinated for row in counted[:2]] == [True, True]
    assert (out / "verifier.jsonl").read_bytes() == stored  # a repeated evaluation reuses the scores


def test_unusable_verifiers_are_rejected_before_a_model_loads(
    base: Path, verifier: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VerifierModel, "__init__", lambda *_: pytest.fail("a model was loaded"))
    answering = make_adapter(base, tmp_path / "v2", 1)
    with pytest.raises(InvalidInputError, match="not a finished adapter; train one"):
        calibrate(answering, dataset, str(base))
    write_json(AdapterFolder(answering).manifest, training_manifest(base_model=str(base)).model_dump(mode="json"))
    with pytest.raises(InvalidInputError, match="not a verifier, it was trained on the prompt format rag"):
        calibrate(answering, dataset, str(base))
    other = make_base(tmp_path / "other", hidden_size=32)
    with pytest.raises(InvalidInputError, match=r"was trained on .* give the same base model"):
        calibrate(verifier, dataset, str(other))
    moved = recalibrated(verifier, tmp_path / "moved", 0.0)
    manifest = json.loads(AdapterFolder(moved).manifest.read_text()) | {"base_model": str(tmp_path / "gone")}
    write_json(AdapterFolder(moved).manifest, manifest)
    with pytest.raises(InvalidInputError, match=r"does not fit .*; give the base model that it was trained on"):
        calibrate(moved, dataset, str(other))
    AdapterFolder(moved).verifier.unlink()
    with pytest.raises(InvalidInputError, match=r"has no verifier\.json; calibrate it with"):
        evaluate_answers([""], base, tmp_path / "out", monkeypatch, verifier=str(moved))
    with pytest.raises(InvalidInputError, match="answers no questions; give it as --verifier"):
        own_format(verifier)


def test_unusable_heldout_rows_are_rejected(verifier: Path, base: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"no held-out rows for a verifier; run .*dataset.verifier_rows=true"):
        calibrate(verifier, tmp_path, str(base))
    with pytest.raises(InvalidInputError, match="has 49 right answers, but a threshold needs at least 50"):
        calibrate(verifier, write_dataset(tmp_path / "few", right=49), str(base))
    seen = write_dataset(tmp_path / "seen", documents=(DOCUMENT, "trained.pdf"))
    with pytest.raises(InvalidInputError, match=r"trained on 1 of the held-out documents, e.g. 'trained.pdf'"):
        calibrate(verifier, seen, str(base))
    broken = write_dataset(tmp_path / "broken")
    rows = read_json(DatasetFolder(broken).heldout(VERIFY.name))
    rows[2]["answer"] = "다른 답변입니다."
    write_json(DatasetFolder(broken).heldout(VERIFY.name), rows)
    with pytest.raises(InvalidInputError, match="row 3: its prompt does not end with its answer"):
        calibrate(verifier, broken, str(base))


def test_a_damaged_calibration_is_rejected(verifier: Path, tmp_path: Path) -> None:
    damaged = recalibrated(verifier, tmp_path / "damaged", 0.0)
    values = read_json(AdapterFolder(damaged).verifier)
    del values["threshold"]
    write_json(AdapterFolder(damaged).verifier, values)
    with pytest.raises(InvalidInputError, match=r"not a calibration \(threshold: Field required\)"):
        read_calibration(damaged)
