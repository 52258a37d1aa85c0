"""The ledger's two services: translates between messages and use cases, nothing else."""

import json
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

from sqlalchemy import Row
from sqlalchemy.orm import Session

from kit.clock import business_today
from kit.context import current_tenant
from kit.db import Database
from kit.errors import Code, Refused
from kit.idempotency import once
from kit.outbox import position
from ledger import usecases
from ledger.store import queries
from ledger.store.tables import ContactRow, EntityRow, HoldRow, ItemChangeRow, LoadChunkRow
from quittance.common.v1 import money_pb2
from quittance.ledger.v1 import account_pb2, item_pb2
from quittance.ledger.v1 import ledger_load_service_pb2 as load_pb
from quittance.ledger.v1 import ledger_load_service_pb2_grpc as load_grpc
from quittance.ledger.v1 import ledger_service_pb2 as pb
from quittance.ledger.v1 import ledger_service_pb2_grpc as pb_grpc

LOOK_AGAIN_MAX_ITEMS = 2000


def _money(currency: str, minor_units: Any) -> money_pb2.Money:
    return money_pb2.Money(currency=currency, minor_units=int(minor_units))


def _day(day: date | None) -> str:
    return "" if day is None else day.isoformat()


def _read_day(text: str) -> date | None:
    return date.fromisoformat(text) if text else None


def _fields(values: dict[str, Any]) -> dict[str, str]:
    """Custom fields as texts; what a source gave as a number or list is written as JSON writes it."""
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}


def entity_to_proto(row: EntityRow) -> account_pb2.Entity:
    """An entity as the contract has it."""
    return account_pb2.Entity(
        entity_id=row.entity_id,
        code=row.code,
        name=row.name,
        country=row.country,
        currency=row.currency,
        time_zone=row.time_zone,
        language=row.language,
        version=row.version,
    )


def contact_to_proto(row: ContactRow) -> account_pb2.Contact:
    """A contact as the contract has it."""
    return account_pb2.Contact(
        contact_id=row.contact_id,
        account_id=row.account_id,
        name=row.name,
        email=row.email,
        phone=row.phone,
        role=account_pb2.ContactRole.Value(f"CONTACT_ROLE_{row.role}"),
        language=row.language,
        valid=row.valid,
        invalid_reason=row.invalid_reason,
    )


def account_to_proto(row: Row, balances: Sequence[Row], contacts: Sequence[ContactRow] = ()) -> account_pb2.Account:
    """An account as the contract has it, from rows of queries.account and queries.balances."""
    account, entity, unit = row
    message = account_pb2.Account(
        account_id=account.account_id,
        entity_id=account.entity_id,
        entity_code=entity.code,
        number=account.number,
        name=account.name,
        aliases=account.aliases,
        country=account.country,
        language=account.language,
        payment_terms=account.payment_terms,
        legal_unit_id=account.legal_unit_id,
        legal_unit_name=unit.name,
        registration_number=unit.registration_number,
        parent_number=account.parent_number,
        groups=account.groups,
        collector=account.collector,
        custom_fields=_fields(account.custom_fields),
        oldest_due_on=_day(account.oldest_due_on),
        contacts=[contact_to_proto(contact) for contact in contacts],
        version=account.version,
    )
    message.changed_at.FromDatetime(account.changed_at)
    for balance in balances:
        message.balances.add(
            currency=balance.currency,
            open=_money(balance.currency, balance.open_minor),
            overdue=_money(balance.currency, balance.overdue_minor),
            credits=_money(balance.currency, balance.credits_minor),
            held=_money(balance.currency, balance.held_minor),
            collectable_overdue=_money(balance.currency, balance.collectable_overdue_minor),
            item_count=balance.item_count,
        )
    return message


def hold_to_proto(row: HoldRow, currency: str, today: date) -> item_pb2.Hold:
    """A hold as the contract has it; one whose last day is past is over, even before the sweep has written it down."""
    state = "EXPIRED" if row.state == "ACTIVE" and row.until_on is not None and row.until_on < today else row.state
    return item_pb2.Hold(
        hold_id=row.hold_id,
        item_id=row.item_id,
        account_id=row.account_id,
        kind=item_pb2.HoldKind.Value(f"HOLD_KIND_{row.kind}"),
        state=item_pb2.HoldState.Value(f"HOLD_STATE_{state}"),
        amount=_money(currency, row.amount_minor),
        from_on=_day(row.from_on),
        until_on=_day(row.until_on),
        review_on=_day(row.review_on),
        reason=row.reason,
        source=row.source,
        source_id=row.source_id,
    )


