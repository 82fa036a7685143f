"""Post-processing: cut the generated text down to the answer that is shown."""

from __future__ import annotations

from collections.abc import Sequence

from insurance_rag.config import DecodingConfig
from insurance_rag.korean import foreign_tail, sentences

FOREIGN_TAIL = "foreign tail"
"""The cause that `postprocess` returns if it cut off text in another language at the end of the answer."""


def first_stop(text: str, stop_strings: Sequence[str]) -> tuple[int, str] | None:
    """Return the position and the text of the first stop string, or None if `text` contains none.

    A stop string at the very beginning is ignored, because the answer has not started yet.
    """
    start = len(text) - len(text.lstrip())
    places = [(text.find(stop, start + 1), stop) for stop in stop_strings]
    return min((place for place in places if place[0] >= 0), default=None)


def postprocess(raw: str, context: str, decoding: DecodingConfig) -> tuple[str, str | None]:
    """Return the answer to show and the cause of the cut. The cause is None if nothing was cut.

    Otherwise, the cause is the stop string, the stop phrase or `FOREIGN_TAIL`. A stop phrase counts only at the start
    of a sentence, and never in the first sentence. Elsewhere, a phrase such as `이번에` ("this time") may be part of
    the actual answer.
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
        # Cut the whole sentence in which the tail starts. Otherwise, the sentence's Korean beginning would be left as
        # a fragment.
        starts = [s.start for s in sentences(raw)[1:] if s.start <= tail.start < s.end]
        cuts.append((starts[0] if starts else tail.start, FOREIGN_TAIL))
    if not cuts:
        return raw.strip(), None
    end, cause = min(cuts)
    return raw[:end].strip(), cause
