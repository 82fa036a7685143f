"""What the evaluation and the promotion gate left: verdict, rates, paired tests, every answer with its clauses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from insurance_rag.core.run_folder import RunFolder
from insurance_rag.report.reader import Reader, plain_facts
from insurance_rag.report.view import Clause, Evaluation, Group, ModelRates, ShownAnswer, ShownQuestion, Sweep, Verdict


def read_clauses(reader: Reader, run: RunFolder, wanted: set[str]) -> dict[str, Clause]:
    """The clauses that the answers refer to, from the run's own copy of its input."""
    rows = (row for row in reader.jsonl(run.chunks) if row.get("chunk_id") in wanted)
    clauses = {row["chunk_id"]: reader.section(run.chunks, _clause, row) for row in rows}
    return {name: clause for name, clause in clauses.items() if clause}


def _clause(row: Mapping[str, Any]) -> Clause:
    return Clause(text=row["text"], title=row["metadata"]["breadcrumbs"])


def read_verdict(reader: Reader, run: RunFolder) -> Verdict | None:
    path = run.evaluation / "decision.json"
    decision = reader.json(path)
    return None if decision is None else reader.section(path, Verdict.model_validate, decision)


#: Shown first, in this order; the others on request. Empty answers stand here because they hallucinate nothing.
HEADLINES = (
    "hallucination", "gold_hallucination", "raw_hallucination",
    "false_refusal", "missed_refusal", "number_accuracy", "empty",
)  # fmt: skip


def read_evaluation(reader: Reader, run: RunFolder) -> Evaluation | None:
    """The comparison over the retrieved clauses; over the gold ones only the hallucination rate is added to it."""
    path = run.evaluation / "summary.json"
    summary = reader.json(path)
    gold = reader.json(run.evaluation / "summary_gold.json")
    return None if summary is None else reader.section(path, _evaluation, summary, gold)


def _evaluation(summary: Mapping[str, Any], gold: Mapping[str, Any] | None) -> Evaluation:
    models = summary["models"]
    rates = {name: dict(model["rates"]) for name, model in models.items()}
    for name, model in (gold or {"models": {}})["models"].items():
        rates[name]["gold_hallucination"] = model["rates"]["hallucination"]
    known = dict.fromkeys(metric for of in rates.values() for metric in of)
    return Evaluation(
        questions=summary["questions"],
        few=bool(summary["notes"]),
        setup=_setup(summary),
        metrics=[metric for metric in HEADLINES if metric in known],
        further=[metric for metric in known if metric not in HEADLINES],
        models=[ModelRates(name=name, rates=of) for name, of in rates.items()],
        tests=summary["tests"],
        groups={by: _groups(models, f"by_{by}") for by in ("type", "product")},
        findings=_findings(models),
    )


def _groups(models: Mapping[str, Any], by: str) -> list[Group]:
    """The hallucination rate, value by value and model by model."""
    values = dict.fromkeys(value for model in models.values() for value in model[by])
    return [
        Group(value=v, rates={name: model[by][v]["hallucination"] for name, model in models.items() if v in model[by]})
        for v in values
    ]


def _findings(models: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    checks = dict.fromkeys(check for model in models.values() for check in model["findings"])
    return {check: {name: model["findings"].get(check, 0) for name, model in models.items()} for check in checks}


def _setup(summary: Mapping[str, Any]) -> dict[str, str]:
    """How it was evaluated, in the few figures that a reader of the table needs."""
    nested = {"decoding": summary.get("decoding"), "retrieval": summary.get("retrieval")}
    facts = {"base_model": summary.get("base_model"), "seconds": summary.get("wall_seconds")}
    for values in nested.values():
        if isinstance(values, dict):
            facts |= values
    return plain_facts(facts)


def read_sweep(reader: Reader, run: RunFolder) -> Sweep | None:
    """What `sweep --out RUN/evaluation` left."""
    path = run.evaluation / "sweep.json"
    sweep = reader.json(path)
    return None if sweep is None else reader.section(path, _sweep, sweep)


def _sweep(sweep: Mapping[str, Any]) -> Sweep:
    report = sweep["report"]
    return Sweep(
        questions=sweep["questions"]["report"],
        arms={model: {arm: report[arm][model]["hallucination"] for arm in report} for model in sweep["best"]},
        best=sweep["best"],
        p={model: row["after_against_before"]["p"] for model, row in sweep["before_after"].items()},
    )


def read_questions(reader: Reader, run: RunFolder) -> list[ShownQuestion] | None:
    """The answers by question, in the order of the file; those to the gold clauses alone where they differ."""
    path = run.evaluation / "answers.jsonl"
    by_question = _by_question(reader, path)
    given_gold = _by_question(reader, run.evaluation / "answers_gold.jsonl")
    shown = [reader.section(path, _question, rows, given_gold.get(name, [])) for name, rows in by_question.items()]
    return [question for question in shown if question] or None


def _by_question(reader: Reader, path: Path) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in reader.jsonl(path):
        rows.setdefault(str(row.get("question_id")), []).append(row)
    return rows


def _question(rows: list[dict[str, Any]], given_gold: list[dict[str, Any]]) -> ShownQuestion:
    first = rows[0]
    answers = [_answer(row) for row in rows]
    return ShownQuestion(
        id=first["question_id"],
        question=first["question"],
        type=first["type"],
        product=first["product"],
        answerable=first["answerable"],
        gold=first["gold_chunk_ids"],
        retrieved=first["chunk_ids"],
        reference=first["reference_answer"],
        answers=answers,
        gold_answers=[answer for answer in map(_answer, given_gold) if answer not in answers],
    )


def _answer(row: Mapping[str, Any]) -> ShownAnswer:
    cut = row["raw_answer"].strip() != row["answer"].strip()
    return ShownAnswer.model_validate({**row, "raw": row["raw_answer"] if cut else None, "cut": row["stop_cut"]})
