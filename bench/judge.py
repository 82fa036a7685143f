"""Measure an LLM judge on the labeled answers to sample questions: its sensitivity and specificity, by kind of answer.

    python -m bench.judge --judge MODEL@BASE_URL [--half report] [--folder FOLDER] [--out FILE]
    python -m bench.judge                        (without a server: a judge that supports everything)

Without --judge, the bench simulates a careless judge: it supports every sentence of every answer and quotes the whole
context. The fraction of its judgements that is unusable shows what the checks of quotes find without a better judge.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.labeled_answers import Part, labeled_answers
from insurance_rag.core.files import write_json
from insurance_rag.core.prompt_templates import CHUNK_SEPARATOR
from insurance_rag.core.records import Rate, Record
from insurance_rag.core.stats import clustered_rate
from insurance_rag.evaluation.judge import Judgement, judge_answers
from insurance_rag.evaluation.judge.judgements import read_judgement
from insurance_rag.korean import sentences

HALLUCINATED = frozenset(["article", "asserting", "bound", "elsewhere", "invented", "negated", "roles", "tier"])
"""Kinds of wrong answers that state something false. The others are refusals, and true but off-topic statements."""
REFUSAL_KIND = "refusal"


@dataclass(frozen=True)
class Sample:
    """A labeled answer with its question and context."""

    key: str
    question_id: str
    model: str
    question: str
    context: str
    answer: str
    kind: str
    cluster: str
    hallucinated: bool
    """Whether the label says that the answer states something false."""
    relevant: bool | None
    """Whether the label says that the answer addresses the question; None for refusals."""


class KindFigures(Record):
    """The judgements of one kind of answer."""

    hallucinated: bool
    """Whether answers of this kind state something false."""
    flagged: Rate
    """Fraction of the usable judgements that report a hallucination."""
    unusable: Rate
    """Fraction of the judgements that are unusable."""


class JudgeFigures(Record):
    """The content of the file that --out names."""

    judge: str
    half: Part
    sensitivity: Rate
    """Fraction of the hallucinated answers that are flagged, among the usable judgements."""
    specificity: Rate
    """Fraction of the other answers that are not flagged, among the usable judgements."""
    off_topic_found: Rate
    """Fraction of the off-topic answers that the judge finds not relevant."""
    relevant_kept: Rate
    """Fraction of the other answers that the judge finds relevant."""
    unusable: Rate
    second_tries: int
    kinds: dict[str, KindFigures]


def samples(half: Part) -> list[Sample]:
    """Return the labeled answers of one half with their gold chunks, or with the retrieved chunks if there are none."""
    return [
        Sample(
            key=f"labeled {i}",
            question_id=row.question.question_id,
            model="labeled",
            question=row.question.question,
            context=CHUNK_SEPARATOR.join(row.gold_texts) or row.context,
            answer=row.label.answer,
            kind=f"{'correct' if row.label.correct else 'wrong'}: {row.label.kind}",
            cluster=row.cluster,
            hallucinated=not row.label.correct and row.label.kind in HALLUCINATED,
            relevant=None if row.label.kind == REFUSAL_KIND else row.label.correct or row.label.kind in HALLUCINATED,
        )
        for i, row in enumerate(labeled_answers(half))
    ]


def careless_judgement(sample: Sample) -> Judgement:
    """Return the judgement of a judge that supports every sentence and quotes the whole context."""
    claims = [
        {"claim": sentence.text, "supported": True, "evidence": [sample.context]}
        for sentence in sentences(sample.answer)
    ]
    return read_judgement(json.dumps({"claims": claims, "relevant": True}), sample, 1)


def measure(name: str, half: Part, rows: Sequence[Sample], judgements: Sequence[Judgement]) -> JudgeFigures:
    """Compare the judgements with the labels. `judgements[i]` is about `rows[i]`."""
    pairs = list(zip(rows, judgements, strict=True))
    usable = [(row, found) for row, found in pairs if found.hallucinated is not None]
    judged = [(row, found) for row, found in pairs if found.relevant is not None and row.relevant is not None]
    return JudgeFigures(
        judge=name,
        half=half,
        sensitivity=_rate((x for x in usable if x[0].hallucinated), lambda found: found.hallucinated is True),
        specificity=_rate((x for x in usable if not x[0].hallucinated), lambda found: found.hallucinated is False),
        off_topic_found=_rate((x for x in judged if not x[0].relevant), lambda found: found.relevant is False),
        relevant_kept=_rate((x for x in judged if x[0].relevant), lambda found: found.relevant is True),
        unusable=_rate(pairs, lambda found: found.hallucinated is None),
        second_tries=sum(found.tries > 1 for found in judgements),
        kinds={
            kind: KindFigures(
                hallucinated=any(row.hallucinated for row in rows if row.kind == kind),
                flagged=_rate((x for x in usable if x[0].kind == kind), lambda found: found.hallucinated is True),
                unusable=_rate((x for x in pairs if x[0].kind == kind), lambda found: found.hallucinated is None),
            )
            for kind in sorted({row.kind for row in rows})
        },
    )


def _rate(pairs: Iterable[tuple[Sample, Judgement]], counted: Callable[[Judgement], bool]) -> Rate:
    own = list(pairs)
    return clustered_rate([counted(found) for _, found in own], [row.cluster for row, _ in own])


def table(figures: JudgeFigures) -> str:
    """Return the figures as a Markdown table."""
    lines = [
        f"| {figures.judge}, half: {figures.half} | rate | n |",
        "|---|---|---|",
        *(
            f"| {name} | {_text(found)} | {found.n} |"
            for name, found in (
                ("sensitivity", figures.sensitivity),
                ("specificity", figures.specificity),
                ("off-topic answers found not relevant", figures.off_topic_found),
                ("other answers found relevant", figures.relevant_kept),
                ("unusable judgements", figures.unusable),
            )
        ),
        "",
        "| kind of answer | flagged | n | unusable | n |",
        "|---|---|---|---|---|",
        *(
            f"| {kind} | {_text(own.flagged)} | {own.flagged.n} | {_text(own.unusable)} | {own.unusable.n} |"
            for kind, own in figures.kinds.items()
        ),
    ]
    return "\n".join(lines)


def _text(found: Rate) -> str:
    if found.rate is None or found.low is None or found.high is None:
        return "-"
    return f"{found.rate:.3f} [{found.low:.3f}, {found.high:.3f}]"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judge", metavar="MODEL@BASE_URL", help="judge on an OpenAI-compatible server")
    parser.add_argument("--half", choices=("report", "tuning"), default="report", help="half of the labeled answers")
    parser.add_argument("--folder", type=Path, default=Path("artifacts/judge"), help="folder for the judge's outputs")
    parser.add_argument("--out", type=Path, help="also write the figures to this file")
    args = parser.parse_args(argv)
    rows = samples(args.half)
    found = judge_answers(rows, args.judge, args.folder) if args.judge else [careless_judgement(row) for row in rows]
    name = args.judge.partition("@")[0] if args.judge else "careless judge"
    figures = measure(name, args.half, rows, found)
    print(table(figures))
    if args.out:
        write_json(args.out, figures.model_dump(mode="json"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
