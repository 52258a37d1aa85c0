"""Documents of items: kept, matched by their name, scanned, shown for a while, deleted in time.

A document lies in the file store under `<tenant>/documents/<id>`. It is kept before its row is committed and removed
after its row is gone, so that a crash leaves a file without a row, never a row without a file.
"""

from __future__ import annotations

import hashlib
import io
import logging
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import IO, Any

from sqlalchemy.orm import Session

from importer import scanner, store
from importer.domain import documents as rules
from importer.store import DocumentDeletionRow, DocumentItemRow, DocumentRow, SourceRow, UrlPatternRow
from importer.usecases.state import raw_table
from importer.usecases.uploading import entity_currency
from kit import clock, context, files
from kit.db import Database
from kit.errors import Code, Refused
from kit.ids import new_id
from kit.jobs import enqueue
from quittance.ledger.v1 import item_pb2
from quittance.ledger.v1 import ledger_service_pb2 as ledger_pb
from quittance.ledger.v1 import ledger_service_pb2_grpc as ledger_grpc

log = logging.getLogger(__name__)

INVOICE, ATTACHMENT = "INVOICE", "ATTACHMENT"
READY, QUARANTINED, INFECTED = "READY", "QUARANTINED", "INFECTED"
# Who works on accounts sees every document of an item; others what is for colleagues.
WORKS_ON = "accounts:write"
SPOOL_BYTES = 1024 * 1024
RETENTION_PAGE = 200
LEDGER_TIMEOUT_S = 10.0

Ledger = Callable[[], Any]


@dataclass(frozen=True)
class Arrival:
    """A document on its way in. Without item_ids it is for the items whose number is wanted_number."""

    file_name: str
    entity_code: str = ""
    item_ids: tuple[str, ...] = ()
    description: str = ""
    for_colleagues: bool = False
    for_customer: bool = False
    channel: str = "UPLOAD"
    wanted_number: str = ""
    wanted_account: str = ""


@dataclass(frozen=True)
class ItemFact:
    """What is kept of an item beside a document."""

    item_id: str
    account_id: str
    entity_code: str
    number: str
    version: int
    settled_on: date | None


def file_key(document_id: str) -> str:
    """Where a document lies in the file store."""
    return f"{context.current_tenant()}/documents/{document_id}"


# ---- arriving --------------------------------------------------------------------------------------------------------


def upload_document(
    database: Database, settings: Any, ledger: Ledger, arrival: Arrival, pieces: Iterable[bytes]
) -> tuple[DocumentRow, bool]:
    """Keeps a document; returns it, and whether it was there before.

    The same content for the same items, or waiting for the same number, is one document.
    Refuses: NOT_FOUND ITEM_UNKNOWN, ENTITY_UNKNOWN; INVALID_ARGUMENT FILE_EMPTY, KIND_NOT_TAKEN, CONTENT_IS_OTHER,
    MACROS_NOT_TAKEN, ENTITY_MISSING, ITEM_OF_OTHER_ENTITY; RESOURCE_EXHAUSTED DOCUMENT_TOO_LARGE.
    """
    arrival = replace(arrival, file_name=_clean_name(arrival.file_name))
    rules.kind_of_name(arrival.file_name)
    if arrival.item_ids:
        facts = [_fact(_item(ledger, item_id)) for item_id in dict.fromkeys(arrival.item_ids)]
        _check_one_entity(facts)
        arrival = replace(arrival, entity_code=facts[0].entity_code)
        number = ""
    else:
        if not arrival.entity_code:
            text = "say which items it belongs to, or of which entity it is"
            raise Refused(Code.INVALID_ARGUMENT, "ENTITY_MISSING", text, {"entity": text})
        entity_currency(database, ledger, arrival.entity_code)
        number = arrival.wanted_number or rules.wanted_number(arrival.file_name)
        facts = _facts_by_number(ledger, arrival.entity_code, number, arrival.wanted_account)
    return _keep(database, settings, arrival, pieces, facts, number)


def take(database: Database, settings: Any, ledger: Ledger, source: SourceRow, name: str, file: IO[bytes]) -> str:
    """Takes a file of a source's `documents` folder, for the item whose number its name is; returns the document's id.

    Repeatable: the same file again is the same document. Refuses as upload_document; what is not transient is for good.
    """
    arrival = Arrival(file_name=name, entity_code=source.entity_code, channel=source.kind)
    row, _ = upload_document(database, settings, ledger, arrival, _pieces(file))
    return row.document_id


