"""Which reader a file needs, and archives of many files read as one."""

from __future__ import annotations

import re
import zipfile
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa

from importer.domain.reading import invoices, pdf, saft
from importer.domain.reading.archives import Budget, entries_of, is_spreadsheet, unpack
from importer.domain.reading.datev import is_datev, read_datev
from importer.domain.reading.furniture import without_furniture
from importer.domain.reading.json_rows import looks_like_json, read_json
from importer.domain.reading.sheets import read_sheet
from importer.domain.reading.table import FILE_LIMIT_BYTES, Document, RawTable
from importer.domain.reading.text import decode, read_text
from importer.domain.reading.xml import looks_like_xml, parse, root_name
from importer.domain.texts import Unreadable

_BINARY = (b"\x89PNG", b"GIF8", b"\xff\xd8\xff", b"\x1f\x8b", b"Rar!", b"7z\xbc\xaf", b"\x7fELF", b"MZ\x90", b"BZh")
# What an archive of files carries besides data.
_NO_DATA = re.compile(r"(^|/)(\.|__MACOSX/|Thumbs\.db$|desktop\.ini$)", re.IGNORECASE)


def read_table(
    data: bytes,
    file_name: str,
    *,
    encoding: str = "",
    sheet: str = "",
    object: str = "",
    limit_bytes: int = FILE_LIMIT_BYTES,
) -> RawTable:
    """Reads any file that can hold receivables: text, spreadsheet, JSON, XML, PDF, or an archive of them.

    Args: data, the whole file; file_name, for messages and documents; encoding, sheet and object, a person's answers,
    empty: recognised. `sheet` also names the one file of an archive to read, `object` the part of an audit file.
    Raises: Unreadable with a stable code and a text for a bookkeeper.
    """
    if not data:
        raise Unreadable("FILE_EMPTY")
    if len(data) > limit_bytes:
        raise Unreadable("FILE_TOO_LARGE", limit_mb=str(limit_bytes // (1024 * 1024)))
    raw = _read(data, file_name, encoding, sheet, object, limit_bytes)
    if raw.row_count == 0:
        raise Unreadable("HEADER_ONLY")
    return raw


def _read(data: bytes, file_name: str, encoding: str, sheet: str, wanted: str, limit_bytes: int) -> RawTable:
    head = data[:8]
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        entries = entries_of(data)
        if is_spreadsheet(entries):
            return without_furniture(read_sheet(data, sheet, limit_bytes))
        return _read_archive(data, entries, encoding, sheet, wanted, limit_bytes)
    if head == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1":
        return without_furniture(read_sheet(data, sheet, limit_bytes))
    if b"%PDF-" in data[:1024]:
        return _read_pdf(data, file_name)
    if head.startswith(_BINARY):
        raise Unreadable("FILE_BINARY")
    if looks_like_xml(data):
        return _read_xml(data, file_name, sheet or wanted)
    if is_datev(data):
        utf8, found = decode(data, encoding)
        return read_datev(utf8, found)
    if data[:4096].lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n\x00")[:1] in (b"[", b"{"):
        utf8, found = decode(data, encoding)
        if looks_like_json(utf8):
            raw = read_json(utf8)
            raw.encoding = found
            return raw
    return without_furniture(read_text(data, encoding))


def _read_xml(data: bytes, file_name: str, part: str) -> RawTable:
    name, namespace = root_name(data)
    if name == "AuditFile":
        return saft.read_saft(data, part)
    if invoices.is_invoice(name, namespace):
        return invoices.table_of([(1, invoices.read_invoice(parse(data)))])
    raise Unreadable("XML_UNKNOWN", root=name[:60])


def _read_pdf(data: bytes, file_name: str) -> RawTable:
    for content in pdf.embedded_xml(data):
        root = parse(content)
        if invoices.is_invoice(*root_name(content)):
            invoice = invoices.read_invoice(root)
            raw = invoices.table_of([(1, invoice)])
            name = PurePosixPath(file_name.replace("\\", "/")).name
            raw.documents.append(invoices.document(invoice, name, "application/pdf", data))
            raw.kind = "pdf"
            return raw
    raise Unreadable("PDF_WITHOUT_DATA")


# --- archives --------------------------------------------------------------------------------------------------------


def _read_archive(
    data: bytes, entries: list[zipfile.ZipInfo], encoding: str, sheet: str, wanted: str, limit_bytes: int
) -> RawTable:
    """All files of an archive as one table; they must have one layout. A file that cannot be read is a refused row."""
    files = [entry for entry in entries if not entry.is_dir() and not _NO_DATA.search(entry.filename)]
    if sheet and any(entry.filename == sheet for entry in files):
        files, sheet = [entry for entry in files if entry.filename == sheet], ""
    if not files:
        raise Unreadable("ARCHIVE_NOT_A_SHEET")
    budget = Budget()
    read: list[tuple[str, RawTable]] = []
    failed: list[tuple[str, Unreadable]] = []
    pictures: list[tuple[zipfile.ZipInfo, int]] = []
    for entry in sorted(files, key=lambda entry: entry.filename):
        content = b"".join(unpack(data, entry, budget))
        name = _entry_name(entry)
        try:
            if not content:
                raise Unreadable("FILE_EMPTY")
            if content[:2] == b"PK" and not is_spreadsheet(entries_of(content)):
                raise Unreadable("ARCHIVE_IN_ARCHIVE")
            read.append((name, _in_archive(data, entry, _read(content, name, encoding, sheet, wanted, limit_bytes))))
        except Unreadable as refusal:
            if refusal.code in ("SHEET_BOMB", "FILE_TOO_LARGE"):
                raise
            if refusal.code == "PDF_WITHOUT_DATA":
                pictures.append((entry, len(content)))
            else:
                failed.append((name, refusal))
    if not read:
        if len(failed) == 1 and not pictures:
            raise failed[0][1]
        raise Unreadable("ARCHIVE_NOT_A_SHEET")
    layouts = {tuple(raw.headers): name for name, raw in read}
    if len(layouts) > 1:
        raise Unreadable("ARCHIVE_MIXED", files=", ".join(sorted(layouts.values())[:5]))
    whole = _one_table(read)
    _attach(whole, data, pictures, failed)
    line = whole.sources[-1][0] + _span(read[-1][1])
    for name, reason in failed:
        whole.sources.append((line, name))
        whole.broken.append((line, "fileUnreadable", f"{name}: {reason}"))
        line += 1
    return whole


def _entry_name(entry: zipfile.ZipInfo) -> str:
    return PurePosixPath(entry.filename.replace("\\", "/")).name[:200]


def _in_archive(data: bytes, entry: zipfile.ZipInfo, raw: RawTable) -> RawTable:
    """The documents are unpacked again when they are wanted: thousands of PDFs are not held in memory."""
    if raw.kind == "pdf":
        raw.documents = [
            _packed(data, entry, found.item_number, found.account_number, found.name, found.size_bytes)
            if found.content_type == "application/pdf" and found is raw.documents[-1]
            else found
            for found in raw.documents
        ]
    return raw


def _packed(data: bytes, entry: zipfile.ZipInfo, item: str, account: str, name: str, size: int) -> Document:
    return Document(item, account, name, "application/pdf", size, lambda: b"".join(unpack(data, entry, Budget())))


def _span(raw: RawTable) -> int:
    """How many lines a file takes in the count of the whole archive."""
    last = max((line for line, _, _ in raw.broken), default=0)
    if raw.table.num_rows:
        last = max(last, int(np.max(raw.lines.to_numpy())))
    return last + 1


def _one_table(read: list[tuple[str, RawTable]]) -> RawTable:
    """The files below each other. Lines go on counting; `sources` tells which file a line is of."""
    whole = read[0][1]
    if len(read) == 1:
        whole.sources = [(0, read[0][0])]
        return whole
    tables, lines, offset = [], [], 0
    broken: list[tuple[int, str, str]] = []
    native: dict[int, list[pa.Array]] = {}
    positions = sorted({position for _, raw in read for position in raw.native})
    sources, errors, documents = [], [], []
    skipped: dict[str, int] = {}
    warnings: list[str | tuple[str, dict[str, str]]] = []
    for name, raw in read:
        sources.append((offset, name))
        tables.append(raw.table)
        lines.append(pa.array(raw.lines.to_numpy() + offset, pa.int32()))
        broken += [(line + offset, code, text) for line, code, text in raw.broken]
        errors += [(line + offset, column) for line, column in raw.error_cells]
        documents += raw.documents
        warnings += [warning for warning in raw.warnings if warning not in warnings]
        none = pa.array(np.zeros(raw.table.num_rows, dtype=bool))
        for position in positions:
            native.setdefault(position, []).append(raw.native.get(position, none))
        for kind, count in raw.skipped.items():
            skipped[kind] = skipped.get(kind, 0) + count
        offset += _span(raw)
    whole.table = pa.concat_tables(tables).combine_chunks()
    whole.lines = pa.concat_arrays(lines)
    whole.native = {position: pa.concat_arrays(flags) for position, flags in native.items()}
    whole.broken, whole.error_cells, whole.documents = broken, errors, documents
    whole.skipped, whole.warnings, whole.sources = skipped, warnings, sources
    whole.sellers = sorted({seller for _, raw in read for seller in raw.sellers})
    return whole


def _attach(
    whole: RawTable,
    data: bytes,
    pictures: list[tuple[zipfile.ZipInfo, int]],
    failed: list[tuple[str, Unreadable]],
) -> None:
    """PDFs without data go with the item that their file name is the number of; any other is told as not read."""
    numbers = next((position for position, name in whole.known.items() if name == "itemNumber"), None)
    accounts = next((position for position, name in whole.known.items() if name == "accountNumber"), None)
    known: dict[str, str] = {}
    if pictures and numbers is not None and accounts is not None:
        known = dict(
            zip(whole.table.column(numbers).to_pylist(), whole.table.column(accounts).to_pylist(), strict=True)
        )
    for entry, size in pictures:
        name = _entry_name(entry)
        stem = PurePosixPath(name).stem
        if numbers is None or stem in known:
            # Where the columns are not known yet, the name is matched when the documents are stored.
            whole.documents.append(_packed(data, entry, stem, known.get(stem, ""), name, size))
        else:
            failed.append((name, Unreadable("PDF_WITHOUT_DATA")))
