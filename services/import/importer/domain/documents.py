"""What a document is: kinds and their signs, names that are numbers, addresses in an archive, how long it is kept."""

from __future__ import annotations

import calendar
import re
import struct
import zipfile
from collections.abc import Mapping, Sequence
from datetime import date
from typing import IO
from urllib.parse import quote, urlsplit

from kit.errors import Code, Refused

HEAD_BYTES = 64 * 1024
PATTERN_MAX = 1_000
# Entries of a packed file that are looked at; no office document has so many.
ENTRIES_MAX = 20_000

# Extensions by kind, and the media type each is served as. Nothing here is anything a browser would run.
KINDS: dict[str, str] = {
    "pdf": "application/pdf",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "odt": "application/vnd.oasis.opendocument.text",
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
    "doc": "application/msword",
    "xls": "application/vnd.ms-excel",
    "msg": "application/vnd.ms-outlook",
    "eml": "message/rfc822",
    "jpg": "image/jpeg",
    "png": "image/png",
    "tif": "image/tiff",
    "zip": "application/zip",
}
_SAME = {"jpeg": "jpg", "tiff": "tif"}

_ZIP_PARTS = {"docx": "word/document.xml", "xlsx": "xl/workbook.xml", "pptx": "ppt/presentation.xml"}
_ZIP_TYPES = {
    "odt": b"application/vnd.oasis.opendocument.text",
    "ods": b"application/vnd.oasis.opendocument.spreadsheet",
}
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# Streams of an OLE file by which its writer is known.
_OLE_STREAMS = {
    "msg": ("__properties_version1.0",),
    "doc": ("WordDocument",),
    "xls": ("Workbook", "Book"),
}
# A mail begins with header lines, and among them is at least one of these.
_HEADER_LINE = re.compile(rb"[!-9;-~]{1,76}:[ \t]?[^\r\n]*")
_MAIL_HEADERS = (b"from:", b"received:", b"return-path:", b"message-id:", b"mime-version:", b"date:", b"subject:")


def kind_of_name(name: str) -> str:
    """The kind a file's name promises. Refuses INVALID_ARGUMENT KIND_NOT_TAKEN."""
    extension = name.rpartition(".")[2].lower() if "." in name else ""
    kind = _SAME.get(extension, extension)
    if kind not in KINDS:
        text = f"documents are of these kinds: {', '.join(KINDS)}"
        raise Refused(Code.INVALID_ARGUMENT, "KIND_NOT_TAKEN", text, {"file": text})
    return kind


def check_content(name: str, file: IO[bytes]) -> str:
    """The kind of a document when its content is what its name promises; the file's place is left anywhere.

    Refuses INVALID_ARGUMENT KIND_NOT_TAKEN, CONTENT_IS_OTHER, MACROS_NOT_TAKEN.
    """
    wanted = kind_of_name(name)
    found = sniff(file)
    if found == "macro":
        text = "documents with macros are not taken"
        raise Refused(Code.INVALID_ARGUMENT, "MACROS_NOT_TAKEN", text, {"file": text})
    # An office document is a zip file too: under that name it is taken as what it says.
    if wanted != found and not (wanted == "zip" and found in (*_ZIP_PARTS, *_ZIP_TYPES)):
        text = f"the content is no {wanted}"
        raise Refused(Code.INVALID_ARGUMENT, "CONTENT_IS_OTHER", text, {"file": text})
    return wanted


def sniff(file: IO[bytes]) -> str:
    """The kind a file is by its bytes; "macro" for an office document that carries one; empty when it is none of ours."""
    file.seek(0)
    head = file.read(HEAD_BYTES)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_kind(file)
    if head.startswith(_OLE):
        return _ole_kind(file, head)
    # Some writers put a few bytes before it; readers take it within the first kilobyte.
    if b"%PDF-" in head[:1024]:
        return "pdf" if not _is_markup(head) else ""
    if head.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith((b"II*\0", b"MM\0*")):
        return "tif"
    return "eml" if _is_mail(head) else ""


def _is_markup(head: bytes) -> bool:
    return head.lstrip()[:1] == b"<"


def _zip_kind(file: IO[bytes]) -> str:
    """Only the list of entries is read; nothing is unpacked but an OpenDocument's type, which is stored and short."""
    try:
        with zipfile.ZipFile(file) as packed:
            names = packed.namelist()
            if len(names) > ENTRIES_MAX:
                return ""
            found = set(names)
            if any(name.lower().endswith("vbaproject.bin") for name in names):
                return "macro"
            for kind, part in _ZIP_PARTS.items():
                if part in found and "[Content_Types].xml" in found:
                    return kind
            if names and names[0] == "mimetype" and packed.infolist()[0].file_size <= 200:
                written = packed.read("mimetype").strip()
                return next((kind for kind, type_ in _ZIP_TYPES.items() if written == type_), "zip")
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, OSError, RuntimeError, struct.error):
        return ""
    return "zip"


def _ole_kind(file: IO[bytes], head: bytes) -> str:
    """By the names of its streams, which stand in the directory sector the header points at."""
    if len(head) < 512:
        return ""
    sector_bits = struct.unpack_from("<H", head, 30)[0]
    directory = struct.unpack_from("<I", head, 48)[0]
    if sector_bits not in (9, 12):
        return ""
    file.seek((directory + 1) << sector_bits)
    # Entries of 128 bytes; the root and the first streams are in its first sectors, which writers keep together.
    entries = file.read(8 * (1 << sector_bits))
    names = set()
    for at in range(0, len(entries) - 127, 128):
        length = struct.unpack_from("<H", entries, at + 64)[0]
        if 2 <= length <= 64:
            names.add(entries[at : at + length - 2].decode("utf-16-le", "replace"))
    for kind, streams in _OLE_STREAMS.items():
        if names.intersection(streams):
            return "macro" if "_VBA_PROJECT_CUR" in names or "Macros" in names else kind
    return ""