def keep_for_item(
    database: Database,
    settings: Any,
    entity_code: str,
    item_number: str,
    account_number: str,
    name: str,
    content: bytes | IO[bytes],
) -> str:
    """Keeps the file an import brought for one of its items, which the ledger may not know yet; returns the document's id.

    It finds its item as soon as the ledger says that there is one. Repeatable. Refuses: INVALID_ARGUMENT KIND_NOT_TAKEN,
    CONTENT_IS_OTHER, MACROS_NOT_TAKEN, FILE_EMPTY; RESOURCE_EXHAUSTED DOCUMENT_TOO_LARGE.
    """
    arrival = Arrival(
        file_name=_clean_name(name),
        entity_code=entity_code,
        channel="IMPORT",
        wanted_number=item_number,
        wanted_account=account_number,
    )
    rules.kind_of_name(arrival.file_name)
    stream = io.BytesIO(content) if isinstance(content, bytes) else content
    row, _ = _keep(database, settings, arrival, _pieces(stream), [], item_number)
    return row.document_id


def keep_documents_of_import(job: Any, import_id: str) -> None:
    """The job that keeps the files an applied import brought with its items, such as the PDFs of its invoices.
    Repeatable; one that is not taken is left out, and said in the log."""
    with job.database.transaction() as session:
        row = store.batch(session, import_id)
        if row is None or row.state != "APPLIED":
            return
        session.expunge(row)
    for found in raw_table(job.settings, row).documents:
        try:
            keep_for_item(
                job.database,
                job.settings,
                row.entity_code,
                found.item_number,
                found.account_number,
                found.name,
                found.read(),
            )
        except Refused as error:
            if error.is_transient:
                raise
            log.warning("a document of import %s was left out: %s", import_id, error.reason)


def _keep(
    database: Database,
    settings: Any,
    arrival: Arrival,
    pieces: Iterable[bytes],
    facts: Sequence[ItemFact],
    number: str,
) -> tuple[DocumentRow, bool]:
    with tempfile.SpooledTemporaryFile(SPOOL_BYTES) as spool:
        sha256, size = _spooled(spool, pieces, settings.document_limit_bytes)  # type: ignore[arg-type]
        kind = rules.check_content(arrival.file_name, spool)  # type: ignore[arg-type]
        with database.transaction() as session:
            known = _known(session, arrival, facts, sha256)
            if known is not None:
                session.expunge(known)
                return known, True
        document_id = new_id()
        spool.seek(0)
        files.store(settings).put(file_key(document_id), spool)  # type: ignore[arg-type]
    with database.transaction() as session:
        store.lock_content(session, arrival.entity_code, sha256)
        known = _known(session, arrival, facts, sha256)
        if known is None:
            row = _add(session, settings, arrival, document_id, kind, sha256, size, number if not facts else "")
            if number and facts:
                _is_invoice(row)
            session.flush()
            store.attach(session, [_link(row, fact) for fact in facts])
            if facts:
                _look_later(session, document_id)
            else:
                _match_later(session, document_id)
        session.flush()
        found = known or row
        session.refresh(found)
        session.expunge(found)
    if known is not None:
        # Another arrival of this content was faster.
        files.store(settings).delete(file_key(document_id))
    return found, known is not None


def _known(session: Session, arrival: Arrival, facts: Sequence[ItemFact], sha256: str) -> DocumentRow | None:
    """The document that makes this arrival a repetition."""
    if not facts:
        known = store.unmatched_with(session, arrival.entity_code, sha256)
        return known if known is not None and known.file_name == arrival.file_name else None
    having = store.having(session, [fact.item_id for fact in facts], sha256)
    if len(having) < len(facts):
        return None
    return store.document(session, having[facts[0].item_id])


