"""Makes small PDF files with Korean text for the tests of the readers."""

from __future__ import annotations

from pathlib import Path

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas

FONT = "HYGothic-Medium"
SIZE = 10.0
PITCH = 16.0
WIDTH, HEIGHT = 595.0, 842.0
pdfmetrics.registerFont(UnicodeCIDFont(FONT))


class Pages:
    """Writes text onto the pages of a PDF. Positions are from the upper left corner of the page."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.canvas = Canvas(str(path), pagesize=(WIDTH, HEIGHT))

    def text(self, x: float, y: float, text: str, size: float = SIZE) -> None:
        self.canvas.setFont(FONT, size)
        self.canvas.drawString(x, HEIGHT - y, text)

    def centered(self, y: float, text: str, size: float = SIZE) -> None:
        self.canvas.setFont(FONT, size)
        self.canvas.drawCentredString(WIDTH / 2, HEIGHT - y, text)

    def right(self, x: float, y: float, text: str) -> None:
        self.canvas.setFont(FONT, SIZE)
        self.canvas.drawRightString(x, HEIGHT - y, text)

    def flow(self, x: float, y: float, width: float, text: str, spaces: bool = True) -> float:
        """Write a paragraph, broken at any character as Hangul does. Returns the position of the next line.

        `spaces` is whether the space at the end of a line is kept.
        """
        for line in wrap(text, width):
            self.text(x, y, line if spaces else line.rstrip())
            y += PITCH
        return y

    def box(self, x: float, y: float, width: float, height: float) -> None:
        self.canvas.rect(x, HEIGHT - y - height, width, height)

    def line(self, x0: float, y0: float, x1: float, y1: float) -> None:
        self.canvas.line(x0, HEIGHT - y0, x1, HEIGHT - y1)

    def end_page(self) -> None:
        self.canvas.showPage()

    def save(self) -> Path:
        self.canvas.save()
        return self.path


def wrap(text: str, width: float, size: float = SIZE) -> list[str]:
    """Break a text into lines that are as full as possible, also inside words."""
    lines, line = [], ""
    for char in text:
        if pdfmetrics.stringWidth(line + char, FONT, size) > width and char != " ":
            lines.append(line)
            line = ""
        line += char
    return [*lines, line]


def write_articles(pages: Pages, first: int, n: int, x: float = 80, y: float = 120, width: float = 430) -> float:
    """Write articles with a heading and a paragraph each. Returns the position below them."""
    for number in range(first, first + n):
        pages.text(x, y, f"제{number}조(보상하는 손해 {number})")
        y = pages.flow(x, y + PITCH, width, body(number)) + PITCH / 2
    return y


SENTENCES = (
    "① 회사는 보험기간 중에 생긴 사고로 피보험자가 입은 손해를 이 약관에 따라 보상하며, 한도는 {}00만원입니다.",
    "① 계약자는 보험증권을 받은 날부터 {}일 이내에 그 청약을 철회할 수 있으며, 회사는 받은 보험료를 돌려드립니다.",
    "① 보험수익자는 회사가 정한 서류를 제출하고 보험금을 청구하여야 하며, 회사는 {}영업일 이내에 지급합니다.",
)
ENDS = (
    "다만, 고의로 생긴 손해는 보상하지 않습니다.",
    "그러나 보험금 지급사유가 이미 발생한 경우에는 그러하지 아니합니다.",
    "이 경우 회사는 서면 또는 전자문서로 그 사실을 계약자에게 알려야 합니다.",
    "또한 제출한 서류의 내용이 사실과 다른 때에는 계약을 해지할 수 있습니다.",
)


def body(number: int) -> str:
    return f"{SENTENCES[number % 3].format(number)} {ENDS[number % 4]}"
