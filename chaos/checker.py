"""The invariants of a run under faults. Each one is a function that returns the violations that it finds.

The functions only read files and the server's record, so a test can plant a violation in a finished run and check that
it is found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise

from chaos.evidence import Evidence, rows_by_chunk, tree_hashes
from chaos.history import FaultEvent, Violation
from chaos.published import unpublished_problems
from gemini_simulator.records import AskedChunk, RequestRecord

Invariant = Callable[[Evidence], Iterator[str]]

MAX_EVIDENCE = 5
"""Number of examples per invariant in the report."""
_CONTENT_OUTCOMES = {
    *("blocked", "blocked_by_other", "recitation", "malformed", "max_tokens", "empty", "degraded", "poisoned"),
}
_RESUMABLE, _INVALID_INPUT, _REJECTED = 3, 2, 4


def check(evidence: Evidence) -> list[Violation]:
    """Return the violations of all invariants, including those that the campaign saw while it ran."""
    found = list(evidence.history.violations)
    for name, invariant in INVARIANTS.items():
        problems = list(invariant(evidence))
        found += [Violation(name, problem) for problem in problems[:MAX_EVIDENCE]]
        if len(problems) > MAX_EVIDENCE:
            found.append(Violation(name, f"and {len(problems) - MAX_EVIDENCE} more"))
    return found


def lost_chunks(evidence: Evidence) -> Iterator[str]:
    """Find chunks without rows that are not quarantined, and chunks that are quarantined for no reason."""
    if evidence.files.problem:
        yield f"the run folder cannot be read: {evidence.files.problem}"
        return
    with_rows = {row.chunk_id for row in evidence.files.rows}
    outcomes = _outcomes(evidence)
    for chunk_id, digest in evidence.chunk_ids.items():
        if chunk_id in evidence.files.quarantined:
            if not outcomes.get(digest, set()) & _CONTENT_OUTCOMES:
                yield f"chunk {chunk_id} is quarantined, but the server never refused it"
        elif chunk_id not in with_rows:
            yield f"chunk {chunk_id} has no rows and is not quarantined"
    yield from (f"rows of the unknown chunk {chunk_id}" for chunk_id in sorted(with_rows - evidence.chunk_ids.keys()))


def duplicate_rows(evidence: Evidence) -> Iterator[str]:
    """Find chunks with more than one row of the same type. A repaired row counts apart from the row it replaces."""
    counts = Counter((row.chunk_id, row.type, bool(row.meta.get("repaired"))) for row in evidence.files.rows)
    for (chunk_id, kind, repaired), n in counts.items():
        if n > 1:
            yield f"chunk {chunk_id} has {n} {'repaired ' * repaired}rows of type {kind}"


def changed_rows(evidence: Evidence) -> Iterator[str]:
    """Find rows that the server never sent, for example because a damaged record was read.

    The server's record lacks the pairs in cut answers, of which the pipeline uses the intact ones.
    """
    cut = _cut_chunks(evidence)
    sent = {
        (truth["chunk_sha256"], truth["type"], truth["question"], truth["answer"]) for truth in evidence.ground_truth
    }
    for row in evidence.files.rows:
        key = (evidence.chunk_ids.get(row.chunk_id, ""), row.type, row.instruction, row.output)
        if key not in sent and row.chunk_id not in cut:
            yield f"chunk {row.chunk_id}: the server never sent the row {row.instruction[:60]!r}"


def repeated_requests(evidence: Evidence) -> Iterator[str]:
    """Find answers that were requested again although they were on disk, or although no fault interrupted the call.

    An answer without any complete pair is no answer: requesting it again is right.
    """
    unusable = {
        (truth["chunk_sha256"], truth["type"])
        for truth in evidence.ground_truth
        if not truth["question"] or not truth["answer"]
    }
    names = {digest: chunk_id for chunk_id, digest in evidence.chunk_ids.items()}
    for asked, deliveries in _deliveries(evidence).items():
        chunk_id = names.get(asked.sha256, "")
        if chunk_id in evidence.damaged:
            continue
        on_disk_s = evidence.history.acknowledged.get((chunk_id, asked.is_correction))
        for earlier, later in pairwise(deliveries):
            what = f"chunk {chunk_id} ({'repair' if asked.is_correction else 'first answer'})"
            if on_disk_s is not None and later.received_s > on_disk_s:
                yield f"{what}: in the journal at {on_disk_s:.1f} s, requested again at {later.received_s:.1f} s"
            elif not _interrupted(earlier, evidence) and any((asked.sha256, t) not in unusable for t in asked.types):
                yield (
                    f"{what}: answered at {earlier.finished_s or 0:.1f} s, requested again at {later.received_s:.1f} s "
                    "without a fault in between"
                )


def partial_files(evidence: Evidence) -> Iterator[str]:
    """Find published files that are incomplete: a manifest whose content is missing, changed or not finished."""
    return unpublished_problems(evidence.files.run)


def dishonest_exits(evidence: Evidence) -> Iterator[str]:
    """Find processes whose exit code does not say how they ended, and tracebacks."""
    for ended in evidence.history.exits:
        what = f"{ended.stage} {' '.join(ended.arguments)}"
        if "Traceback (most recent call last)" in ended.errors:
            yield f"{what}: traceback on stderr: ...{ended.errors.strip()[-400:]}"
        elif ended.code == 0 and not ended.complete:
            yield f"{what}: exit code 0, but the work is not complete"
        elif ended.code == _RESUMABLE and not _has_message(ended.errors):
            yield f"{what}: exit code 3 without a message: {ended.errors.strip()[-200:]!r}"
        elif ended.code == _INVALID_INPUT and not ended.may_reject_input:
            yield f"{what}: exit code 2, but the input was not changed: {ended.errors.strip()[-400:]}"
        elif ended.code == _REJECTED and ended.stage != "promote":
            yield f"{what}: exit code 4, but only `promote` has a gate"
        elif ended.code not in (0, 2, 3, 4) and -ended.code not in ended.signals:
            yield f"{what}: exit code {ended.code}, signals {list(ended.signals)}: {ended.errors.strip()[-400:]}"


def leaked_secrets(evidence: Evidence) -> Iterator[str]:
    """Find files that contain an API key."""
    secrets = [secret.encode() for secret in evidence.secrets]
    for folder in evidence.searched:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            content = path.read_bytes()
            if any(secret in content for secret in secrets):
                yield f"{path} contains an API key"


def different_dataset(evidence: Evidence) -> Iterator[str]:
    """Find rows and files that differ from those of an undisturbed run with the same seed."""
    if evidence.reference is not None:
        rows = rows_by_chunk(evidence.files.rows)
        for chunk_id in sorted(evidence.chunk_ids.keys() - evidence.files.incomparable - _cut_chunks(evidence)):
            differing = rows.get(chunk_id, frozenset()) ^ evidence.reference.get(chunk_id, frozenset())
            if differing:
                yield f"chunk {chunk_id} has other rows than in the undisturbed run, e.g. {sorted(differing)[0]}"
    for folder, expected in evidence.same_files:
        found, wanted = tree_hashes(folder), tree_hashes(expected)
        for name in sorted(found.keys() | wanted.keys()):
            if found.get(name) != wanted.get(name):
                yield f"{folder / name} differs from {expected / name}, which an undisturbed command wrote"


INVARIANTS: dict[str, Invariant] = {
    "no chunk is lost": lost_chunks,
    "no row is written twice": duplicate_rows,
    "every row is what the server sent": changed_rows,
    "no answer is requested again": repeated_requests,
    "nothing partial is published": partial_files,
    "exit codes are honest": dishonest_exits,
    "no secret is written": leaked_secrets,
    "the dataset equals that of an undisturbed run": different_dataset,
}
ENDS = "every command ends"
"""Invariant that is checked while the campaign runs: repeating a command ends it within a few tries."""


def _has_message(errors: str) -> bool:
    """Return whether stderr names an error, e.g. `IncompleteError: ...`."""
    return any("Error: " in line or line.startswith("Interrupted") for line in errors.splitlines())


def _outcomes(evidence: Evidence) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for request in evidence.requests:
        for asked, outcome in zip(request.chunks, request.chunk_outcomes, strict=True):
            found.setdefault(asked.sha256, set()).add(outcome)
    return found


def _cut_chunks(evidence: Evidence) -> set[str]:
    """Return the ids of the chunks for which the server ever sent a cut or malformed answer."""
    outcomes = _outcomes(evidence)
    return {i for i, digest in evidence.chunk_ids.items() if outcomes.get(digest, set()) & {"malformed", "max_tokens"}}


def _deliveries(evidence: Evidence) -> dict[AskedChunk, list[RequestRecord]]:
    """Return the requests that each asked chunk was answered in, in the order of their arrival."""
    found: dict[AskedChunk, list[RequestRecord]] = {}
    for request in evidence.requests:
        for asked, outcome in zip(request.chunks, request.chunk_outcomes, strict=True):
            if outcome == "answered":
                found.setdefault(asked, []).append(request)
    return found


def _interrupted(request: RequestRecord, evidence: Evidence) -> bool:
    """Return whether a fault or a timeout may have kept this request's answer from the journal."""
    ended_s = request.finished_s if request.finished_s is not None else float("inf")
    if ended_s - request.received_s > 0.9 * evidence.timeout_s:
        return True
    return any(_overlaps(fault, request.received_s, ended_s + evidence.slack_s) for fault in evidence.history.faults)


def _overlaps(fault: FaultEvent, start_s: float, end_s: float) -> bool:
    return fault.started_s <= end_s and start_s <= fault.ended_s