def _add(
    session: Session,
    settings: Any,
    arrival: Arrival,
    document_id: str,
    kind: str,
    sha256: str,
    size: int,
    wanted_number: str,
) -> DocumentRow:
    caller = context.current_caller()
    row = DocumentRow(
        document_id=document_id,
        entity_code=arrival.entity_code,
        file_name=arrival.file_name,
        kind=kind,
        size_bytes=size,
        sha256=sha256,
        purpose=ATTACHMENT,
        description=arrival.description.strip(),
        for_colleagues=arrival.for_colleagues,
        for_customer=arrival.for_customer,
        state=QUARANTINED if settings.document_scan_url else READY,
        channel=arrival.channel,
        wanted_number=wanted_number,
        wanted_account=arrival.wanted_account,
        wanted_key=rules.number_key(wanted_number),
        created_by=caller.name or caller.actor,
        created_by_subject=caller.actor,
        created_at=clock.utc_now(),
    )
    session.add(row)
    if row.state == QUARANTINED:
        enqueue(session, "import.document_scan", {"document_id": document_id}, f"{document_id}:first")
    return row


def _spooled(spool: IO[bytes], pieces: Iterable[bytes], limit: int) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    for piece in pieces:
        size += len(piece)
        if size > limit:
            text = f"a document has at most {limit // 1_000_000} MB"
            raise Refused(Code.RESOURCE_EXHAUSTED, "DOCUMENT_TOO_LARGE", text, {"file": text})
        digest.update(piece)
        spool.write(piece)
    if not size:
        text = "the document is empty"
        raise Refused(Code.INVALID_ARGUMENT, "FILE_EMPTY", text, {"file": text})
    return digest.hexdigest(), size


def _clean_name(name: str) -> str:
    """A file's name without folders and control characters, at most 200 characters, its extension kept."""
    last = re.split(r"[\\/]", name)[-1]
    cleaned = "".join(sign if sign.isprintable() else "_" for sign in last).strip()
    stem, dot, extension = cleaned.rpartition(".")
    return f"{stem[: 199 - len(extension)]}{dot}{extension}" if dot and len(extension) <= 10 else cleaned[:200]


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(256 * 1024):
        yield piece


def _is_invoice(row: DocumentRow) -> None:
    """A PDF that has the number of its item is the invoice: for everybody who has to do with it (domain rule 15).

    Everything else is an attachment, and seen by whom it is said.
    """
    if row.kind == "pdf" and row.purpose != INVOICE:
        row.purpose, row.for_colleagues, row.for_customer = INVOICE, True, True


def _link(row: DocumentRow, fact: ItemFact) -> dict[str, Any]:
    return {
        "item_id": fact.item_id,
        "sha256": row.sha256,
        "document_id": row.document_id,
        "account_id": fact.account_id,
        "number": fact.number,
        "item_version": fact.version,
        "settled_on": fact.settled_on,
    }


# ---- items -----------------------------------------------------------------------------------------------------------


def _stub(ledger: Ledger) -> ledger_grpc.LedgerServiceStub:
    return ledger_grpc.LedgerServiceStub(ledger())


def _item(ledger: Ledger, item_id: str) -> item_pb2.Item:
    """An item the caller may see. Refuses NOT_FOUND ITEM_UNKNOWN."""
    found = _stub(ledger).GetItem(ledger_pb.GetItemRequest(item_id=item_id), timeout=LEDGER_TIMEOUT_S).item
    if not context.current_caller().sees_entity(found.entity_code):
        raise Refused(Code.NOT_FOUND, "ITEM_UNKNOWN", "there is no such item")
    return found


def _fact(item: item_pb2.Item) -> ItemFact:
    settled_on = date.fromisoformat(item.settled_on) if item.settled_on else None
    return ItemFact(item.item_id, item.account_id, item.entity_code, item.number, item.version, settled_on)


def _check_one_entity(facts: Sequence[ItemFact], entity_code: str = "") -> None:
    if {fact.entity_code for fact in facts} | ({entity_code} if entity_code else set()) != {facts[0].entity_code}:
        text = "all items of a document belong to one entity"
        raise Refused(Code.INVALID_ARGUMENT, "ITEM_OF_OTHER_ENTITY", text, {"itemIds": text})


