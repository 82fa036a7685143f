"""Evaluate Base and adapters on the same questions: retrieve, answer, check, compare."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from insurance_rag.config import DecodingConfig, EvaluationConfig
from insurance_rag.core.artifacts import artifact, write_manifest
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json, write_json, write_jsonl
from insurance_rag.core.progress import Progress
from insurance_rag.core.prompt_templates import rag_prompt
from insurance_rag.core.records import Chunk, Question
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.evaluation.annotations import agreement, write_sheet
from insurance_rag.evaluation.comparison import write_comparisons
from insurance_rag.evaluation.journal import EvaluationJournal
from insurance_rag.evaluation.requests import BASE, JOINT, GenerationRequest, Reply, answer_key
from insurance_rag.evaluation.samples import EvalSample, make_samples
from insurance_rag.evaluation.scoring import ScoredAnswer, score
from insurance_rag.evaluation.summary import summarize
from insurance_rag.retrieval import build_retriever, measure_retrieval

SMALLEST_CLAUSE_TOKENS = 50
#: Replies are synced to disk after this many seconds at the latest.
SYNC_EVERY_S = 5.0


class ModelBackend(Protocol):
    """Who answers: a model in this process, a server, or the source's way."""

    @property
    def identities(self) -> Mapping[str, str]: ...

    @property
    def context_limit(self) -> int: ...

    def count_tokens(self, text: str) -> int: ...

    def answer(self, asks: Sequence[GenerationRequest], decoding: DecodingConfig, on_reply: Any) -> None: ...


def evaluate(
    questions: Sequence[Question],
    chunks: Sequence[Chunk],
    base_model: str,
    adapters: Mapping[str, Path],
    decoding: DecodingConfig,
    out: Path,
    config: EvaluationConfig | None = None,
    *,
    labels: Mapping[str, bool] | None = None,
    cache: Path | None = None,
    progress: Path | None = None,
) -> dict[str, Any]:
    """Let Base and every adapter answer; returns {uri, sha256, rows, questions, hallucination, notes}.

    Writes into `out`: answers.jsonl and summary.json of the first context source (and, with the suffix _gold, of the
    other), retrieval.json, comparison_results.json, comparison_results_v2.json, a manifest. Run again it asks only what
    changed. `labels` are people's verdicts by answer key (labels.read_sheet); `cache` keeps the retriever's index,
    `progress` gets the progress file.
    """
    config = config or EvaluationConfig()
    check_inputs(questions, chunks, adapters)
    RunFolder(out).create()
    retriever = build_retriever(config.retrieval.kind, chunks, cache, config.retrieval)
    retrieval = measure_retrieval(retriever, questions, config.retrieval.use_filters)
    started = time.monotonic()
    with open_backend(base_model, adapters, config) as answerer:
        room = prompt_budget(answerer, decoding.max_new_tokens)
        cases = list(make_samples(questions, chunks, retriever, config, room, answerer.count_tokens))
        scored = answer_samples(cases, [BASE, *adapters], answerer, decoding, config, out, progress)
    facts: dict[str, Any] = {
        "base_model": base_model,
        "decoding": decoding.model_dump(mode="json"),
        "config": config.model_dump(mode="json"),
        "retrieval": {key: value for key, value in retrieval.items() if key != "rows"},
        "seen": seen_questions(questions, chunks, adapters),
        "adapters": {name: artifact(folder) for name, folder in adapters.items()},
        "wall_seconds": round(time.monotonic() - started, 1),
    }
    write_json(out / "retrieval.json", retrieval)
    for source in reversed(config.contexts):  # the first one, whose files have no suffix, is written last
        rows = [row for row in scored if row.context_source == source]
        summary = {"context": source, **summarize(rows, [BASE, *adapters], config.warn_below, config.draws), **facts}
        summary["notes"] += [
            f"{name} was trained on the documents that {n} of the questions are about: validate with --questions"
            for name, n in facts["seen"].items()
            if n
        ]
        summary |= judge_and_annotations(rows, [BASE, *adapters], config, labels, out, progress)
        suffix = "" if source == config.contexts[0] else f"_{source}"
        write_jsonl(out / f"answers{suffix}.jsonl", (row.model_dump(mode="json") for row in rows))
        write_json(out / f"summary{suffix}.json", summary)
    write_comparisons(out, rows, summary)
    write_sheet(out / "labelling.csv", rows)
    return write_result(out, summary, len(rows))


def judge_and_annotations(
    rows: Sequence[ScoredAnswer],
    models: Sequence[str],
    config: EvaluationConfig,
    labels: Mapping[str, bool] | None,
    out: Path,
    progress: Path | None,
) -> dict[str, Any]:
    """What a judge says, where one is configured, and how people's labels agree with the checks and with the judge."""
    opinions: dict[str, Any] = {}
    flags = {"checks": [(row.key, row.model, row.hallucinated) for row in rows]}
    if config.judge:
        from insurance_rag.evaluation.judge import judge_answers, judged_rates

        judgements = judge_answers(rows, config.judge, out, progress)
        suffix = "" if rows[0].context_source == config.contexts[0] else f"_{rows[0].context_source}"
        write_jsonl(out / f"judgements{suffix}.jsonl", (j.model_dump(mode="json") for j in judgements))
        opinions["judge"] = {"name": config.judge, "models": judged_rates(judgements, models)}
        usable = [(j.key, j.model, j.hallucinated) for j in judgements if j.hallucinated is not None]
        flags["judge"] = usable
    if labels:
        opinions["labels"] = {
            who: agreement(
                labels,
                {key: flag for key, _, flag in own},
                {model: [flag for _, of, flag in own if of == model] for model in models},
            )
            for who, own in flags.items()
        }
    return opinions


