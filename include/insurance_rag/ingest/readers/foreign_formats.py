"""Names document formats that cannot be read, and what to do with them."""

from __future__ import annotations

import io
import zipfile

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""Start of the container of HWP 5, of Word, Excel and PowerPoint before 2007, and of encrypted Office files."""

_OLE_CONTENTS: tuple[tuple[bytes, str], ...] = (
    (
        b"HWP Document File",
        "this is an HWP 5 document (binary), which cannot be read; open it in Hangul and save it as HWPX or PDF",
    ),
    (
        "EncryptedPackage".encode("utf-16-le"),
        "this Office document is protected by a password; open it in Word and save a copy without a password",
    ),
    (
        "WordDocument".encode("utf-16-le"),
        "this is a Word document in the format before 2007 (.doc), which cannot be read; open it in Word and save it "
        "as DOCX or PDF",
    ),
    ("Workbook".encode("utf-16-le"), "this is an Excel workbook, not a document; save its text as DOCX or PDF"),
    (
        "PowerPoint Document".encode("utf-16-le"),
        "this is a PowerPoint presentation, not a document; save it as PDF",
    ),
    (
        "FileHeader".encode("utf-16-le"),
        "this is an HWP 5 document (binary), which cannot be read; open it in Hangul and save it as HWPX or PDF",
    ),
)
_STARTS: tuple[tuple[bytes, str], ...] = (
    (
        b"HWP Document File V",
        "this is an HWP 3 document, which cannot be read; open it in Hangul and save it as HWPX or PDF",
    ),
    (b"{\\rtf", "this is an RTF document, which cannot be read; save it as DOCX or PDF"),
    (b"\x89PNG", "this is a picture; run text recognition (OCR) and save the result as PDF with a text layer"),
    (b"\xff\xd8\xff", "this is a picture; run text recognition (OCR) and save the result as PDF with a text layer"),
    (b"II*\0", "this is a picture; run text recognition (OCR) and save the result as PDF with a text layer"),
    (b"MM\0*", "this is a picture; run text recognition (OCR) and save the result as PDF with a text layer"),
    (b"\x1f\x8b", "this is a compressed file; unpack it and name the documents in it"),
    (b"7z\xbc\xaf", "this is a compressed file; unpack it and name the documents in it"),
    (b"PK\x03\x04", "this is a ZIP file but not DOCX or HWPX; unpack it and name the documents in it"),
    (b"PK\x05\x06", "this is an empty ZIP file; copy the document again"),
)


def describe_foreign(data: bytes) -> str | None:
    """Return what a file is and what to do with it, or None if its format is none of the known ones."""
    if data.startswith(OLE):
        for mark, problem in _OLE_CONTENTS:
            if mark in data:
                return problem
        return "this is a file of an old Office program, which cannot be read; save it as DOCX, HWPX or PDF"
    if data.startswith(b"PK\x03\x04") and not zipfile.is_zipfile(io.BytesIO(data)):
        return "the file is truncated or damaged; copy it again"
    return next((problem for start, problem in _STARTS if data.startswith(start)), None)
