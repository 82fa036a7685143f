"""Decides how the model replies to a request: with an answer, a damaged answer, a blocked one or a server failure.

The reply depends only on the configuration, the request and the number of the attempt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gemini_simulator.answers import WrittenAnswer, write_answer
from gemini_simulator.completion import Completion, count_tokens, cut_to_tokens
from gemini_simulator.config import FaultName, SimulatorConfig
from gemini_simulator.errors import ServerFaultError
from gemini_simulator.obedience import obey_instructions
from gemini_simulator.packs import defect_rate, degrade
from gemini_simulator.pairs import GroundTruth
from gemini_simulator.parsed_request import ParsedRequest
from gemini_simulator.seeded_random import Attempt, choose_by_rate, hash_uniform

#: Faults that replace the answer with an error or a dropped connection.
SERVER_FAULTS = ("503", "500", "502", "drop")

#: Finish reasons of blocked answers. With PROHIBITED_CONTENT, the prompt itself is blocked, so the response contains no
#: candidate (Gemini's term for an answer).
BLOCK_REASONS = ("SAFETY", "RECITATION", "PROHIBITED_CONTENT")

#: Faults that are not drawn once per request.
_DRAWN_ELSEWHERE = ("blocked", "recitation", "bare_429")

#: Thinking level -> number of thinking tokens, as a multiple of the answer's tokens.
THINKING_SHARES = {"minimal": 0.0, "low": 0.5, "medium": 1.0, "high": 2.0}

#: Factors of the rate of the fault `recitation`. An answer that cites sentence numbers repeats less of the chunk than
#: one with verbatim quotes, and a high temperature makes a verbatim repetition less likely.
NUMBERS_RECITATION_FACTOR = 0.3
PARAPHRASE_RECITATION_FACTOR = 0.05
HOT_RECITATION_FACTOR = 0.5
HOT_TEMPERATURE = 0.9


@dataclass(frozen=True)
class Reply:
    """A reply that is not a server failure."""

    completion: Completion
    outcome: str
    """Outcome of the request in GET /stats."""
    chunk_outcomes: tuple[str, ...]
    """Outcome for each chunk of the request."""
    ground_truth: tuple[GroundTruth, ...] = ()
    """The pairs in a readable answer."""


def draw_fault(config: SimulatorConfig, attempt: Attempt) -> FaultName | None:
    """Return a random fault for this attempt, or None for no fault."""
    rates: dict[FaultName, float] = {n: rate for n, rate in config.faults.items() if n not in _DRAWN_ELSEWHERE}
    return choose_by_rate(rates, attempt.seed, "fault", attempt.request_sha256, attempt.number)


def make_reply(config: SimulatorConfig, request: ParsedRequest, attempt: Attempt) -> Reply:
    """Return the reply to this attempt at the request.

    A server failure precedes all other faults: raises ServerFaultError. A blocked answer is not damaged in addition.
    """
    fault = draw_fault(config, attempt)
    if fault is not None and fault in SERVER_FAULTS:
        raise ServerFaultError(fault)
    if blocked := _block(config, request):
        return blocked
    if any(_is_recited(config, request, attempt, section.sha256) for section in request.sections):
        return _without_text(request, "RECITATION", ["recitation"] * len(request.sections))
    if fault == "empty":
        return _without_text(request, "EMPTY", ["empty"] * len(request.sections))
    return _answer(config, request, attempt, fault)


def _block(config: SimulatorConfig, request: ParsedRequest) -> Reply | None:
    """Return a blocked reply if the request contains a blocked chunk.

    Whether a chunk is blocked depends only on the seed and its hash: all requests about it have the same result.
    """
    rate, hashes = config.faults.get("blocked", 0.0), [section.sha256 for section in request.sections]
    blocked = [chunk for chunk in hashes if hash_uniform(config.seed, "blocked", chunk) < rate]
    if not blocked:
        return None
    reason = BLOCK_REASONS[int(hash_uniform(config.seed, "block reason", blocked[0]) * len(BLOCK_REASONS))]
    outcomes = ["blocked" if chunk in blocked else "blocked_by_other" for chunk in hashes]
    return replace(_without_text(request, reason, outcomes), outcome="blocked")


def _is_recited(config: SimulatorConfig, request: ParsedRequest, attempt: Attempt, chunk_sha256: str) -> bool:
    rate = config.faults.get("recitation", 0.0)
    if request.is_paraphrase:
        rate *= PARAPHRASE_RECITATION_FACTOR
    elif request.wants_sentence_numbers:
        rate *= NUMBERS_RECITATION_FACTOR
    if (request.options.temperature or 0.0) >= HOT_TEMPERATURE:
        rate *= HOT_RECITATION_FACTOR
    return attempt.uniform("recitation", chunk_sha256) < rate


def _without_text(request: ParsedRequest, finish_reason: str, outcomes: Sequence[str]) -> Reply:
    completion = Completion(None, finish_reason, count_tokens(request.prompt), 0)
    return Reply(completion, outcomes[0], tuple(outcomes))


def _answer(config: SimulatorConfig, request: ParsedRequest, attempt: Attempt, fault: FaultName | None) -> Reply:
    sections = request.sections
    rate = defect_rate(config, len(sections))
    written = degrade(write_answer(request, config.seed, rate, recorded=config.recorded), config, attempt)
    written = obey_instructions(written, config.seed, config.obedience)
    text, finish_reason, outcome = _damage(written.text, fault)
    if len(sections) > 1 and any(_is_poisoned(config, section.sha256) for section in sections):
        text, finish_reason, outcome = _damage(written.text, "malformed")[0], "STOP", "poisoned"
    limit = request.options.max_output_tokens
    if limit is not None and count_tokens(text) > limit:
        text, finish_reason, outcome = cut_to_tokens(text, limit), "MAX_TOKENS", "max_tokens"
    output_tokens = count_tokens(text)
    thoughts = round(output_tokens * THINKING_SHARES[request.options.thinking_level or "minimal"])
    completion = Completion(text, finish_reason, count_tokens(request.prompt), output_tokens, thoughts)
    if outcome != "answered":
        return Reply(completion, outcome, (outcome,) * len(sections))
    outcomes = tuple("degraded" if section.id in written.degraded_ids else outcome for section in sections)
    return Reply(completion, outcome, outcomes, tuple(_ground_truth(written)))


def _is_poisoned(config: SimulatorConfig, chunk_sha256: str) -> bool:
    return hash_uniform(config.seed, "poison", chunk_sha256) < config.poison


def _damage(text: str, fault: FaultName | None) -> tuple[str, str, str]:
    """Return the text after the fault, the finish reason, and the request's outcome.

    An answer in a Markdown code fence is still readable, so it counts as answered.
    """
    match fault:
        case "max_tokens":
            return text[: len(text) * 3 // 5], "MAX_TOKENS", "max_tokens"
        case "malformed":
            return text[: len(text) * 4 // 5] + "\n\n위와 같이 작성했습니다.", "STOP", "malformed"
        case "fenced":
            return f"```json\n{text}\n```", "STOP", "answered"
        case _:
            return text, "STOP", "answered"


def _ground_truth(answer: WrittenAnswer) -> list[GroundTruth]:
    """Return the record of each pair. A pair with another chunk's id counts as a wrong pair about that chunk."""
    hashes = {section.id: section.sha256 for section in answer.request.sections}
    records = []
    for item in answer.items:
        chunk_sha256 = hashes.get(item.chunk_id, item.section.sha256)
        moved = chunk_sha256 != item.section.sha256
        pair = replace(item.pair, defect="wrong_chunk") if moved else item.pair
        records.append(pair.ground_truth(chunk_sha256))
    return records