def _facts_by_number(
    ledger: Ledger, entity_code: str, number: str, account_number: str, hints: Sequence[str] = ()
) -> list[ItemFact]:
    """The items with this number: instalments of one invoice are several. None when they are of several accounts:
    a person has to say which is meant."""
    key, stub = rules.number_key(number), _stub(ledger)
    if not key:
        return []
    found: dict[str, item_pb2.Item] = {}
    for item_id in hints:
        try:
            found[item_id] = _item(ledger, item_id)
        except Refused as error:
            if error.code is not Code.NOT_FOUND:
                raise
    for spelling in rules.spellings(number) if not found else ():
        quoted = spelling.replace("\\", "\\\\").replace('"', '\\"')
        for state in ("OPEN", "CLEARED"):
            asked = f'number="{quoted}" AND entity_code="{entity_code}" AND state={state}'
            request = ledger_pb.ListItemsRequest(filter=asked, page_size=100)
            found |= {item.item_id: item for item in stub.ListItems(request, timeout=LEDGER_TIMEOUT_S).items}
        if found:
            break
    items = [
        item for item in found.values() if item.entity_code == entity_code and rules.number_key(item.number) == key
    ]
    accounts = {item.account_id for item in items}
    if account_number and accounts:
        accounts = {account_id for account_id in accounts if _account_number(ledger, account_id) == account_number}
        items = [item for item in items if item.account_id in accounts]
    return [_fact(item) for item in items] if len(accounts) == 1 else []


def _account_number(ledger: Ledger, account_id: str) -> str:
    request = ledger_pb.GetAccountRequest(account_id=account_id)
    return str(_stub(ledger).GetAccount(request, timeout=LEDGER_TIMEOUT_S).account.number)


def _match_later(session: Session, document_id: str, hints: Sequence[str] = ()) -> None:
    payload = {"document_id": document_id, "item_ids": list(hints)}
    enqueue(session, "import.document_match", payload, f"{document_id}:{new_id()}")


def _look_later(session: Session, document_id: str) -> None:
    # The items were looked up before the row was there: what the ledger said in between was said to nobody.
    enqueue(session, "import.document_look", {"document_id": document_id}, f"{document_id}:{new_id()}")


def items_changed(
    session: Session,
    item_ids: Sequence[str],
    versions: Sequence[int],
    account_ids: Sequence[str],
    entity_codes: Sequence[str],
    numbers: Sequence[str],
    settled_on: Sequence[date | None],
) -> None:
    """What the ledger says of items: whether those with documents are cleared, and whether one is here that a document
    waits for. Costs one query where there are no documents."""
    has_linked, has_waiting = store.has_documents(session)
    if has_linked:
        store.keep_items_if_newer(session, item_ids, versions, account_ids, settled_on)
    if has_waiting:
        by_key: dict[tuple[str, str], list[str]] = {}
        for item_id, code, number in zip(item_ids, entity_codes, numbers, strict=True):
            by_key.setdefault((code, rules.number_key(number)), []).append(item_id)
        keys = list({key for _, key in by_key if key})
        for document_id, code, key in store.waiting_for(session, keys):
            if hints := by_key.get((code, key)):
                _match_later(session, document_id, hints[:50])


def match_document(job: Any, ledger: Ledger, document_id: str, hints: Sequence[str]) -> None:
    """The job that looks for the item of a document that waits for one. Repeatable."""
    with job.database.transaction() as session:
        row = store.document(session, document_id)
        if row is None or not row.wanted_key:
            return
        code, number, account = row.entity_code, row.wanted_number, row.wanted_account
    facts = _facts_by_number(ledger, code, number, account, hints)
    if not facts:
        return
    with job.database.transaction() as session:
        job.fence(session)
        row = store.document(session, document_id, lock=True)
        if row is not None and row.wanted_key:
            store.lock_content(session, code, row.sha256)
            store.attach(session, [_link(row, fact) for fact in facts])
            row.wanted_key = ""
            _is_invoice(row)
            _look_later(session, document_id)


def look_again(job: Any, ledger: Ledger, document_id: str) -> None:
    """The job that asks the ledger once more about the items of a document. Repeatable."""
    with job.database.transaction() as session:
        item_ids = [row.item_id for row in store.items_of_documents(session, [document_id])[document_id]]
    _refresh(job.database, ledger, item_ids)


