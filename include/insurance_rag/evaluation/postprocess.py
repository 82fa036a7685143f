"""From the answer as generated to the answer as shown: what is cut, and by which phrase."""

from __future__ import annotations

from collections.abc import Sequence

from insurance_rag.config import DecodingConfig
from insurance_rag.korean import foreign_tail, sentences


def first_stop(text: str, stops: Sequence[str]) -> tuple[int, str] | None:
    """Where the first stop string is, and which. One before any words stops nothing: the answer is still to come."""
    start = len(text) - len(text.lstrip())
    places = [(text.find(stop, start + 1), stop) for stop in stops]
    return min((place for place in places if place[0] >= 0), default=None)


def postprocess(raw: str, context: str, decoding: DecodingConfig) -> tuple[str, str | None]:
    """The answer to show, and the phrase that cut it (`foreign tail` for a tail that is no Korean), or None.

    A stop phrase counts only where it starts a sentence after the first: `이번에` is an ordinary word.
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
        # The whole sentence goes: the words before the foreign ones are half a sentence.
        starts = [s.start for s in sentences(raw)[1:] if s.start <= tail.start < s.end]
        cuts.append((starts[0] if starts else tail.start, "foreign tail"))
    if not cuts:
        return raw.strip(), None
    end, phrase = min(cuts)
    return raw[:end].strip(), phrase
