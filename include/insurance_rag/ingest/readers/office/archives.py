"""Opens ZIP archives of XML files safely: checks sizes before unpacking, and lets XML load no other files."""

from __future__ import annotations

import io
import lzma
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING

from insurance_rag.core.errors import InvalidInputError

if TYPE_CHECKING:
    from lxml.etree import _Element

MAX_TOTAL = 512 * 2**20
"""Maximum size of an unpacked document in bytes."""
MAX_PART = 128 * 2**20
"""Maximum size of one unpacked XML file in bytes."""
MAX_RATIO = 200
"""Maximum ratio between unpacked and packed size. Real documents have about 5 to 30."""
SMALL = 2**20
"""The ratio of files that are smaller than this, unpacked, does not matter."""
MAX_FILES = 20_000
ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, ValueError, LookupError,
    NotImplementedError, RuntimeError, OverflowError,
)  # fmt: skip
"""What zipfile raises for damaged archives."""

ZIP_START = b"PK\x03\x04"


def names_in(data: bytes) -> list[str]:
    """Return the names of the files in an archive; an empty list if it is no readable archive."""
    if not data.startswith(ZIP_START):
        return []
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return archive.namelist()
    except ZIP_ERRORS:
        return []


class Archive:
    """The files of a document, checked against archives that unpack to an enormous size."""

    def __init__(self, data: bytes, name: str) -> None:
        """Open an archive. Raises InvalidInputError if it is damaged, encrypted or suspiciously large."""
        self.name = name
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(data))
        except ZIP_ERRORS as e:
            raise self.damaged(e) from None
        files = self._archive.infolist()
        if any(info.flag_bits & 1 for info in files):
            raise InvalidInputError(f"{name}: the document is protected by a password; save a copy without a password")
        total = sum(info.file_size for info in files)
        packed = {info.filename: info.compress_size for info in files}
        inflated = [
            info
            for info in files
            if info.file_size > MAX_PART
            or (info.file_size > SMALL and info.file_size > MAX_RATIO * max(packed[info.filename], 1))
        ]
        if total > MAX_TOTAL or len(files) > MAX_FILES or inflated or total > MAX_RATIO * max(len(data), SMALL):
            raise InvalidInputError(
                f"{name}: the document unpacks to {total / 2**20:,.0f} MiB from {len(data) / 2**20:.1f} MiB, which is "
                "a sign of a zip bomb; if the document is genuine, open it and save it as PDF"
            )

    def names(self) -> list[str]:
        return self._archive.namelist()

    def read(self, part: str) -> bytes:
        """Return an unpacked file. Raises InvalidInputError if it is damaged or larger than declared."""
        try:
            with self._archive.open(part) as f:
                data = f.read(MAX_PART + 1)
        except ZIP_ERRORS as e:
            raise self.damaged(e) from None
        if len(data) > MAX_PART:
            raise InvalidInputError(
                f"{self.name}: {part} is larger than {MAX_PART >> 20} MiB; save the document as PDF"
            )
        return data

    def xml(self, part: str) -> _Element:
        """Return the root element of an XML file in the archive."""
        return parse_xml(self.read(part), self.name, part)

    def damaged(self, error: Exception) -> InvalidInputError:
        return InvalidInputError(
            f"{self.name}: the file is truncated or damaged ({error}); copy it again, or open it and save it again"
        )


def parse_xml(data: bytes, name: str, part: str) -> _Element:
    """Parse XML without entities, document types or network access."""
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as e:
        raise InvalidInputError(f"{name}: {part} is damaged ({e.msg}); open the document and save it again") from None
    if root.getroottree().docinfo.doctype:
        raise InvalidInputError(
            f"{name}: {part} declares a document type, which no office program writes and which can be an attack; open "
            "the document and save it again"
        )
    return root