def _refresh(database: Database, ledger: Ledger, item_ids: Sequence[str]) -> None:
    facts = []
    for item_id in item_ids:
        try:
            facts.append(_fact(_item(ledger, item_id)))
        except Refused as error:
            if error.code is not Code.NOT_FOUND:
                raise
            log.warning("item %s of a document is not in the ledger", item_id)
    if facts:
        with database.transaction() as session:
            store.keep_items_if_newer(
                session,
                [fact.item_id for fact in facts],
                [fact.version for fact in facts],
                [fact.account_id for fact in facts],
                [fact.settled_on for fact in facts],
            )


# ---- seeing and changing ---------------------------------------------------------------------------------------------


def only_for() -> str | None:
    """The subject of a caller who sees only some documents; None for who works on accounts."""
    caller = context.current_caller()
    return None if caller.can(WORKS_ON) else caller.actor


def find_document(session: Session, document_id: str, lock: bool = False) -> DocumentRow:
    """A document the caller may see. Refuses NOT_FOUND DOCUMENT_UNKNOWN."""
    row = store.document(session, document_id, lock)
    subject = only_for()
    if (
        row is None
        or not context.current_caller().sees_entity(row.entity_code)
        or (subject is not None and not row.for_colleagues and row.created_by_subject != subject)
    ):
        raise _no_document()
    return row


def _no_document() -> Refused:
    return Refused(Code.NOT_FOUND, "DOCUMENT_UNKNOWN", "there is no such document")


def update_document(
    session: Session,
    document_id: str,
    description: str | None,
    for_colleagues: bool | None,
    for_customer: bool | None,
) -> DocumentRow:
    """Changes what is not None. Refuses NOT_FOUND DOCUMENT_UNKNOWN."""
    row = find_document(session, document_id, lock=True)
    if description is not None:
        row.description = description.strip()
    if for_colleagues is not None:
        row.for_colleagues = for_colleagues
    if for_customer is not None:
        row.for_customer = for_customer
    session.flush()
    return row


def match_by_hand(database: Database, ledger: Ledger, document_id: str, item_ids: Sequence[str]) -> DocumentRow:
    """Says to which items a document belongs, whatever it belonged to before.

    Refuses: NOT_FOUND DOCUMENT_UNKNOWN, ITEM_UNKNOWN; INVALID_ARGUMENT ITEM_OF_OTHER_ENTITY; ALREADY_EXISTS
    DOCUMENT_IS_THERE when every item has this content by another document.
    """
    with database.transaction() as session:
        entity_code = find_document(session, document_id).entity_code
    facts = [_fact(_item(ledger, item_id)) for item_id in dict.fromkeys(item_ids)]
    _check_one_entity(facts, entity_code)
    with database.transaction() as session:
        row = find_document(session, document_id, lock=True)
        store.lock_content(session, row.entity_code, row.sha256)
        store.detach(session, document_id, but=[fact.item_id for fact in facts])
        store.attach(session, [_link(row, fact) for fact in facts])
        if not store.items_of_documents(session, [document_id])[document_id]:
            raise Refused(Code.ALREADY_EXISTS, "DOCUMENT_IS_THERE", "these items have this document already")
        if row.wanted_key and {rules.number_key(fact.number) for fact in facts} == {row.wanted_key}:
            # Its name is the number; only which account was meant had to be said.
            _is_invoice(row)
        row.wanted_key = ""
        _look_later(session, document_id)
        session.flush()
        session.refresh(row)
        session.expunge(row)
    return row


def document_url(
    session: Session, settings: Any, document_id: str, customer_item_ids: Sequence[str] = ()
) -> tuple[str, datetime]:
    """A token by which the file can be fetched for a while, and until when.

    customer_item_ids: the items a customer is shown; the document must be for him and of one of them.
    Refuses: NOT_FOUND DOCUMENT_UNKNOWN; FAILED_PRECONDITION DOCUMENT_NOT_SCANNED, DOCUMENT_INFECTED.
    """
    row = find_document(session, document_id)
    if customer_item_ids:
        its_own = {item.item_id for item in store.items_of_documents(session, [document_id])[document_id]}
        if not row.for_customer or its_own.isdisjoint(customer_item_ids):
            raise _no_document()
    if row.state == QUARANTINED:
        raise Refused(Code.FAILED_PRECONDITION, "DOCUMENT_NOT_SCANNED", state_text(row))
    if row.state == INFECTED:
        raise Refused(Code.FAILED_PRECONDITION, "DOCUMENT_INFECTED", state_text(row))
    expires_at = clock.utc_now() + timedelta(seconds=settings.document_url_s)
    return files.sign(settings, file_key(document_id), settings.document_url_s, row.file_name), expires_at


