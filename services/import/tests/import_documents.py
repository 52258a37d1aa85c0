"""Documents of every kind as their writers begin them, and a ledger that knows items."""

from __future__ import annotations

import io
import struct
import zipfile
from typing import Any

from import_fake_ledger import FakeLedger, refuse

from kit.ids import new_id
from kit.money import Money, to_proto
from quittance.ledger.v1 import item_pb2
from quittance.ledger.v1 import ledger_service_pb2 as ledger_pb

PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer << /Root 1 0 R >>\n%%EOF\n"
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(20)
MAIL = b"Received: from mx.example\r\nFrom: a@example.com\r\nSubject: Invoice\r\n\tfolded\r\n\r\nHello\r\n"


def packed(*names: str, first: tuple[str, bytes] | None = None) -> bytes:
    """A zip file with these entries."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        if first:
            archive.writestr(*first)
        for name in names:
            archive.writestr(name, "<x/>")
    return file.getvalue()


def ole(*streams: str) -> bytes:
    """An OLE compound file as far as its directory goes: 512-byte sectors, the directory in the first."""
    head = bytearray(512)
    head[:8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
    struct.pack_into("<HH", head, 28, 0xFFFE, 9)
    struct.pack_into("<I", head, 48, 0)
    entries = b""
    for name in ("Root Entry", *streams):
        written = name.encode("utf-16-le") + b"\0\0"
        entry = bytearray(128)
        entry[: len(written)] = written
        struct.pack_into("<H", entry, 64, len(written))
        entries += bytes(entry)
    return bytes(head) + entries.ljust(1024, b"\0")


FILES = {
    "a.pdf": PDF,
    "a.docx": packed("[Content_Types].xml", "word/document.xml"),
    "a.xlsx": packed("[Content_Types].xml", "xl/workbook.xml"),
    "a.pptx": packed("[Content_Types].xml", "ppt/presentation.xml"),
    "a.odt": packed("content.xml", first=("mimetype", b"application/vnd.oasis.opendocument.text")),
    "a.ods": packed("content.xml", first=("mimetype", b"application/vnd.oasis.opendocument.spreadsheet")),
    "a.doc": ole("1Table", "WordDocument"),
    "a.xls": ole("Workbook"),
    "a.msg": ole("__nameid_version1.0", "__properties_version1.0"),
    "a.eml": MAIL,
    "a.jpg": b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(20),
    "a.png": PNG,
    "a.tif": b"II*\0\x08\0\0\0" + bytes(20),
    "a.zip": packed("notes.txt"),
}


class ItemLedger(FakeLedger):
    """A ledger with items, asked by id, by number and by account. `is_away`: nobody answers."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[str, item_pb2.Item] = {}
        self.numbers: dict[str, str] = {}
        self.is_away = False
        self.asked: list[str] = []
        self.after_get: Any = None

    def add(self, number: str, account_id: str = "", entity: str = "FR01", **fields: Any) -> str:
        """A new item; returns its id."""
        item_id = new_id()
        account_id = account_id or new_id()
        self.numbers.setdefault(account_id, f"C-{len(self.numbers) + 1}")
        fields = {"kind": item_pb2.ITEM_KIND_INVOICE, "issue_on": "2026-01-05", "version": 1, **fields}
        self.known[item_id] = item_pb2.Item(
            item_id=item_id, account_id=account_id, entity_code=entity, number=number, open=_euro(100), **fields
        )
        return item_id

    def settle(self, item_id: str, on: str) -> None:
        """The item is cleared on a day; empty: reopened."""
        item = self.known[item_id]
        item.settled_on, item.version = on, item.version + 1
        item.open.CopyFrom(_euro(0 if on else 100))

    def GetItem(self, request: Any, context: Any) -> Any:
        self.asked.append(f"GetItem {request.item_id}")
        if self.is_away:
            refuse(context, 14, "DOWN")
        if request.item_id not in self.known:
            refuse(context, 5, "ITEM_UNKNOWN")
        reply = ledger_pb.GetItemResponse()
        reply.item.CopyFrom(self.known[request.item_id])
        if self.after_get:
            self.after_get()
        return reply

    def ListItems(self, request: Any, context: Any) -> Any:
        self.asked.append(f"ListItems {request.filter}")
        if self.is_away:
            refuse(context, 14, "DOWN")
        found = [
            item
            for item in self.known.values()
            if f'number="{item.number}"' in request.filter
            and f'entity_code="{item.entity_code}"' in request.filter
            and f"state={'CLEARED' if item.settled_on else 'OPEN'}" in request.filter
        ]
        return ledger_pb.ListItemsResponse(items=found, total_size=len(found))

    def GetAccount(self, request: Any, context: Any) -> Any:
        reply = ledger_pb.GetAccountResponse()
        reply.account.account_id, reply.account.number = request.account_id, self.numbers[request.account_id]
        return reply

    def LookAgain(self, request: Any, context: Any) -> Any:
        reply = ledger_pb.LookAgainResponse()
        reply.account.account_id, reply.account.number = request.account_id, self.numbers[request.account_id]
        reply.items.extend(self.known[item_id] for item_id in request.item_ids)
        return reply


def _euro(minor_units: int) -> Any:
    return to_proto(Money("EUR", minor_units))
