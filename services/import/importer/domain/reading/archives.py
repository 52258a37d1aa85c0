"""Zip archives, unpacked under limits whatever sizes they declare."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from importer.domain.texts import Unreadable

ENTRY_LIMIT = 5_000
UNPACKED_LIMIT_BYTES = 1024 * 1024 * 1024
# Real files are packed 5 to 40 times; bombs, thousands of times.
RATIO_LIMIT = 200
RATIO_FROM_BYTES = 20 * 1024 * 1024
_PIECE_BYTES = 4 * 1024 * 1024
_SHEET_PARTS = {"xl/workbook.xml", "xl/workbook.bin", "content.xml"}


@dataclass
class Budget:
    """How much all entries together may still unpack to."""

    left_bytes: int = UNPACKED_LIMIT_BYTES

    def spend(self, count: int) -> None:
        self.left_bytes -= count
        if self.left_bytes < 0:
            raise Unreadable("SHEET_BOMB")


def entries_of(data: bytes) -> list[zipfile.ZipInfo]:
    """The entries, none of them unpacked. Raises: Unreadable SHEET_DAMAGED, SHEET_BOMB."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise Unreadable("SHEET_DAMAGED") from error
    if len(entries) > ENTRY_LIMIT or sum(entry.file_size for entry in entries) > UNPACKED_LIMIT_BYTES:
        raise Unreadable("SHEET_BOMB")
    return entries


def is_spreadsheet(entries: list[zipfile.ZipInfo]) -> bool:
    return bool(_SHEET_PARTS & {entry.filename for entry in entries})


def unpack(data: bytes, entry: zipfile.ZipInfo, budget: Budget) -> Iterator[bytes]:
    """The entry's bytes in pieces; counts what really comes out and stops at a bomb.

    Raises: Unreadable SHEET_BOMB, SHEET_DAMAGED (unknown method, password, broken stream).
    """
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or entry.flag_bits & 1:
        raise Unreadable("SHEET_DAMAGED")
    unpacked, packed = 0, max(entry.compress_size, 1)
    for piece in _inflate(data, entry):
        unpacked += len(piece)
        budget.spend(len(piece))
        if unpacked > RATIO_FROM_BYTES and unpacked / packed > RATIO_LIMIT:
            raise Unreadable("SHEET_BOMB")
        yield piece


def _inflate(data: bytes, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    start = entry.header_offset
    name_length, extra_length = (
        int.from_bytes(data[start + 26 : start + 28], "little"),
        int.from_bytes(data[start + 28 : start + 30], "little"),
    )
    start += 30 + name_length + extra_length
    packed = memoryview(data)[start : start + entry.compress_size]
    if entry.compress_type == zipfile.ZIP_STORED:
        yield bytes(packed)
        return
    stream = zlib.decompressobj(-15)
    try:
        for offset in range(0, len(packed), 65536):
            yield stream.decompress(packed[offset : offset + 65536], _PIECE_BYTES)
            while stream.unconsumed_tail:
                yield stream.decompress(stream.unconsumed_tail, _PIECE_BYTES)
    except zlib.error as error:
        raise Unreadable("SHEET_DAMAGED") from error
