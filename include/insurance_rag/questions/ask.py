"""Asks the teacher for candidates: plans a run folder, generates it, and reads its rows as candidates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from insurance_rag.config import GenerationConfig
from insurance_rag.config.generation import QuestionStyle
from insurance_rag.config.questions import QuestionsConfig
from insurance_rag.core.files import read_json
from insurance_rag.core.record_files import read_record
from insurance_rag.core.records import REFUSAL, ApiKey, Chunk, QAPair, Question, QuestionType
from insurance_rag.core.records.generation import OTHER_CHUNK_ID
from insurance_rag.core.records.questions import QuestionKind
from insurance_rag.core.records.usage import RunUsage
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.generation import generate_run
from insurance_rag.korean import clean, remove_whitespace
from insurance_rag.planning.plan import make_plan, read_plan, write_plan
from insurance_rag.planning.question_plan import cited_article
from insurance_rag.questions.asked_chunks import AskedChunks, spread
from insurance_rag.questions.candidate import Candidate
from insurance_rag.questions.checks.ambiguous import needed_chunks
from insurance_rag.questions.corpus import Corpus
from insurance_rag.questions.ids import question_id
from insurance_rag.questions.required_numbers import required_numbers
from insurance_rag.validation.pair_check import run_pair_check

MAX_PAIRS_PER_TYPE = 5
TYPES: Mapping[QuestionKind, QuestionType] = {
    "fact": "fact",
    "scenario": "scenario",
    "easy": "easy",
    "two_chunk": "scenario",
    "near_miss": "unanswerable",
}
"""Kind of a question -> type that the teacher is asked for. Questions of the kind `far` need no teacher."""


def ask_teacher(
    run: RunFolder,
    asked: AskedChunks,
    wanted: Mapping[QuestionKind, int],
    keys: Sequence[ApiKey],
    config: QuestionsConfig,
    generation: GenerationConfig,
    *,
    again: bool = False,
) -> int:
    """Generate candidates for the `wanted` numbers of questions in the run folder, and return the number of calls.

    With `again`, every asked chunk is used, and questions that need two chunks may combine neighbors. Answers that the
    run folder already has cost nothing. Raises IncompleteError if the generation is incomplete.
    """
    types = tuple(dict.fromkeys(TYPES[kind] for kind, n in wanted.items() if n and kind in TYPES))
    if not types:
        return 0
    most = max(config.oversample * _of_type(wanted, kind) for kind in types)
    # A chunk gives at most `max_per_chunk` questions, however many of its candidates pass.
    least = sum(n for kind, n in wanted.items() if kind in TYPES) / config.max_per_chunk
    n_chunks = len(asked.chunks) if again else min(len(asked.chunks), math.ceil(max(most, least)))
    chunks = spread(asked.chunks, n_chunks, config.seed)
    pairs = min(MAX_PAIRS_PER_TYPE, math.ceil(most / len(chunks)))
    if again:
        pairs = MAX_PAIRS_PER_TYPE if any(wanted[kind] for kind in TYPES if kind != "two_chunk") else 1
    style = _style(generation.questions, chunks, wanted["two_chunk"], again=again)
    settings = generation.model_copy(update={"types": types, "pairs_per_type": pairs, "questions": style})
    plan = write_plan(make_plan(chunks, keys, settings), run, chunks)
    before = _calls(run)
    return generate_run(run, keys, plan.config, run_pair_check(run)).calls - before


def _calls(run: RunFolder) -> int:
    """Return the number of calls that earlier processes sent for this run."""
    if not run.usage.is_file():
        return 0
    return read_record(run.usage, RunUsage, "the usage of a run", "remove it").total.calls


def _of_type(wanted: Mapping[QuestionKind, int], kind: QuestionType) -> int:
    return sum(n for each, n in wanted.items() if TYPES.get(each) == kind)


def _style(style: QuestionStyle, chunks: Sequence[Chunk], two_chunk: int, *, again: bool) -> QuestionStyle:
    """Return the style with questions that need two chunks, if any are wanted. At first, only about cited articles."""
    cites = any(cited_article(chunk) is not None for chunk in chunks)
    share = float(two_chunk > 0)  # those for which one chunk suffices become scenarios
    changes = {"two_chunk_share": share, "two_chunk_neighbors": again or not cites, "near_miss_share": 0.0}
    return style.model_copy(update=changes)


def read_candidates(run: RunFolder, corpus: Corpus) -> list[Candidate]:
    """Return the rows of a generated run as candidates, in the order of the parts. Repeated questions are left out."""
    plan = read_plan(run)
    rows = [QAPair.model_validate(row) for shard in plan.shards for row in read_json(run.part(shard.shard))]
    found: dict[str, Candidate] = {}
    for row in rows:
        if row.chunk_id in corpus.by_id:
            candidate = _candidate(row, corpus)
            found.setdefault(remove_whitespace(candidate.question.question), candidate)
    return list(found.values())


def _candidate(row: QAPair, corpus: Corpus) -> Candidate:
    gold, kind = _gold_and_kind(row, corpus)
    chunk = corpus.by_id[row.chunk_id]
    text, answer, evidence = clean(row.instruction).strip(), clean(row.output).strip(), clean(row.evidence).strip()
    reference = answer if row.answerable else REFUSAL
    supporting = "\n".join([evidence, *(corpus.by_id[i].text for i in gold[1:])]) if kind == "two_chunk" else evidence
    question = Question(
        question_id=question_id(text, gold),
        question=text,
        type=row.type,
        answerable=row.answerable,
        gold_chunk_ids=gold,
        reference_answer=reference,
        required_numbers=required_numbers(reference, supporting or chunk.text, text) if row.answerable else [],
        filters=corpus.filters(chunk),
    )
    return Candidate(question, kind, evidence if row.answerable else "")


def _gold_and_kind(row: QAPair, corpus: Corpus) -> tuple[list[str], QuestionKind]:
    """Return the gold chunks, with exact repeats in the same document, and the kind of the question."""
    other = str(row.meta.get(OTHER_CHUNK_ID, ""))
    own = [row.chunk_id, *([other] if other in corpus.by_id else [])]
    if not row.answerable:
        return [row.chunk_id], "near_miss"
    if len(own) > 1 and needed_chunks(f"{row.instruction}\n{row.output}", own, corpus) == [row.chunk_id]:
        own.pop()  # the teacher has written a question that one chunk answers
    gold = list(dict.fromkeys(i for each in own for i in (each, *corpus.repeats(each))))
    if len(own) > 1:
        return gold, "two_chunk"
    return gold, "fact" if row.type == "unanswerable" else row.type