def _is_mail(head: bytes) -> bool:
    if b"\0" in head or _is_markup(head):
        return False
    lines = head.replace(b"\r\n", b"\n").split(b"\n")[:200]
    seen = 0
    for number, line in enumerate(lines):
        if not line:
            break
        if line[:1] in (b" ", b"\t") and number:
            continue
        if not _HEADER_LINE.fullmatch(line):
            return False
        seen += line.lower().startswith(_MAIL_HEADERS)
    return seen >= 2


# ---- names that are numbers ------------------------------------------------------------------------------------------

_WORDS = re.compile(
    r"^(?:invoice|credit ?note|facture|avoir|rechnung|gutschrift|factura|fattura)[\s_.#-]*", re.IGNORECASE
)


def wanted_number(name: str) -> str:
    """The item number a file's name may be: without folder and extension, and without a word such as Invoice."""
    stem = re.split(r"[\\/]", name)[-1].strip()
    if "." in stem[1:]:
        stem = stem.rpartition(".")[0]
    stem = stem.strip()
    return _WORDS.sub("", stem).strip() or stem


def number_key(number: str) -> str:
    """What two spellings of one number share: letters and digits, upper case. Leading zeros count."""
    return "".join(sign for sign in number.upper() if sign.isalnum())


def spellings(number: str) -> list[str]:
    """How a number may be spelt in the books when a file's name could not hold its signs: RE_2026_1 for RE/2026/1."""
    found = [number, *(re.sub(r"[_ -]", sign, number) for sign in ("/", "-", "_", " ", ".", "")), number.upper()]
    return list(dict.fromkeys(one for one in found if one))


# ---- addresses in an archive -----------------------------------------------------------------------------------------

FIELDS = ("number", "account_number", "order_number", "reference", "issue_on", "entity_code")
CUSTOM = "custom."
_FIELD = re.compile(r"\{([^{}]*)\}")


def check_pattern(pattern: str, allowed_hosts: Sequence[str]) -> str:
    """A pattern as it is kept. Hosts: a name, or *.name for everything below it.

    Refuses INVALID_ARGUMENT PATTERN_WRONG, HOST_NOT_ALLOWED.
    """
    pattern = pattern.strip()
    bare = _FIELD.sub("x", pattern)
    try:
        parts = urlsplit(bare)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise _pattern_wrong("this is no address") from error
    if parts.scheme != "https" or not host:
        raise _pattern_wrong("the address begins with https:// and names a host")
    if len(pattern) > PATTERN_MAX or not all(33 <= ord(sign) <= 126 for sign in bare) or "\\" in bare:
        raise _pattern_wrong("the address has no blanks and no signs beyond ASCII")
    if parts.username is not None or parts.password is not None or port not in (None, 443):
        raise _pattern_wrong("the address has neither user nor port")
    if "{" in bare or "}" in bare:
        raise _pattern_wrong("a brace is not closed")
    authority = pattern[len("https://") :].partition("/")[0]
    if "{" in authority or "}" in authority or parts.netloc != authority:
        raise _pattern_wrong("the host is written out, without fields")
    fields = _FIELD.findall(pattern)
    if not fields:
        raise _pattern_wrong("the address names a field of the item, such as {number}")
    for field in fields:
        if field not in FIELDS and not (field.startswith(CUSTOM) and len(field) > len(CUSTOM)):
            raise _pattern_wrong(f"there is no field {field}")
    if not any(_covers(allowed, host) for allowed in allowed_hosts):
        text = f"addresses on {host} are not allowed in this installation"
        raise Refused(Code.INVALID_ARGUMENT, "HOST_NOT_ALLOWED", text, {"pattern": text})
    return pattern


def _covers(allowed: str, host: str) -> bool:
    allowed, host = allowed.strip().lower(), host.lower()
    return host == allowed or (allowed.startswith("*.") and host.endswith(allowed[1:]))


def _pattern_wrong(text: str) -> Refused:
    return Refused(Code.INVALID_ARGUMENT, "PATTERN_WRONG", text, {"pattern": text})


def url_of(pattern: str, values: Mapping[str, str]) -> str:
    """An item's address, every value percent-encoded; empty when the item lacks a field that the pattern names.

    "." and ".." would climb in the archive whatever their encoding: an item with such a value has no address.
    """
    missing = []

    def value(found: re.Match[str]) -> str:
        text = values.get(found[1], "").strip()
        if not text or set(text) == {"."}:
            missing.append(found[1])
        return quote(text, safe="")

    url = _FIELD.sub(value, pattern)
    return "" if missing else url


# ---- how long it is kept ---------------------------------------------------------------------------------------------


def months_after(day: date, months: int) -> date:
    """The same day so many months later, or the last day of a shorter month."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def keep_until(settled_on: Sequence[date | None], months: int) -> date | None:
    """Day from which a document may be deleted, by the days its items were cleared; None while one is open, or none."""
    days = [day for day in settled_on if day is not None]
    return months_after(max(days), months) if days and len(days) == len(settled_on) else None
