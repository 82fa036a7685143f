"""Reads the visible characters of a PDF page, with positions, through PDFium."""

from __future__ import annotations

import ctypes
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from insurance_rag.ingest.readers.pdf_layout.geometry import Box, Frame, quarter_turns
from insurance_rag.ingest.readers.pdf_layout.shapes import Shapes, read_shapes

INVISIBLE_MODES = frozenset({3, 7})
"""Text rendering modes of PDF that paint nothing: invisible, and clipping only."""
MIN_SIZE = 1.0
"""Text with a smaller font size, in points, is hidden."""
WHITE = 250
"""Red, green and blue of a color that cannot be seen on white paper are at least this."""
UNREADABLE = "\ufffd"


class Glyph(NamedTuple):
    """A visible character. Positions are in points in the frame of the page."""

    x0: float
    x1: float
    baseline: float
    size: float
    char: str
    after_space: bool
    """Whether the PDF has a space character before this one, in the order of its text."""
    before_space: bool
    after_gap: bool
    """Whether PDFium sees a gap between words before this character."""


class _Style(NamedTuple):
    """What all characters of one text object have in common."""

    turns: int | None
    size: float
    painted: bool
    white: bool


@dataclass
class PageText:
    """The text of one page."""

    number: int
    frame: Frame
    shapes: Shapes
    glyphs: list[Glyph] = field(default_factory=list)
    sideways: list[list[Glyph]] = field(default_factory=list)
    """Characters in other writing directions than most of the page, each direction in its own frame."""
    hidden: str = ""
    watermark: str = ""
    n_unreadable: int = 0
    """Number of characters that the fonts do not map to Unicode, or map to a private code."""
    recognized: bool = False
    """Whether the page is a picture with the invisible text of a text recognition."""
    n_unmapped: int = 0
    """Number of characters that the fonts do not map at all, so that they are missing in the text."""


class _Char(NamedTuple):
    char: str
    style: _Style
    box: tuple[float, float, float, float]
    """Left, bottom, right, top in PDF coordinates."""
    origin: tuple[float, float]
    after_space: bool
    before_space: bool
    after_gap: bool


def read_page(page: Any, number: int) -> PageText:
    """Read the text and the shapes of a pypdfium2 page."""
    left, bottom, right, top = page.get_cropbox()
    chars = _read_chars(page)
    turns = Counter(c.style.turns for c in chars if c.style.turns is not None)
    main = turns.most_common(1)[0][0] if turns else 0
    frame = Frame(main, left, bottom, right, top)
    text = PageText(number, frame, read_shapes(page, frame))
    text.n_unreadable = sum(c.char == UNREADABLE or "\ue000" <= c.char <= "\uf8ff" for c in chars)
    text.n_unmapped = sum(c.char == UNREADABLE for c in chars)
    visible = _without_hidden(text, chars)
    text.recognized = any(not c.style.painted for c in visible)
    text.watermark = "".join(c.char for c in visible if c.style.turns is None)
    text.glyphs = [_glyph(c, frame) for c in visible if c.style.turns == main]
    for other in sorted(t for t in turns if t != main):
        sideways = Frame(other, left, bottom, right, top)
        text.sideways.append([_glyph(c, sideways) for c in visible if c.style.turns == other])
    text.sideways = [glyphs for glyphs in text.sideways if glyphs]
    return text


def _glyph(c: _Char, frame: Frame) -> Glyph:
    box = frame.box(*c.box)
    _, baseline = frame.point(*c.origin)
    return Glyph(box.x0, box.x1, baseline, c.style.size, c.char, c.after_space, c.before_space, c.after_gap)


def _without_hidden(text: PageText, chars: list[_Char]) -> list[_Char]:
    """Return the visible characters. The others are added to `text.hidden`."""
    scanned = text.shapes.image_share > 0.5 or (bool(chars) and not any(c.style.painted for c in chars))
    page = Box(0, 0, text.frame.width, text.frame.height)
    visible: list[_Char] = []
    hidden: list[_Char] = []
    for c in chars:
        x, y = text.frame.point((c.box[0] + c.box[2]) / 2, (c.box[1] + c.box[3]) / 2)
        shown = (
            c.style.size >= MIN_SIZE
            and page.contains(x, y)
            # Text recognition puts an invisible text layer on the picture of a scanned page.
            and (c.style.painted or scanned)
            and not (c.style.white and c.style.painted and not text.shapes.painted_at(x, y))
        )
        (visible if shown else hidden).append(c)
    text.hidden = "".join((" " if c.after_space else "") + c.char for c in hidden).strip()
    return visible


def _read_chars(page: Any) -> list[_Char]:
    """Read all characters except spaces, in the order of the PDF."""
    import pypdfium2.raw as pdfium

    textpage = page.get_textpage()
    handle = textpage.raw
    styles: dict[int, _Style] = {}
    x, y, box = ctypes.c_double(), ctypes.c_double(), pdfium.FS_RECTF()
    x_ref, y_ref, box_ref = ctypes.byref(x), ctypes.byref(y), ctypes.byref(box)
    chars: list[_Char] = []
    space = gap = False
    for i in range(pdfium.FPDFText_CountChars(handle)):
        char = _character(pdfium.FPDFText_GetUnicode(handle, i))
        text_object = pdfium.FPDFText_GetTextObject(handle, i)
        if not text_object:  # a space or line break that PDFium adds
            gap = gap or char.isspace()
            continue
        if char.isspace():
            space = True
            if chars:
                chars[-1] = chars[-1]._replace(before_space=True)
            continue
        address = ctypes.addressof(text_object.contents)
        style = styles.get(address)
        if style is None:
            style = styles[address] = _style(handle, i, text_object)
        pdfium.FPDFText_GetLooseCharBox(handle, i, box_ref)
        pdfium.FPDFText_GetCharOrigin(handle, i, x_ref, y_ref)
        corners = (box.left, box.bottom, box.right, box.top)
        chars.append(_Char(char, style, corners, (x.value, y.value), space, False, gap))
        space = gap = False
    textpage.close()
    return chars


def _character(code: int) -> str:
    """Return the character for a code of PDFium, which uses control codes for hyphens and unmapped characters."""
    if code == 0x02:  # a hyphen at the end of a line
        return "-"
    if code in (0x20, 0xA0, 0x3000, 0x09, 0x0A, 0x0D) or 0x2000 <= code <= 0x200B:
        return " "
    if 0x2780 <= code <= 0x2789:  # circled digits of another font, as in a list whose other numbers are ① to ⑤
        return chr(code - 0x2780 + 0x2460)
    if code < 0x20 or 0xD800 <= code <= 0xDFFF or code in (0xFFFE, 0xFFFF) or code > 0x10FFFF:
        return UNREADABLE
    return chr(code)


def _style(handle: Any, i: int, text_object: Any) -> _Style:
    import pypdfium2.raw as pdfium

    matrix = pdfium.FS_MATRIX()
    pdfium.FPDFText_GetMatrix(handle, i, matrix)
    size = pdfium.FPDFText_GetFontSize(handle, i) * math.hypot(matrix.c, matrix.d)
    channels = [ctypes.c_uint(0) for _ in range(4)]
    known = pdfium.FPDFPageObj_GetFillColor(text_object, *channels)
    mode = pdfium.FPDFTextObj_GetTextRenderMode(text_object)
    painted = mode not in INVISIBLE_MODES and not (known and channels[3].value == 0)
    white = bool(known) and mode == 0 and all(c.value >= WHITE for c in channels[:3])
    return _Style(quarter_turns(matrix.a, matrix.b), size, painted, white)
