"""Makes a set of evaluation questions: plan, ask the teacher, check, select, write."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from insurance_rag.chunks import read_chunks, read_questions
from insurance_rag.config import GenerationConfig
from insurance_rag.config.questions import QuestionsConfig
from insurance_rag.core.progress import Progress
from insurance_rag.core.records import ApiKey
from insurance_rag.core.records.questions import QUESTION_KINDS, QuestionKind, QuestionsArtifact
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.questions.ask import TYPES, ask_teacher, read_candidates
from insurance_rag.questions.asked_chunks import AskedChunks, choose_asked
from insurance_rag.questions.assess import assess
from insurance_rag.questions.candidate import Candidate
from insurance_rag.questions.check import check_edition
from insurance_rag.questions.corpus import Corpus, make_corpus
from insurance_rag.questions.duplicates import SimilarQuestions, training_questions
from insurance_rag.questions.edition import Edition, check_same_corpus, read_gold_hashes
from insurance_rag.questions.far import far_candidates
from insurance_rag.questions.output import Made, write_set
from insurance_rag.questions.select import Selection, select
from insurance_rag.questions.shares import missing_counts, planned_counts

MIN_FAR_CANDIDATES = 20


@dataclass(frozen=True)
class Kept:
    """The questions of a previous set that are kept, and why the others are replaced."""

    candidates: list[Candidate] = field(default_factory=list)
    replaced: dict[str, str] = field(default_factory=dict)
    """Id of each question that is not kept -> why."""
    chunk_ids: frozenset[str] = frozenset()
    """Ids of the chunks that replacements are asked about: the chunks of the replaced questions that still exist."""

    def counts(self) -> Counter[QuestionKind]:
        return Counter(candidate.kind for candidate in self.candidates)


def make_questions(
    chunks: Path | str,
    out: Path,
    run: RunFolder | Path | None,
    keys: Sequence[ApiKey],
    config: QuestionsConfig | None = None,
    previous: Path | None = None,
    dataset: Path | None = None,
    *,
    generation: GenerationConfig | None = None,
) -> QuestionsArtifact:
    """Make a set of questions about the chunks, and write it to `out`, with a report and all candidates next to it.

    `run` is the folder for the teacher's answers (default: OUT.run). The same call again costs nothing, because these
    answers are reused. With `previous`, the questions of this set that still pass are kept, and only the others are
    replaced. With `dataset`, questions keep away from its training rows.

    Raises InvalidInputError for input that allows no such set, before the teacher is asked, and IncompleteError if the
    teacher's answers are incomplete.
    """
    config, generation = config or QuestionsConfig(), generation or GenerationConfig()
    given = read_chunks(chunks)
    corpus = make_corpus(given)
    trained = training_questions(dataset)
    training = SimilarQuestions(config.near_duplicate, sorted(q for found in trained.values() for q in found))
    kept = _keep(previous, corpus, training, config) if previous else Kept()
    planned = planned_counts(config.shares, config.n)
    wanted = missing_counts(planned, kept.counts())
    gold = {i for candidate in kept.candidates for i in candidate.question.gold_chunk_ids}
    asked = choose_asked(given, config, config.n, trained, gold | kept.chunk_ids)
    folder = _folder(run, out)
    rounds = _Rounds(folder, _narrowed(asked, kept, wanted, config), corpus, training, keys, config, generation)
    selection = rounds.run(wanted, kept.candidates)
    made = Made(
        chunk_file=str(chunks),
        run=folder,
        corpus=corpus,
        config=config,
        asked=asked,
        planned=planned,
        kept=kept.candidates,
        replaced=kept.replaced,
        candidates=rounds.candidates,
        selection=selection,
        calls=rounds.calls,
    )
    return write_set(out, made)


class _Rounds:
    """Asks the teacher, checks the candidates and selects, until there are enough or no further round is allowed."""

    def __init__(
        self,
        folder: Path,
        asked: AskedChunks,
        corpus: Corpus,
        training: SimilarQuestions,
        keys: Sequence[ApiKey],
        config: QuestionsConfig,
        generation: GenerationConfig,
    ) -> None:
        self._folder, self._asked, self._corpus, self._training = folder, asked, corpus, training
        self._keys, self._config, self._generation = keys, config, generation
        self.candidates: list[Candidate] = []
        self.calls = 0
        """Number of calls that were sent to the teacher."""

    def run(self, wanted: Mapping[QuestionKind, int], kept: Sequence[Candidate]) -> Selection:
        """Return the selection after the last round."""
        far = max(MIN_FAR_CANDIDATES, round(wanted["far"] * self._config.oversample)) if wanted["far"] else 0
        self._add(far_candidates(self._corpus, self._asked.chunks, far, self._config.seed))
        still = {kind: n for kind, n in wanted.items() if kind in TYPES}
        selection = select(self.candidates, kept, wanted, self._corpus, self._config)
        for number in range(1, self._config.max_rounds + 1):
            if not any(still.values()):
                break
            run = RunFolder(self._folder / f"round_{number}")
            asking = {kind: still.get(kind, 0) for kind in QUESTION_KINDS}
            self.calls += ask_teacher(
                run, self._asked, asking, self._keys, self._config, self._generation, again=number > 1
            )
            self._add(read_candidates(run, self._corpus))
            selection = select(self.candidates, kept, wanted, self._corpus, self._config)
            still = {kind: wanted[kind] - selection.count(kind) for kind in TYPES}
        return select(self.candidates, kept, wanted, self._corpus, self._config, fill=True)

    def _add(self, candidates: Sequence[Candidate]) -> None:
        known = {candidate.question.question_id for candidate in self.candidates}
        new = [candidate for candidate in candidates if candidate.question.question_id not in known]
        with Progress("questions", "checks", total=len(new), unit="candidates") as bar:
            self.candidates += assess(new, self._corpus, self._training, self._config.checks, bar.advance)


def _folder(run: RunFolder | Path | None, out: Path) -> Path:
    if run is None:
        return out.with_suffix(".run")
    return run.root if isinstance(run, RunFolder) else run


def _narrowed(
    asked: AskedChunks, kept: Kept, wanted: Mapping[QuestionKind, int], config: QuestionsConfig
) -> AskedChunks:
    """Return only the chunks of the replaced questions, if they are enough for the replacements."""
    of_replaced = tuple(chunk for chunk in asked.chunks if chunk.chunk_id in kept.chunk_ids)
    needed = sum(n for kind, n in wanted.items() if kind in TYPES)
    enough = of_replaced and len(of_replaced) * config.max_per_chunk >= needed
    return replace(asked, chunks=of_replaced) if enough else asked


def _keep(previous: Path, corpus: Corpus, training: SimilarQuestions, config: QuestionsConfig) -> Kept:
    """Return what is kept of a previous set. Questions about a chunk that moved get its new id."""
    questions = read_questions(previous)
    hashes = read_gold_hashes(previous)
    check_same_corpus(questions, hashes, corpus, f"--previous {previous}")
    checked = check_edition(questions, Edition(corpus, hashes), corpus, training, config)
    kept: list[Candidate] = []
    replaced: dict[str, str] = {}
    affected: set[str] = set()
    for question, found in zip(questions, checked, strict=True):
        if found.passes:
            gold = found.proposed_gold or question.gold_chunk_ids
            current = question.model_copy(update={"gold_chunk_ids": gold})
            kept.append(Candidate(current, found.kind, "", found.rank, tuple(found.findings), "previous"))
        else:
            check = next((finding.check for finding in found.findings if finding.drops), "")
            replaced[question.question_id] = found.status if found.status in ("broken", "gone") else check
            affected.update(i for i in question.gold_chunk_ids if i in corpus.by_id)
    return Kept(kept, replaced, frozenset(affected))