def item_to_proto(row: Row, holds: Sequence[HoldRow], today: date) -> item_pb2.Item:
    """An item as the contract has it, from a row of queries.ItemPage and its holds in force."""
    item, held_minor, account_name, entity_code = row
    collectable_minor = max(item.open_minor, 0) - int(held_minor)
    return item_pb2.Item(
        item_id=item.item_id,
        account_id=item.account_id,
        entity_code=entity_code,
        number=item.number,
        kind=item_pb2.ItemKind.Value(f"ITEM_KIND_{item.kind}"),
        state=item_pb2.ITEM_STATE_OPEN if item.open_minor else item_pb2.ITEM_STATE_CLEARED,
        issue_on=_day(item.issue_on),
        due_on=_day(item.due_on),
        initial=_money(item.currency, item.initial_minor),
        open=_money(item.currency, item.open_minor),
        held=_money(item.currency, held_minor),
        collectable=_money(item.currency, collectable_minor),
        days_late=(today - item.due_on).days if item.due_on else 0,
        holds=[hold_to_proto(hold, item.currency, today) for hold in holds],
        order_number=item.order_number,
        reference=item.reference,
        text=item.text,
        settled_on=_day(item.settled_on),
        custom_fields=_fields(item.custom_fields),
        version=item.version,
        account_name=account_name,
    )


def change_to_proto(row: ItemChangeRow, currency: str) -> item_pb2.ItemChange:
    """An entry of an item's history as the contract has it."""
    message = item_pb2.ItemChange(
        sequence=row.sequence,
        cause=item_pb2.ChangeCause.Value(f"CHANGE_CAUSE_{row.cause}"),
        delta=_money(currency, row.delta_minor),
        value_on=_day(row.value_on),
        import_id=row.import_id or "",
    )
    message.recorded_at.FromDatetime(row.recorded_at)
    return message


def progress_to_proto(row: LoadChunkRow) -> load_pb.LoadProgress:
    """What a chunk did, as the contract has it."""
    return load_pb.LoadProgress(
        chunk_number=row.chunk_number,
        counts=load_pb.RowCounts(
            created=row.created,
            updated=row.updated,
            unchanged=row.unchanged,
            cleared=row.cleared,
            rejected=row.rejected,
        ),
        rejects=[load_pb.RowReject(**reject) for reject in row.rejects],
    )


def _page(request: Any) -> queries.Page:
    return queries.Page(request.page_size, request.page_token, request.filter, request.order_by)


def _items(session: Session, rows: Sequence[Row], today: date) -> list[item_pb2.Item]:
    in_force = queries.holds_in_force(session, [row[0].item_id for row in rows], today)
    return [item_to_proto(row, in_force.get(row[0].item_id, ()), today) for row in rows]


def _source(message: pb.HoldSource) -> usecases.HoldSource:
    return usecases.HoldSource(message.source, message.source_id, tuple(message.item_ids))


