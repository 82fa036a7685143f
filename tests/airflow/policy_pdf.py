"""Writes a small fictional policy as PDF, in one of two editions."""

from __future__ import annotations

from pathlib import Path

REFUND_DAYS = {1: "90일", 2: "60일"}
"""Edition -> period in the tenth article. Everything else is the same in both editions."""

ARTICLES = (
    ("제1관 목적 및 용어의 정의", "", ""),
    ("제1조", "목적", "이 보험계약은 계약자와 회사 사이에 피보험자의 상해에 대한 위험을 보장하기 위하여 체결됩니다."),
    (
        "제2조",
        "용어의 정의",
        "상해란 보험기간 중에 발생한 급격하고도 우연한 외래의 사고로 신체에 입은 손해를 말합니다.",
    ),
    ("제2관 보험금의 지급", "", ""),
    ("제3조", "보험금의 지급사유", "회사는 피보험자가 장해상태가 되었을 때에는 장해보험금으로 1,000만원을 지급합니다."),
    (
        "제4조",
        "보험금을 지급하지 않는 사유",
        "회사는 피보험자가 고의로 자신을 해친 경우에는 보험금을 지급하지 않습니다.",
    ),
    ("제5조", "보험금의 청구", "수익자는 보험금을 청구할 때 청구서와 사고증명서를 회사에 제출하여야 합니다."),
    ("제6조", "보험금의 지급절차", "회사는 서류를 접수한 날부터 3영업일 이내에 보험금을 지급합니다."),
    ("제3관 계약의 성립과 유지", "", ""),
    ("제7조", "보험계약의 성립", "회사는 청약을 받은 날부터 30일 이내에 승낙 또는 거절하여야 합니다."),
    ("제8조", "청약의 철회", "계약자는 보험증권을 받은 날부터 15일 이내에 그 청약을 철회할 수 있습니다."),
    ("제9조", "보험료의 납입연체", "회사는 보험료가 연체된 때에는 14일 이상의 기간을 납입최고기간으로 정합니다."),
    (
        "제10조",
        "계약의 해지",
        "계약자는 언제든지 계약을 해지할 수 있으며, 회사는 해약환급금을 {refund} 이내에 지급합니다.",
    ),
)


def write_policy(path: Path, edition: int = 1) -> None:
    """Write an edition of the policy."""
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont
    from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer

    pdfmetrics.registerFont(UnicodeCIDFont("HYSMyeongJo-Medium"))
    body = ParagraphStyle("body", fontName="HYSMyeongJo-Medium", fontSize=11, leading=17, wordWrap="CJK")
    heading = ParagraphStyle("heading", parent=body, fontSize=14, leading=22)
    parts = [Paragraph("도란 든든 상해보험 보통약관", heading)]
    for number, title, text in ARTICLES:
        line = f"{number}({title}) {text.format(refund=REFUND_DAYS[edition])}" if title else number
        parts += [Paragraph(line, body if title else heading), Spacer(1, 8)]
    SimpleDocTemplate(str(path), invariant=1).build(parts)
