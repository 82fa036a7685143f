"""Measure how long scoring takes: 300 sample questions, 4 models, 2 context sources, raw and post-processed answers.

    python -m bench.scoring [--out docs/results/scoring.json]

The four "models" answer with the first sentence of the best chunk, the sentence closest to the question, the reference
with a changed number, and the negated reference followed by a foreign tail. The tail is cut by post-processing, so both
texts are scored. Includes loading the morphological analyzer and the summary. Exits with 1 above the limit.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from bench.cheat_answers import (
    AnswerFunction,
    World,
    change_number,
    closest_sentence,
    first_sentence,
    negate,
    reference,
)
from insurance_rag.chunks import SAMPLE_CHUNKS, SAMPLE_QUESTIONS, read_chunks, read_questions
from insurance_rag.config import DecodingConfig, EvaluationConfig
from insurance_rag.core.files import write_json
from insurance_rag.core.records import Record
from insurance_rag.evaluation.requests import GeneratedAnswer, GenerationRequest, build_prompt
from insurance_rag.evaluation.samples import make_samples
from insurance_rag.evaluation.scoring import score
from insurance_rag.evaluation.summary import summarize
from insurance_rag.retrieval import build_retriever

MAX_SECONDS = 30.0
TAIL = " Este es un seguro muy importante para toda la familia."
MODELS: dict[str, AnswerFunction] = {
    "first": first_sentence,
    "closest": closest_sentence,
    "number": lambda sample, world: change_number(reference(sample, world), sample),
    "negated": lambda sample, world: negate(reference(sample, world)) + TAIL,
}


class ScoringFigures(Record):
    """Duration of scoring and summarizing, in seconds."""

    answers: int
    seconds: float
    cpu_seconds: float


def measure() -> ScoringFigures:
    """Score and summarize the answers of all models, and return the duration without retrieval."""
    chunks, questions = read_chunks(SAMPLE_CHUNKS), read_questions(SAMPLE_QUESTIONS)
    config, decoding = EvaluationConfig(), DecodingConfig()
    retriever = build_retriever(config.retrieval.kind, chunks, None, config.retrieval)
    samples = list(make_samples(questions, chunks, retriever, config, 10**6, lambda prompt, _: len(prompt)))
    world = World(samples, {})
    generated = [(sample, model, answer(sample, world)) for sample in samples for model, answer in MODELS.items()]
    started, cpu = time.perf_counter(), time.process_time()
    rows = []
    for sample, model, text in generated:
        question = sample.question
        prompt = build_prompt(question.question, sample.shown)
        request = GenerationRequest(f"{model} {question.question_id}", model, question.question_id, prompt)
        rows.append(score(sample, request, GeneratedAnswer(text, 0, 0.0), decoding, config.min_lexical_support))
    for source in config.contexts:
        summarize([row for row in rows if row.context_source == source], list(MODELS))
    return ScoringFigures(
        answers=len(rows),
        seconds=round(time.perf_counter() - started, 1),
        cpu_seconds=round(time.process_time() - cpu, 1),
    )


def main() -> int:
    """Print the duration. Return 1 if it exceeds the limit, otherwise 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    found = measure()
    print(f"{found.answers:,} answers scored in {found.seconds} s ({found.cpu_seconds} s of CPU time)")
    if args.out:
        write_json(args.out, found.model_dump(mode="json"))
    if found.seconds > MAX_SECONDS:
        print(f"MISSED {found.seconds} s, at most {MAX_SECONDS} s wanted")
    return int(found.seconds > MAX_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