class LedgerRpc(pb_grpc.LedgerServiceServicer):
    """LedgerService."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def CreateEntity(self, request, context):
        """Opens an entity."""
        reply = pb.CreateEntityResponse()
        with self._database.transaction() as session, once(session, request.request_id, request, reply) as first:
            if first:
                row = usecases.create_entity(
                    session,
                    code=request.code,
                    name=request.name,
                    country=request.country,
                    currency=request.currency,
                    time_zone=request.time_zone,
                    language=request.language,
                )
                reply.entity_id, reply.code = row.entity_id, row.code
                reply.entity.CopyFrom(entity_to_proto(row))
        return reply

    def ListEntities(self, request, context):
        """Entities the caller may see."""
        with self._database.transaction() as session:
            rows, token, total = queries.list_entities(session, _page(request))
        return pb.ListEntitiesResponse(
            entities=[entity_to_proto(row) for row in rows], next_page_token=token, total_size=total
        )

    def GetEntity(self, request, context):
        """One entity by id or code."""
        with self._database.transaction() as session:
            row = queries.entity(session, request.entity)
        if row is None:
            raise Refused(Code.NOT_FOUND, "ENTITY_UNKNOWN", "there is no such entity", entity=request.entity)
        return pb.GetEntityResponse(entity=entity_to_proto(row))

    def ListAccounts(self, request, context):
        """Accounts with their balances."""
        today = business_today()
        with self._database.transaction() as session:
            rows, token, total = queries.list_accounts(session, _page(request), request.query, today)
            balances = queries.balances(session, [row[0].account_id for row in rows], today)
        return pb.ListAccountsResponse(
            accounts=[account_to_proto(row, balances.get(row[0].account_id, ())) for row in rows],
            next_page_token=token,
            total_size=total,
        )

    def _account(self, session: Session, account_id: str, today: date) -> tuple[account_pb2.Account, EntityRow]:
        row = queries.account(session, account_id)
        if row is None:
            raise Refused(Code.NOT_FOUND, "ACCOUNT_UNKNOWN", "there is no such account", account_id=account_id)
        balances = queries.balances(session, [account_id], today).get(row[0].account_id, ())
        return account_to_proto(row, balances, queries.contacts(session, account_id)), row[1]

    def GetAccount(self, request, context):
        """One account with its contacts."""
        with self._database.transaction() as session:
            account, _ = self._account(session, request.account_id, business_today())
        return pb.GetAccountResponse(account=account)

    def UpdateAccount(self, request, context):
        """Changes what people keep on an account."""
        today = business_today()
        with self._database.transaction() as session:
            usecases.update_account(
                session,
                request.account_id,
                today,
                collector=request.collector if request.HasField("collector") else None,
                language=request.language if request.HasField("language") else None,
                groups=list(request.groups),
                custom_fields=dict(request.custom_fields),
            )
            account, _ = self._account(session, request.account_id, today)
        return pb.UpdateAccountResponse(account=account)

    def CreateContact(self, request, context):
        """Adds or changes a contact."""
        role = request.role or account_pb2.CONTACT_ROLE_ACCOUNTS_PAYABLE
        with self._database.transaction() as session:
            contact_id = usecases.create_contact(
                session,
                request.account_id,
                business_today(),
                name=request.name.strip(),
                email=request.email.strip(),
                phone=request.phone.strip(),
                role=account_pb2.ContactRole.Name(role).removeprefix("CONTACT_ROLE_"),
                language=request.language,
            )
            row = queries.contact(session, contact_id)
            assert row is not None, "it was written just now"
            return pb.CreateContactResponse(contact=contact_to_proto(row[0]))

    def MarkContact(self, request, context):
        """Says whether a contact can be reached."""
        with self._database.transaction() as session:
            row = usecases.mark_contact(
                session, request.contact_id, business_today(), valid=request.valid, reason=request.reason
            )
            return pb.MarkContactResponse(contact=contact_to_proto(row))

    def ListItems(self, request, context):
        """Items with their sums per currency."""
        today = business_today()
        with self._database.transaction() as session:
            page = queries.list_items(session, request.account_id, _page(request), today)
            items = _items(session, page.rows, today)
        return pb.ListItemsResponse(
            items=items,
            next_page_token=page.next_page_token,
            total_size=page.total_size,
            totals=[
                pb.ItemTotal(
                    currency=total.currency,
                    item_count=total.item_count,
                    open=_money(total.currency, total.open_minor),
                    collectable=_money(total.currency, total.collectable_minor),
                )
                for total in page.totals
            ],
        )

    def GetItem(self, request, context):
        """One item with its history and all its holds."""
        today = business_today()
        with self._database.transaction() as session:
            row = queries.item(session, request.item_id, today)
            if row is None:
                raise Refused(Code.NOT_FOUND, "ITEM_UNKNOWN", "there is no such item", item_id=request.item_id)
            currency = row[0].currency
            return pb.GetItemResponse(
                item=_items(session, [row], today)[0],
                changes=[change_to_proto(change, currency) for change in queries.changes(session, request.item_id)],
                holds=[hold_to_proto(h, currency, today) for h in queries.holds_of_item(session, request.item_id)],
            )

    def LookAgain(self, request, context):
        """What is true of an account this moment, read in one snapshot."""
        today = business_today()
        with self._database.transaction(isolation="REPEATABLE READ") as session:
            account, entity = self._account(session, request.account_id, today)
            rows = queries.items_of_account(
                session, request.account_id, list(request.item_ids), today, LOOK_AGAIN_MAX_ITEMS
            )
            return pb.LookAgainResponse(
                account=account, entity=entity_to_proto(entity), items=_items(session, rows, today)
            )

    def PlaceHolds(self, request, context):
        """Places holds and ends others, all or none."""
        today = business_today()
        orders = [
            usecases.HoldOrder(
                item_id=order.item_id.lower(),
                kind=item_pb2.HoldKind.Name(order.kind).removeprefix("HOLD_KIND_"),
                currency=order.amount.currency,
                amount_minor=order.amount.minor_units if order.HasField("amount") else None,
                from_on=_read_day(order.from_on),
                until_on=_read_day(order.until_on),
                review_on=_read_day(order.review_on),
                reason=order.reason,
            )
            for order in request.holds
        ]

        def work(session: Session) -> pb.PlaceHoldsResponse:
            reply = pb.PlaceHoldsResponse()
            with once(session, request.request_id, request, reply) as first:
                if first:
                    placed, reply.account_version = usecases.place_holds(
                        session,
                        request.account_id,
                        request.source,
                        request.source_id,
                        orders,
                        [_source(end) for end in request.ends],
                        today,
                    )
                    reply.holds.extend(hold_to_proto(hold, currency, today) for hold, currency in placed)
            return reply

        return self._database.retrying(work)

    def ReleaseHolds(self, request, context):
        """Ends holds by id or by source."""
        today = business_today()

        def work(session: Session) -> pb.ReleaseHoldsResponse:
            reply = pb.ReleaseHoldsResponse()
            with once(session, request.request_id, request, reply) as first:
                if first:
                    ended = usecases.release_holds(
                        session,
                        list(request.hold_ids),
                        [_source(source) for source in request.sources],
                        request.reason,
                        today,
                    )
                    for hold, currency in ended:
                        session.refresh(hold)
                        reply.holds.append(hold_to_proto(hold, currency, today))
            return reply

        return self._database.retrying(work)

    def ListHolds(self, request, context):
        """Holds."""
        today = business_today()
        with self._database.transaction() as session:
            rows, token, total = queries.list_holds(session, _page(request), today)
        return pb.ListHoldsResponse(
            holds=[hold_to_proto(hold, currency, today) for hold, currency in rows],
            next_page_token=token,
            total_size=total,
        )


class LoadRpc(load_grpc.LoadServiceServicer):
    """LoadService."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def LoadItems(self, request_iterator, context):
        """Merges items chunk by chunk."""
        for progress in self._load("ITEMS", request_iterator):
            yield load_pb.LoadItemsResponse(progress=progress)

    def LoadAccounts(self, request_iterator, context):
        """Merges accounts chunk by chunk."""
        for progress in self._load("ACCOUNTS", request_iterator):
            yield load_pb.LoadAccountsResponse(progress=progress)

    def LoadContacts(self, request_iterator, context):
        """Merges contacts chunk by chunk."""
        for progress in self._load("CONTACTS", request_iterator):
            yield load_pb.LoadContactsResponse(progress=progress)

    def _load(self, load_object: str, requests: Iterator[Any]) -> Iterator[load_pb.LoadProgress]:
        today = business_today()
        first = next(requests, None)
        if first is None or not first.HasField("header"):
            raise Refused(Code.INVALID_ARGUMENT, "LOAD_SCHEMA", "the first message is the header")
        header = usecases.LoadHeader(
            load_id=first.header.load_id,
            entity_code=first.header.entity_code,
            mode="STOCK" if first.header.mode == load_pb.LOAD_MODE_STOCK else "DELTA",
            source_system=first.header.source_system,
            file_on=_read_day(first.header.file_on),
            plan_only=first.header.plan_only,
        )
        # A file without rows is a load too: its end decides what its emptiness means.
        self._database.retrying(lambda session: usecases.open_load(session, header, today))
        for request in requests:
            if not request.HasField("chunk"):
                raise Refused(Code.INVALID_ARGUMENT, "LOAD_SCHEMA", "every message after the first is a chunk")
            yield progress_to_proto(self._chunk(header, load_object, request.chunk, today))

    def _chunk(self, header: usecases.LoadHeader, load_object: str, chunk: Any, today: date) -> LoadChunkRow:
        return self._database.retrying(
            lambda session: usecases.load_chunk(session, header, load_object, chunk.chunk_number, chunk.rows, today)
        )

    def GetLoad(self, request, context):
        """How far a load is."""
        with self._database.transaction() as session:
            row, chunks = usecases.load_progress(session, request.load_id)
        reply = load_pb.GetLoadResponse(
            chunks=[progress_to_proto(chunk) for chunk in chunks], finished=row.finished_at is not None
        )
        reply.changed_at.FromDatetime(row.changed_at)
        return reply

    def FinishLoad(self, request, context):
        """Ends a load and says how far a reader must be to have seen all of it."""
        end = self._database.retrying(
            lambda session: usecases.finish_load(
                session,
                request.load_id,
                confirm_clearing=request.confirm_clearing,
                plan_only=request.plan_only,
                today=business_today(),
            )
        )
        with self._database.transaction() as session:
            number = position(session, current_tenant())
        return load_pb.FinishLoadResponse(cleared_absent=end.cleared_absent, open_items=end.open_items, position=number)
