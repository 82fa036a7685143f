"""Measure the perplexity of the models on general text.

An adapter that has forgotten part of its general language ability has a higher perplexity than the base model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from insurance_rag.core.artifact_store.locations import public_uri
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_jsonl, write_json
from insurance_rag.core.hashing import sha256_file, sha256_text
from insurance_rag.core.record_files import read_record
from insurance_rag.core.records.general_text import GeneralText, ModelPerplexity
from insurance_rag.core.stats import perplexity, perplexity_ratio
from insurance_rag.evaluation.requests import BASE

if TYPE_CHECKING:
    from insurance_rag.evaluation.backends.local.backend import LocalBackend

MAX_WINDOWS = 200
WINDOW_TOKENS = 1024
WINDOW_CHARACTERS = 4096
"""Texts are cut into pieces of this length, and the tokens of a piece after the first WINDOW_TOKENS are left out."""
FILE = "general_text.json"


def read_general_text(path: Path) -> list[str]:
    """Return the texts of a UTF-8 text file, which is one text, or of a JSON Lines file with a `text` in every row.

    Raises InvalidInputError if the file cannot be read, contains no text, or has rows without a text.
    """
    texts = _read_rows(path) if path.suffix == ".jsonl" else [_read_text(path)]
    if not any(text.strip() for text in texts):
        raise InvalidInputError(f"{path}: contains no text; give a file with general text in the models' language")
    return texts


def _read_text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as e:
        raise InvalidInputError(f"{path}: cannot be read ({e.strerror}); check the path and its permissions") from e
    except UnicodeDecodeError as e:
        raise InvalidInputError(f"{path}: byte {e.start} is not UTF-8; save the file as UTF-8") from e


def _read_rows(path: Path) -> list[str]:
    texts = [row.get("text") if isinstance(row, dict) else None for row in read_jsonl(path)]
    if invalid := [number for number, text in enumerate(texts, 1) if not isinstance(text, str)]:
        raise InvalidInputError(
            f"{path}: {len(invalid)} rows have no `text`, the first is row {invalid[0]}; write each row as "
            '{"text": "..."}'
        )
    return [text for text in texts if isinstance(text, str)]


def choose_pieces(texts: Sequence[str]) -> list[str]:
    """Return at most MAX_WINDOWS pieces of the texts, evenly spread over all of them."""
    pieces = [
        piece
        for text in texts
        for start in range(0, len(text), WINDOW_CHARACTERS)
        if (piece := text[start : start + WINDOW_CHARACTERS].strip())
    ]
    n = min(len(pieces), MAX_WINDOWS)
    return [pieces[i * len(pieces) // n] for i in range(n)]


def measure_general_text(backend: LocalBackend, path: Path, out: Path) -> GeneralText:
    """Return the perplexity of all models of the backend on the text in `path`, and write it to general_text.json.

    If the file in the folder `out` already contains this measurement, no model is loaded.
    """
    from insurance_rag.evaluation.backends.local.text_losses import encode_windows, window_losses

    sizes = f"{MAX_WINDOWS} {WINDOW_TOKENS} {WINDOW_CHARACTERS}"
    key = sha256_text(sha256_file(path), sizes, *(f"{name} {of}" for name, of in backend.identities.items()))
    if (stored := _read_stored(out / FILE)) and stored.key == key:
        return stored
    windows = encode_windows(backend, choose_pieces(read_general_text(path)), WINDOW_TOKENS)
    tokens = [len(window) - 1 for window in windows]
    result = GeneralText(
        key=key,
        file=public_uri(path),
        tokens=sum(tokens),
        window_tokens=tokens,
        models=_compare({name: window_losses(backend, name, windows) for name in backend.identities}, tokens),
    )
    write_json(out / FILE, result.model_dump(mode="json"))
    return result


def _read_stored(path: Path) -> GeneralText | None:
    """Return the stored measurement, or None if there is none that can be read."""
    try:
        return read_record(path, GeneralText, "a measurement of perplexity", "run evaluate again")
    except InvalidInputError:
        return None


def _compare(losses: Mapping[str, Sequence[float]], tokens: Sequence[int]) -> dict[str, ModelPerplexity]:
    return {
        name: ModelPerplexity(
            losses=[round(loss, 4) for loss in own],
            perplexity=round(perplexity(own, tokens), 4),
            against_base=None if name == BASE else perplexity_ratio(own, losses[BASE], tokens),
        )
        for name, own in losses.items()
    }