def state_text(row: DocumentRow) -> str:
    """Why a document cannot be fetched, in English; empty when it can."""
    if row.state == INFECTED:
        return f"the virus scan found {row.scan_text}; the file was deleted"
    if row.state == QUARANTINED:
        return row.scan_text or "the virus scan has not ended yet"
    return ""


# ---- scanning --------------------------------------------------------------------------------------------------------


def scan_document(job: Any, document_id: str) -> None:
    """The job that has a document scanned. Repeatable; while the scanner is away it waits, and the document with it."""
    settings = job.settings
    with job.database.transaction() as session:
        row = store.document(session, document_id)
        if row is None or row.state != QUARANTINED:
            return
        size = row.size_bytes
    verdict = scanner.Verdict(True)
    if settings.document_scan_url:
        try:
            with files.store(settings).get(file_key(document_id)) as file:
                verdict = scanner.scan(settings.document_scan_url, file, size, settings.document_scan_timeout_s)
        except Refused as error:
            if error.reason == "SCANNER_UNAVAILABLE":
                with job.database.transaction() as session:
                    row = store.document(session, document_id, lock=True)
                    if row is not None and row.state == QUARANTINED:
                        row.scan_text = "the virus scanner cannot be asked now; it is asked again"
            raise
    with job.database.transaction() as session:
        job.fence(session)
        row = store.document(session, document_id, lock=True)
        if row is None or row.state != QUARANTINED:
            return
        row.state = READY if verdict.is_clean else INFECTED
        row.scan_text = verdict.found
        row.scanned_at = clock.utc_now()
        if not verdict.is_clean:
            log.warning("document %s carries %s", document_id, verdict.found)
            _remove_file_later(session, document_id)


def scan_waiting(job: Any) -> None:
    """The schedule that asks again for scans that did not end."""
    slot = f"{clock.utc_now():%Y%m%d%H}"
    with job.database.transaction() as session:
        job.fence(session)
        for document_id in store.quarantined(session):
            enqueue(session, "import.document_scan", {"document_id": document_id}, f"{document_id}:{slot}")


# ---- deleting --------------------------------------------------------------------------------------------------------


def delete_document(session: Session, document_id: str) -> None:
    """Removes a document by a person's wish; again changes nothing. Refuses NOT_FOUND DOCUMENT_UNKNOWN."""
    if store.document(session, document_id, lock=True) is None:
        gone = store.was_deleted(session, document_id)
        if gone is None or not context.current_caller().sees_entity(gone.entity_code):
            raise _no_document()
        return
    _delete(session, find_document(session, document_id), "PERSON")


def _delete(session: Session, row: DocumentRow, cause: str) -> None:
    caller = context.current_caller()
    items: list[DocumentItemRow] = store.items_of_documents(session, [row.document_id])[row.document_id]
    store.remember_deletion(
        session,
        DocumentDeletionRow(
            document_id=row.document_id,
            entity_code=row.entity_code,
            file_name=row.file_name,
            size_bytes=row.size_bytes,
            sha256=row.sha256,
            item_ids=[item.item_id for item in items],
            item_numbers=[item.number for item in items],
            cause=cause,
            deleted_by=caller.name or caller.actor,
            deleted_at=clock.utc_now(),
        ),
    )
    _remove_file_later(session, row.document_id)
    session.delete(row)
    session.flush()


def _remove_file_later(session: Session, document_id: str) -> None:
    enqueue(session, "import.document_file", {"document_id": document_id}, document_id)


def remove_file(job: Any, document_id: str) -> None:
    """The job that removes the bytes of a document that is no more. Repeatable."""
    with job.database.transaction() as session:
        row = store.document(session, document_id)
        is_wanted = row is not None and row.state != INFECTED
    if not is_wanted:
        files.store(job.settings).delete(file_key(document_id))


