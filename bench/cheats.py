"""Let the promotion gate decide on degenerate ways to answer. None of them may be promoted.

    python -m bench.cheats [--out docs/results/cheats.json]

Every cheat answers the 300 sample questions with the retrieved contexts. Scoring, summary and gate are those of the
product, with the default policy. The champion is once a base model that echoes its prompt, and once a mediocre model.
Honest ways to answer are decided on as well, and must be promoted. Prints a table. Exits with 1 if a decision is wrong.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from bench.cheat_answers import CHAMPIONS, CHEATS, HONEST, AnswerFunction, World
from insurance_rag.chunks import SAMPLE_CHUNKS, SAMPLE_QUESTIONS, read_chunks, read_questions
from insurance_rag.config import DecodingConfig, EvaluationConfig
from insurance_rag.core.files import read_jsonl, write_json, write_jsonl
from insurance_rag.core.records import (
    Artifact,
    Decision,
    DecisionKind,
    EvaluationSummary,
    Rate,
    Record,
    RetrievalSummary,
    ScoredAnswer,
)
from insurance_rag.evaluation.requests import BASE, GeneratedAnswer, GenerationRequest, build_prompt
from insurance_rag.evaluation.samples import make_samples
from insurance_rag.evaluation.scoring import score
from insurance_rag.evaluation.summary import summarize
from insurance_rag.promotion import decide
from insurance_rag.retrieval import build_retriever

SHOWN = ("correct", "hallucination", "false_refusal", "missed_refusal", "number_accuracy")
"""Metrics in the table."""
MODEL = "challenger"
LABELED_ANSWERS = SAMPLE_QUESTIONS.with_name("labeled_answers.jsonl")


class Verdict(Record):
    """The gate's decision about one way to answer, against one champion."""

    champion: str
    decision: DecisionKind
    rules: list[str]
    """Names of the rules that failed, or that could not be decided if none failed."""
    reason: str


class CheatFigures(Record):
    """One way to answer: its rates, and the decisions about it."""

    name: str
    honest: bool
    rates: dict[str, Rate]
    verdicts: list[Verdict]

    @property
    def right(self) -> bool:
        """Whether every decision is right: promoted if honest, not promoted otherwise."""
        return all((verdict.decision == "promote") is self.honest for verdict in self.verdicts)


@cache
def world() -> World:
    """Return the sample questions with their retrieved contexts, and the labeled answers of the tuning half."""
    chunks, questions = read_chunks(SAMPLE_CHUNKS), read_questions(SAMPLE_QUESTIONS)
    config = EvaluationConfig(contexts=("retrieved",))
    retriever = build_retriever(config.retrieval.kind, chunks, None, config.retrieval)
    samples = list(make_samples(questions, chunks, retriever, config, 10**6, lambda prompt, _: len(prompt)))
    labeled = {
        row["question_id"]: row["answer"]
        for row in read_jsonl(LABELED_ANSWERS)
        if row["half"] == "tuning" and row["correct"]
    }
    return World(samples, labeled)


def answers(model: str, answer: AnswerFunction, questions: int | None = None) -> list[ScoredAnswer]:
    """Return the scored answers of `model` to the first `questions` sample questions, or to all.

    The function `answer` stands for the model.
    """
    config, decoding, all_of = EvaluationConfig(), DecodingConfig(), world()
    found = []
    for sample in all_of.samples[:questions]:
        question = sample.question
        prompt = build_prompt(question.question, sample.shown)
        request = GenerationRequest(f"{model} {question.question_id}", model, question.question_id, prompt)
        generated = GeneratedAnswer(answer(sample, all_of), 0, 0.0)
        found.append(score(sample, request, generated, decoding, config.min_lexical_support))
    return found


def decide_on(challenger: Sequence[ScoredAnswer], champion: Sequence[ScoredAnswer]) -> Decision:
    """Let the gate decide whether one model replaces another. The models may have any names."""
    rows = [row.model_copy(update={"model": BASE}) for row in champion]
    rows += [row.model_copy(update={"model": MODEL}) for row in challenger]
    summary = EvaluationSummary(
        **dict(summarize(rows, [BASE, MODEL])),
        context="retrieved",
        prompt="own",
        prompt_formats={BASE: "rag", MODEL: "rag"},
        assumed_formats=[],
        base_model="none",
        decoding=DecodingConfig().model_dump(mode="json"),
        config=EvaluationConfig().model_dump(mode="json"),
        retrieval=RetrievalSummary(n=0, scores={}, query_ms={}),
        contaminated={MODEL: 0},
        adapters={MODEL: Artifact(uri="none", sha256="0")},
        wall_seconds=0.0,
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_json(folder / "summary.json", summary.model_dump(mode="json"))
        write_jsonl(folder / "answers.jsonl", (row.model_dump(mode="json") for row in rows))
        return decide(folder)


def figures(name: str, answer: AnswerFunction, champions: Mapping[str, Sequence[ScoredAnswer]]) -> CheatFigures:
    """Return the rates of one way to answer, and the decision about it against every champion."""
    own = answers(MODEL, answer)
    rates = summarize(own, [MODEL]).models[MODEL].rates
    verdicts = []
    for champion, rows in champions.items():
        decision = decide_on(own, rows)
        wanted = "fail" if decision.decision == "refuse" else "unknown"
        listed = [rule.name for rule in decision.rules if rule.outcome == wanted]
        verdicts.append(Verdict(champion=champion, decision=decision.decision, rules=listed, reason=decision.reason))
    return CheatFigures(
        name=name, honest=name in HONEST, rates={metric: rates[metric] for metric in SHOWN}, verdicts=verdicts
    )


def champion_answers() -> dict[str, list[ScoredAnswer]]:
    """Return the scored answers of every champion."""
    return {name: answers(name, answer) for name, answer in CHAMPIONS.items()}


def table(found: Sequence[CheatFigures]) -> str:
    """Return the figures as a Markdown table."""
    header = ["answer", *(name.replace("_", " ") for name in SHOWN), *(f"against {name}" for name in CHAMPIONS)]
    lines = [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    for row in found:
        rates = [_percent(row.rates[metric]) for metric in SHOWN]
        verdicts = [_verdict(verdict) for verdict in row.verdicts]
        lines.append(f"| {' | '.join([row.name, *rates, *verdicts])} |")
    return "\n".join(lines)


def _percent(rate: Rate) -> str:
    return "-" if rate.rate is None else f"{100 * rate.rate:.0f} %"


def _verdict(verdict: Verdict) -> str:
    if verdict.decision == "promote":
        return "**promote**"
    return f"{verdict.decision.replace('_', ' ')}: {', '.join(verdict.rules)}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the figures and the reasons to this JSON file")
    args = parser.parse_args()
    champions = champion_answers()
    found = [figures(name, answer, champions) for name, answer in {**CHEATS, **HONEST}.items()]
    print(table(found))
    if args.out:
        write_json(args.out, [row.model_dump(mode="json") for row in found])
    wrong = [row.name for row in found if not row.right]
    if wrong:
        print(f"wrong decisions: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
