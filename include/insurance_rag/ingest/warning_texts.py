"""The warnings about documents in Korean, for the report. Manifests and the command line have them in English."""

from __future__ import annotations

import re

_PAGES = r"pages? (?P<pages>[\d, and-]+?)"
_WHERE = r"(?:page (?P<page>\d+): )?(?P<where>.+?)"

_TEXTS: tuple[tuple[str, str], ...] = (
    (r"(?P<file>.+): has the same content as (?P<other>.+); it is read once",
     "{file}: {other}와(과) 내용이 같아 한 번만 읽습니다"),
    (r"(?P<file>.+): the file is named (?P<suffix>\S+) but its content is (?P<title>.+); rename it",
     "{file}: 이름은 {suffix}이지만 내용은 {title}입니다. 파일 이름을 바꾸세요"),
    (r"derived from the document: (?P<fields>.+); set them with options or in documents\.yaml if wrong",
     "문서에서 추정한 값: {fields}. 틀리면 옵션이나 documents.yaml에서 지정하세요"),
    (r"the document does not name the insurer; .*",
     "문서에 보험회사 이름이 없습니다. --company나 documents.yaml의 company로 지정하세요"),
    (r"only (?P<share>\S+) of the text is in chunks; .*",
     "본문의 {share}만 청크에 있습니다. 빠진 내용은 아래에서 확인하세요"),
    (rf"only (?P<share>\S+) of the text is in chunks \(mainly {_PAGES}\); .*",
     "본문의 {share}만 청크에 있습니다(주로 {pages}쪽). 빠진 내용은 아래에서 확인하세요"),
    (r"(?P<n>\d+) chunks address a language model \((?P<passages>.+)\); remove these passages .*",
     "청크 {n}개가 언어 모델에 지시합니다({passages}). 약관의 내용이 아니면 문서에서 지우세요. "
     "검증에서 이런 청크의 행은 모두 제외됩니다"),
    (r"no articles \(제N조\) found; divided at the headings instead",
     "조(제N조)를 찾지 못해 제목으로 나누었습니다"),
    (r"no articles \(제N조\) found; and no headings either; divided at the pages instead",
     "조(제N조)도 제목도 찾지 못해 쪽으로 나누었습니다"),
    (r"no articles \(제N조\) found; and no headings either; divided by length instead",
     "조(제N조)도 제목도 찾지 못해 길이로 나누었습니다"),
    (rf"{_WHERE} is the first article; check whether earlier ones are missing",
     "{where}: 첫 조입니다. 앞의 조가 빠지지 않았는지 확인하세요"),
    (rf"{_WHERE} has the same number as the article before \((?P<before>.+)\); check the document",
     "{where}: 앞 조({before})와 번호가 같습니다. 문서를 확인하세요"),
    (rf"{_WHERE} follows (?P<before>제\S+); check the order of the pages",
     "{where}: {before} 다음에 있습니다. 쪽의 순서를 확인하세요"),
    (rf"{_WHERE} follows (?P<before>제\S+); check whether (?P<first>제\S+?)(?: to (?P<last>\S+))? is missing in .*",
     "{where}: {before} 다음에 있습니다. 문서에 {missing} 빠졌는지 확인하세요"),
    (rf"(?P<file>.+): {_PAGES} ha(?:s|ve) no text layer; run OCR, for example (?P<command>.+)",
     "{file}: {pages}쪽에 글자 정보가 없습니다. OCR을 실행하세요. 예: {command}"),
    (rf"(?P<file>.+): most characters of {_PAGES} are not mapped to text .*for example (?P<command>.+)",
     "{file}: {pages}쪽의 글자 대부분을 읽을 수 없어 제외했습니다. OCR을 실행하세요. 예: {command}"),
    (rf"(?P<file>.+): some characters of {_PAGES} are not mapped to text .*for example (?P<command>.+)",
     "{file}: {pages}쪽의 일부 글자를 읽을 수 없어 빠졌습니다. 쪽과 비교하거나 OCR을 실행하세요. 예: {command}"),
)  # fmt: skip
"""Pattern of the English warning -> its Korean text."""
_PATTERNS = tuple((re.compile(pattern, re.DOTALL), korean) for pattern, korean in _TEXTS)
_FIELDS = {"company": "회사", "product": "상품", "policy_type": "종류"}
_FIELD = re.compile(rf"\b({'|'.join(_FIELDS)}) (?=['\"])")


def korean_warning(warning: str) -> str:
    """Return a warning in Korean, or unchanged if there is no Korean text for it.

    >>> korean_warning("page 3: 보통약관: 제4조(준용) follows 제2조; check whether 제3조 is missing in the document")
    '3쪽: 보통약관: 제4조(준용): 제2조 다음에 있습니다. 문서에 제3조가 빠졌는지 확인하세요'
    """
    for pattern, korean in _PATTERNS:
        if match := pattern.fullmatch(warning):
            return korean.format_map(_in_korean(match.groupdict()))
    return warning


def _in_korean(found: dict[str, str | None]) -> dict[str, str]:
    """Return the parts of a warning with Korean words for pages, fields and ranges."""
    parts = {name: value for name, value in found.items() if value is not None}
    if "page" in parts:
        parts["where"] = f"{parts['page']}쪽: {parts['where']}"
    if "pages" in parts:
        parts["pages"] = parts["pages"].replace(" and ", ", ")
    if "fields" in parts:
        parts["fields"] = _FIELD.sub(lambda field: f"{_FIELDS[field[1]]} ", parts["fields"])
    if "first" in parts:
        parts["missing"] = f"{parts['first']}부터 {parts['last']}까지" if "last" in parts else f"{parts['first']}가"
    return parts