def write_result(out: Path, summary: dict[str, Any], rows: int) -> dict[str, Any]:
    """The manifest of the evaluation, and what XCom carries of it."""
    manifest = write_manifest(
        out / "answers.jsonl", parents=summary["adapters"].values(), rows=rows, questions=summary["questions"]
    )
    rates = {name: model["rates"]["hallucination"] for name, model in summary["models"].items()}
    return manifest | {"uri": str(out.resolve()), "hallucination": rates, "notes": summary["notes"]}


def check_inputs(questions: Sequence[Question], chunks: Sequence[Chunk], adapters: Mapping[str, Path]) -> None:
    """Raise InvalidInputError with everything that is wrong before a model is loaded."""
    known = {chunk.chunk_id for chunk in chunks}
    problems = [
        f"question {q.question_id}: gold chunk {i!r} is not among the chunks; give the chunks it was made from"
        for q in questions
        for i in q.gold_chunk_ids
        if i not in known
    ]
    if not questions:
        problems.append("there is no question to ask")
    if BASE in adapters:
        problems.append(f"--adapter {BASE}=...: that name is the base model's own")
    for name, folder in adapters.items():
        problems += [
            f"adapter {name}: {folder / file} is missing; train it first"
            for file in ("adapter_config.json", "adapter_model.safetensors")
            if not (folder / file).is_file()
        ]
    if problems:
        raise InvalidInputError(problems)


def seen_questions(
    questions: Sequence[Question], chunks: Sequence[Chunk], adapters: Mapping[str, Path]
) -> dict[str, int]:
    """How many questions are about documents an adapter was trained on, for those that say what they left out."""
    sources = {chunk.chunk_id: chunk.metadata.source for chunk in chunks}
    about = [{sources[i] for i in question.gold_chunk_ids} for question in questions]
    seen = {}
    for name, folder in adapters.items():
        path = folder / "training.json"
        heldout = read_json(path)["dataset"].get("heldout_documents") if path.is_file() else None
        if heldout is not None:
            seen[name] = sum(not documents.issubset(heldout) for documents in about)
    return seen


def prompt_budget(answerer: ModelBackend, new_tokens: int) -> int:
    """Tokens of the context that are left for a prompt; InvalidInputError where that is no room for a clause."""
    room = answerer.context_limit - new_tokens
    if room < answerer.count_tokens(rag_prompt("", "")) + SMALLEST_CLAUSE_TOKENS:
        raise InvalidInputError(
            f"max_new_tokens {new_tokens} leaves {room} of {answerer.context_limit} tokens for the prompt, which is no "
            "room for a clause; set decoding.max_new_tokens lower"
        )
    return room


def open_backend(
    base_model: str, adapters: Mapping[str, Path], config: EvaluationConfig
) -> AbstractContextManager[ModelBackend]:
    """Who answers, by the configuration: a server, the source's way, or one base in this process."""
    if config.server:
        from insurance_rag.evaluation.backends.server import ServerBackend

        return ServerBackend(base_model, adapters, config)
    if config.reference:
        from insurance_rag.evaluation.backends.reference import ReferenceBackend

        return ReferenceBackend(base_model, adapters)
    from insurance_rag.evaluation.backends.local.backend import LocalBackend

    return LocalBackend(base_model, adapters, config)


def answer_samples(
    cases: Sequence[EvalSample],
    models: Sequence[str],
    answerer: ModelBackend,
    decoding: DecodingConfig,
    config: EvaluationConfig,
    out: Path,
    progress: Path | None,
    label: str = "answers",
) -> list[ScoredAnswer]:
    """GenerationRequest what the journal does not hold yet, then score everything."""
    keyed: list[tuple[EvalSample, GenerationRequest]] = []
    for case in cases:
        prompt = rag_prompt(case.question.question, JOINT.join(text for _, text in case.shown))
        for model in models:
            key = answer_key(prompt, case.question.question_id, answerer.identities[model], decoding)
            keyed.append((case, GenerationRequest(key, model, case.question.question_id, prompt)))
    wanted = {ask.key: ask for _, ask in keyed}  # retrieved and gold context are often the same prompt
    with EvaluationJournal(out / "answers.journal.jsonl") as journal:
        missing = [ask for key, ask in wanted.items() if key not in journal.replies]
        done = len(wanted) - len(missing)
        with Progress("evaluate", label, total=len(wanted), done=done, unit="answers", folder=progress) as bar:
            synced = time.monotonic()

            def keep(ask: GenerationRequest, reply: Reply) -> None:
                nonlocal synced
                journal.add(ask.key, reply)
                bar.advance()
                if time.monotonic() - synced > SYNC_EVERY_S:
                    journal.sync()
                    synced = time.monotonic()

            if missing:
                answerer.answer(missing, decoding, keep)
        return [
            score(
                case.question, ask.model, case.source, case.shown, case.gold_in_context, case.product,
                ask.key, journal.replies[ask.key], decoding, config.lexical_support,
            )
            for case, ask in keyed
        ]  # fmt: skip
