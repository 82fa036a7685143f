"""Post-processing: from the generated text to the answer as shown."""

from __future__ import annotations

from collections.abc import Sequence

from insurance_rag.config import DecodingConfig
from insurance_rag.korean import foreign_tail, sentences

FOREIGN_TAIL = "foreign tail"
"""Reason of a cut that no stop phrase caused."""


def first_stop(text: str, stop_strings: Sequence[str]) -> tuple[int, str] | None:
    """Return position and text of the first stop string, or None.

    A stop string before the first word does not count: the answer has not started yet.
    """
    start = len(text) - len(text.lstrip())
    places = [(text.find(stop, start + 1), stop) for stop in stop_strings]
    return min((place for place in places if place[0] >= 0), default=None)


def postprocess(raw: str, context: str, decoding: DecodingConfig) -> tuple[str, str | None]:
    """Return the answer to show, and what cut it: a stop string, a stop phrase, `FOREIGN_TAIL`, or None.

    A stop phrase only counts at the start of a sentence after the first: `이번에` is an ordinary word.
    """
    stop = first_stop(raw, decoding.stop_strings)
    cuts = [stop] if stop else []
    cuts += [
        (sentence.start, phrase)
        for sentence in sentences(raw)[1:]
        for phrase in decoding.stop_phrases
        if sentence.text.startswith(phrase)
    ]
    if decoding.trim_foreign_tail and (tail := foreign_tail(raw, context)):
        # Cut the whole sentence: the Korean words before the foreign ones are only half of it.
        starts = [s.start for s in sentences(raw)[1:] if s.start <= tail.start < s.end]
        cuts.append((starts[0] if starts else tail.start, FOREIGN_TAIL))
    if not cuts:
        return raw.strip(), None
    end, cause = min(cuts)
    return raw[:end].strip(), cause
