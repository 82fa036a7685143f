"""Compare the answers of an exported model with those of the attached adapter, on the same questions.

    python -m bench.exports --attached FOLDER --exported FOLDER [--model v2] [--questions FILE] [--chunks FILE]

Both folders come from `insurance-rag evaluate` with the same settings. For the first, the adapter was attached to its
base model. For the second, the exported model was the base model, locally or on a server, and there was no adapter.
docs/serving.md has the commands.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from insurance_rag.chunks import read_chunks, read_questions
from insurance_rag.core.records import Chunk, Question, ScoredAnswer
from insurance_rag.evaluation.generated import read_generated, score_generated
from insurance_rag.evaluation.requests import BASE
from insurance_rag.evaluation.smoke import AnswerComparison, compare_answers, summarize_comparison


def scored_answers(
    folder: Path, model: str, questions: Sequence[Question], chunks: Sequence[Chunk]
) -> dict[str, ScoredAnswer]:
    """Return a model's answers with the evaluation's first context source: question id -> scored answer."""
    generated = read_generated(folder)
    samples = [row for row in generated.samples if row.context_source == generated.run.config.contexts[0]]
    scored = score_generated(generated.model_copy(update={"samples": samples}), questions, chunks)
    return {row.question_id: row for row in scored if row.model == model}


def compare(attached: Mapping[str, ScoredAnswer], exported: Mapping[str, ScoredAnswer]) -> AnswerComparison:
    """Compare the answers to the questions that both were asked. Exits with a message if the prompts differ."""
    both = sorted(attached.keys() & exported.keys())
    before, after = ([rows[q] for q in both] for rows in (attached, exported))
    asked = [[(row.question, row.chunk_ids, row.prompt_format) for row in rows] for rows in (before, after)]
    if not both or asked[0] != asked[1]:
        raise SystemExit("the two evaluations asked different prompts; evaluate both with the same settings")
    return summarize_comparison(compare_answers(before, after), before)


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attached", type=Path, required=True, help="evaluation of the attached adapter")
    parser.add_argument("--exported", type=Path, required=True, help="evaluation of the exported model")
    parser.add_argument("--model", default="v2", help="name of the adapter (default: %(default)s)")
    parser.add_argument("--questions", default="sample", help="questions of the evaluations (default: %(default)s)")
    parser.add_argument("--chunks", default="sample", help="chunks of the evaluations (default: %(default)s)")
    args = parser.parse_args()
    questions, chunks = read_questions(args.questions), read_chunks(args.chunks)
    attached = scored_answers(args.attached, args.model, questions, chunks)
    exported = scored_answers(args.exported, BASE, questions, chunks)
    print(compare(attached, exported).model_dump_json(indent=2))


if __name__ == "__main__":
    main()
