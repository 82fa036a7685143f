"""Score the answers of an evaluation with a verifier, and keep the scores, so that rescoring needs no model.

The scores are in `verifier.jsonl` of the evaluation folder, one line per sentence and context. A killed evaluation
resumes from this file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from insurance_rag.config import DecodingConfig
from insurance_rag.core.artifact_store.locations import local_path
from insurance_rag.core.artifacts import describe
from insurance_rag.core.hashing import model_identity, sha256_text
from insurance_rag.core.journal import Journal
from insurance_rag.core.progress import Progress
from insurance_rag.core.records import Artifact, Record
from insurance_rag.core.records.verifier import VerifierRun
from insurance_rag.evaluation.generated import AnsweredSample
from insurance_rag.evaluation.postprocess import postprocess
from insurance_rag.evaluation.samples import EvalSample
from insurance_rag.evaluation.scoring import NOT_VERIFIED, Verification
from insurance_rag.evaluation.verifier.adapter import check_verifier, read_calibration
from insurance_rag.evaluation.verifier.claims import Claim, claims_of_answer

FILE = "verifier.jsonl"

Scores = dict[str, float | None]
"""Key -> score of a sentence. The score is None if the verifier's prompt is too long for the base model."""


class _Entry(Record):
    """A line of the file."""

    key: str
    sentence: str
    score: float | None


def open_verifier(adapter: Path, base_model: str) -> VerifierRun:
    """Return the verifier in the folder `adapter`.

    Raises InvalidInputError if it is not a calibrated verifier for this base model.
    """
    check_verifier(adapter, base_model)
    return VerifierRun(
        adapter=describe(adapter, Artifact),
        identity=sha256_text(model_identity(base_model), model_identity(str(adapter))),
        calibration=read_calibration(adapter),
    )


def score_answers(
    samples: Sequence[EvalSample],
    answered: Iterable[AnsweredSample],
    verifier: VerifierRun,
    base_model: str,
    precision: str,
    decoding: DecodingConfig,
    out: Path,
    progress: Path | None,
) -> None:
    """Score the sentences of all answers, and add the scores to `out`/verifier.jsonl. Stored scores are reused.

    `answered` has the answers to each sample, in the same order. If no score is missing, no model is loaded.
    """
    claims = {
        claim_key(claim, verifier): claim
        for sample, row in zip(samples, answered, strict=True)
        for answer in row.answers
        for claim in claims_of_answer(sample, postprocess(answer.text, sample.context, decoding)[0])
    }
    with Journal(out / FILE, append=True) as journal:
        stored = _read(journal)
        missing = [key for key in claims if key not in stored]
        done = len(claims) - len(missing)
        with Progress("evaluate", "verifier", total=len(claims), done=done, unit="sentences", folder=progress) as bar:

            def keep(row: int, score: float | None) -> None:
                key = missing[row]
                journal.append(_Entry(key=key, sentence=claims[key].sentence, score=score).model_dump())
                bar.advance()

            if missing:
                from insurance_rag.evaluation.backends.local.verifier_model import VerifierModel

                with VerifierModel(local_path(verifier.adapter.uri), base_model, precision) as model:
                    model.score([claims[key].prompt for key in missing], keep)
        journal.sync()


def stored_verification(out: Path, verifier: VerifierRun) -> Callable[[EvalSample, str], Verification]:
    """Return a function (sample, answer) -> what the verifier found, by the scores in the evaluation folder `out`."""
    with Journal(out / FILE) as journal:
        scores = _read(journal)
    return lambda sample, answer: verify(sample, answer, verifier, scores)


def _read(journal: Journal) -> Scores:
    entries = (_Entry.model_validate(record) for record in journal.read_new())
    return {entry.key: entry.score for entry in entries}


def claim_key(claim: Claim, verifier: VerifierRun) -> str:
    """Return the key under which the score of a claim is stored."""
    return sha256_text(verifier.identity, claim.prompt)


def verify(sample: EvalSample, answer: str, verifier: VerifierRun, scores: Scores) -> Verification:
    """Return the sentences of an answer that are not supported, by the stored scores.

    Sentences without a score are left out, e.g. if post-processing has changed since the scores were stored.
    """
    found = [(claim.sentence, scores.get(claim_key(claim, verifier))) for claim in claims_of_answer(sample, answer)]
    scored = [(sentence, score) for sentence, score in found if score is not None]
    if not scored:
        return NOT_VERIFIED
    threshold = verifier.calibration.threshold
    return Verification(
        tuple(dict.fromkeys(sentence for sentence, score in scored if score < threshold)),
        min(score for _, score in scored),
    )
