"""Parses the sections of a prompt: each one has a chunk, the product that it belongs to, and the requested pairs."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from insurance_rag.korean.sentences import Span, sentences

_CHUNK_HEADING = re.compile(r"^###\s*보험 약관 내용[^\n]*\n", re.MULTILINE)
#: The chunk of a prompt without sections. If the prompt also contains an example chunk, only the last chunk counts.
_ONLY_CHUNK = re.compile(r"^###\s*보험 약관 내용[^\n]*\n(.*?)(?=^###|^질문:|\Z)", re.MULTILINE | re.DOTALL)
_SECTION = re.compile(
    r"^###[ \t]*조항[ \t]+(\S+)[^\n]*\n(.*?)(?=^###(?![ \t]*보험 약관 내용)|\Z)", re.MULTILINE | re.DOTALL
)
_PAIR_LIST = re.compile(r"^문항[ \t]*:[^\n]*\n", re.MULTILINE)
_PAIR_LINE = re.compile(r"^-[ \t]*([a-z_]+)([^\n]*)", re.MULTILINE)
#: A pair with this note needs the chunk that follows below `### 함께 볼 조항`.
_NEEDS_OTHER_CHUNK = "함께 볼 조항"
#: Types in the order in which statements of the chunk are assigned to them.
_TYPE_ORDER = ("fact", "scenario", "easy", "unanswerable")


@dataclass(frozen=True)
class WantedPair:
    """A requested pair. `slot` decides which statement of the chunk the pair is about.

    In a section with a list of pairs, the slot depends only on the type and on how many pairs of this type precede it.
    A repair that lists only one pair of a chunk therefore has the same slot as the first request.
    """

    type: str
    slot: int
    earlier: int = 0
    """Number of requested pairs of the same type before this one."""
    two_chunks: bool = False
    """Whether the question is to need a second chunk."""
    listed: bool = False
    """Whether the section lists its pairs, with the style of each."""


@dataclass(frozen=True)
class ChunkSection:
    """A chunk that a request asks about. `id` is empty if the prompt has no section headings.

    `product`, `company` and `path` are empty if the prompt does not contain them.
    """

    id: str
    product: str
    company: str
    path: str
    """Position of the chunk in its document, e.g. `보통약관 > 제1관`."""
    marked_text: str
    """The chunk's text as it appears in the prompt, possibly with sentence marks."""
    wanted: tuple[WantedPair, ...] = ()

    @cached_property
    def _text_and_sentences(self) -> tuple[str, tuple[Span, ...]]:
        return _read_marks(self.marked_text)

    @property
    def text(self) -> str:
        """The chunk's text without sentence marks."""
        return self._text_and_sentences[0]

    @property
    def sentences(self) -> tuple[Span, ...]:
        """The chunk's sentences. The sentence with the number k has the index k - 1."""
        return self._text_and_sentences[1]

    @cached_property
    def sha256(self) -> str:
        """Hash of the chunk's text without sentence marks. All requests about the same chunk have the same hash."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def sentence_numbers(self, quote: str) -> list[int]:
        """Return the numbers of the sentences that contain parts of the quote, or [] if the text lacks the quote."""
        start = self.text.find(quote) if quote else -1
        if start < 0:
            return []
        end = start + len(quote)
        return [n for n, span in enumerate(self.sentences, 1) if span.start < end and start < span.end]


def parse_sections(prompt: str) -> list[ChunkSection]:
    """Return the prompt's sections in their order. If two sections have the same id, only the last one counts.

    A prompt without section headings has one section with the whole prompt's product and company. Its chunk is the text
    below the line `### 보험 약관 내용`, or the whole prompt if there is no such line.
    """
    found = list(_SECTION.finditer(prompt))
    if not found:
        chunks = _ONLY_CHUNK.findall(prompt)
        text = (chunks[-1] if chunks else prompt).strip()
        return [ChunkSection("", _product(prompt), _company(prompt), _path(prompt), text)]
    preamble = prompt[: found[0].start()]
    return list({match[1]: _parse_section(match[1], match[2], preamble) for match in found}.values())


def _parse_section(section_id: str, body: str, preamble: str) -> ChunkSection:
    """Parse one section. Labels that the section lacks are read from the preamble, the text before all sections."""
    head, text = "", body
    if heading := _CHUNK_HEADING.search(body):
        head, text = body[: heading.start()], body[heading.end() :]
    labels, wanted = head, ""
    if pair_list := _PAIR_LIST.search(head):
        labels, wanted = head[: pair_list.start()], head[pair_list.end() :]
    product, company = _product(labels) or _product(preamble), _company(labels) or _company(preamble)
    pairs = tuple(_wanted_pairs(_PAIR_LINE.findall(wanted)))
    return ChunkSection(section_id, product, company, _path(labels), text.strip(), pairs)


def _wanted_pairs(lines: list[tuple[str, str]]) -> Iterator[WantedPair]:
    """Yield the requested pairs. `lines` has the type and the note of each."""
    earlier: Counter[str] = Counter()
    for name, note in lines:
        first = _TYPE_ORDER.index(name) if name in _TYPE_ORDER else len(_TYPE_ORDER)
        slot = first + len(_TYPE_ORDER) * earlier[name]
        yield WantedPair(name, slot, earlier[name], _NEEDS_OTHER_CHUNK in note, listed=True)
        earlier[name] += 1


def _product(text: str) -> str:
    return _labelled_value("상품|상품명|보험상품", text)


def _company(text: str) -> str:
    return _labelled_value("회사|회사명|보험사|보험회사", text)


def _path(text: str) -> str:
    return _labelled_value("위치", text)


def _labelled_value(labels: str, text: str) -> str:
    found = re.search(rf"^[\s*\-]*(?:{labels})\s*[:：]\s*(.+?)\s*$", text, re.MULTILINE)
    return found[1] if found else ""


def _read_marks(marked: str) -> tuple[str, tuple[Span, ...]]:
    """Remove the marks `[1] `, `[2] `, ... and return the text and its sentences.

    A text that does not start with `[1] ` has no marks. It is returned unchanged and split into sentences.
    """
    if not marked.startswith("[1] "):
        return marked, tuple(sentences(marked))
    starts, pieces, length, position, number = [], [""], 0, 0, 1
    while (mark := _find_mark(marked, number, position)) >= 0:
        pieces.append(marked[position:mark])
        length += mark - position
        starts.append(length)
        position, number = mark + len(f"[{number}] "), number + 1
    pieces.append(marked[position:])
    text = "".join(pieces)
    ends = [*starts[1:], len(text)]
    parts = [text[start:end].rstrip() for start, end in zip(starts, ends, strict=True)]
    return text, tuple(Span(part, start, start + len(part)) for part, start in zip(parts, starts, strict=True))


def _find_mark(marked: str, number: int, position: int) -> int:
    """Return the position of the next mark with this number, or -1. A mark follows whitespace or starts the text."""
    mark = f"[{number}] "
    found = marked.find(mark, position)
    while found > 0 and not marked[found - 1].isspace():
        found = marked.find(mark, found + 1)
    return found