def delete_kept_long_enough(job: Any, ledger: Ledger) -> None:
    """The schedule that deletes documents whose items were all cleared so many months ago, after asking the ledger once
    more: one that was reopened keeps its documents."""
    today, months = clock.business_today(), job.settings.document_retention_months
    # A few days more than may be due: months have different lengths, the rule itself decides.
    before = rules.months_after(today, -months) + timedelta(days=4)
    after = ""
    while True:
        with job.database.transaction() as session:
            document_ids = store.all_settled_before(session, before, after, RETENTION_PAGE)
            items = store.items_of_documents(session, document_ids)
        for document_id in document_ids:
            if _is_over(items[document_id], months, today):
                _refresh(job.database, ledger, [item.item_id for item in items[document_id]])
                _delete_if_over(job, document_id, months, today)
        if len(document_ids) < RETENTION_PAGE:
            return
        after = document_ids[-1]


def _is_over(items: Sequence[DocumentItemRow], months: int, today: date) -> bool:
    until_on = rules.keep_until([item.settled_on for item in items], months)
    return until_on is not None and until_on <= today


def _delete_if_over(job: Any, document_id: str, months: int, today: date) -> None:
    with job.database.transaction() as session:
        job.fence(session)
        row = store.document(session, document_id, lock=True)
        if row is not None and _is_over(store.items_of_documents(session, [document_id])[document_id], months, today):
            _delete(session, row, "RETENTION")


# ---- archives --------------------------------------------------------------------------------------------------------


def set_url_pattern(
    database: Database, settings: Any, ledger: Ledger, entity_code: str, pattern: str, for_customer: bool
) -> UrlPatternRow | None:
    """Says where an entity's invoices lie; an empty pattern ends it, and gives None.

    Refuses: NOT_FOUND ENTITY_UNKNOWN; INVALID_ARGUMENT PATTERN_WRONG, HOST_NOT_ALLOWED.
    """
    entity_currency(database, ledger, entity_code)
    pattern = rules.check_pattern(pattern, settings.document_hosts) if pattern.strip() else ""
    caller = context.current_caller()
    with database.transaction() as session:
        now = clock.utc_now()
        store.keep_url_pattern(session, entity_code, pattern, for_customer, caller.name or caller.actor, now)
        row = store.url_pattern(session, entity_code)
        if row is not None:
            session.expunge(row)
    return row


def archive_url(settings: Any, ledger: Ledger, pattern: UrlPatternRow, item: item_pb2.Item, account: str = "") -> str:
    """The address of an item's invoice in its entity's archive; empty when it has none there.

    account: the number of its account, where it is known. Only what may be an invoice has one.
    """
    if item.kind not in (item_pb2.ITEM_KIND_INVOICE, item_pb2.ITEM_KIND_CREDIT_NOTE):
        return ""
    try:
        # A host that is no longer allowed is no longer linked to.
        rules.check_pattern(pattern.pattern, settings.document_hosts)
    except Refused:
        return ""
    if "{account_number}" in pattern.pattern and not account:
        account = _account_number(ledger, item.account_id)
    values = {
        "number": item.number,
        "account_number": account,
        "order_number": item.order_number,
        "reference": item.reference,
        "issue_on": item.issue_on,
        "entity_code": item.entity_code,
    }
    values |= {f"{rules.CUSTOM}{name}": text for name, text in item.custom_fields.items()}
    return rules.url_of(pattern.pattern, values)


def visible_item(ledger: Ledger, item_id: str) -> item_pb2.Item:
    """An item the caller may see. Refuses NOT_FOUND ITEM_UNKNOWN."""
    return _item(ledger, item_id)


def customer_archive_urls(
    database: Database, settings: Any, ledger: Ledger, account_id: str, entity_code: str, item_ids: Sequence[str]
) -> list[tuple[item_pb2.Item, str]]:
    """The addresses in the archive that a customer may see, for these items of his account."""
    with database.transaction() as session:
        pattern = store.url_pattern(session, entity_code)
        if pattern is not None:
            session.expunge(pattern)
    if pattern is None or not pattern.for_customer or not item_ids:
        return []
    request = ledger_pb.LookAgainRequest(account_id=account_id, item_ids=item_ids)
    found = _stub(ledger).LookAgain(request, timeout=LEDGER_TIMEOUT_S)
    own = {
        item.item_id: found.account.number if item.account_id == found.account.account_id else ""
        for item in found.items
    }
    made = [(item, archive_url(settings, ledger, pattern, item, own[item.item_id])) for item in found.items]
    return [(item, url) for item, url in made if url]
