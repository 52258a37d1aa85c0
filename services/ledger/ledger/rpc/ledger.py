"""LedgerService: entities, accounts, contacts, items and holds."""

from sqlalchemy.orm import Session

from kit.clock import business_today
from kit.db import Database
from kit.errors import Code, Refused
from kit.idempotency import once
from ledger import usecases
from ledger.rpc.translate import (
    account_of,
    account_to_proto,
    change_to_proto,
    contact_choices,
    contact_to_proto,
    entity_to_proto,
    hold_to_proto,
    items_of,
    money,
    page_of,
    read_day,
    source_of,
)
from ledger.store import groups, merging, queries
from quittance.ledger.v1 import account_pb2, item_pb2
from quittance.ledger.v1 import ledger_service_pb2 as pb
from quittance.ledger.v1 import ledger_service_pb2_grpc as pb_grpc

LOOK_AGAIN_MAX_ITEMS = 2000


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
            rows, token, total = queries.list_entities(session, page_of(request))
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
            rows, token, total = queries.list_accounts(
                session, page_of(request), request.query, today, groups.conditions(session, request.filter)
            )
            balances = queries.balances(session, [row[0].account_id for row in rows], today)
        return pb.ListAccountsResponse(
            accounts=[account_to_proto(row, balances.get(row[0].account_id, ())) for row in rows],
            next_page_token=token,
            total_size=total,
        )

    def GetAccount(self, request, context):
        """One account with its contacts."""
        with self._database.transaction() as session:
            account, _ = account_of(session, request.account_id, business_today())
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
                remove_groups=list(request.remove_groups),
                pinned_comment=request.pinned_comment if request.HasField("pinned_comment") else None,
            )
            account, _ = account_of(session, merging.surviving(session, request.account_id), today)
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
                language=request.language,
                **{
                    "role": account_pb2.ContactRole.Name(role).removeprefix("CONTACT_ROLE_"),
                    **contact_choices(request),
                    **({"item_ids": list(request.item_ids)} if request.item_ids else {}),
                },
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
        """Items with their sums per currency. Refuses: NOT_FOUND ACCOUNT_UNKNOWN."""
        today = business_today()
        with self._database.transaction() as session:
            page = queries.list_items(session, request.account_id, page_of(request), today)
            # Nothing found may mean that there is no such account (in this tenant, within this caller's scope).
            if request.account_id and not page.total_size and queries.account(session, request.account_id) is None:
                raise Refused(
                    Code.NOT_FOUND, "ACCOUNT_UNKNOWN", "there is no such account", account_id=request.account_id
                )
            items = items_of(session, page.rows, today)
        return pb.ListItemsResponse(
            items=items,
            next_page_token=page.next_page_token,
            total_size=page.total_size,
            totals=[
                pb.ItemTotal(
                    currency=total.currency,
                    item_count=total.item_count,
                    open=money(total.currency, total.open_minor),
                    collectable=money(total.currency, total.collectable_minor),
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
                item=items_of(session, [row], today)[0],
                changes=[change_to_proto(change, currency) for change in queries.changes(session, request.item_id)],
                holds=[hold_to_proto(h, currency, today) for h in queries.holds_of_item(session, request.item_id)],
            )

    def LookAgain(self, request, context):
        """What is true of an account this moment, read in one snapshot."""
        today = business_today()
        with self._database.transaction(isolation="REPEATABLE READ") as session:
            # What was asked of an account before it was merged is true of the one it is now.
            account_id = merging.surviving(session, request.account_id)
            account, entity = account_of(session, account_id, today)
            rows = queries.items_of_account(
                session,
                [account_id, *account.grouped_account_ids],
                list(request.item_ids),
                today,
                LOOK_AGAIN_MAX_ITEMS,
            )
            return pb.LookAgainResponse(
                account=account, entity=entity_to_proto(entity), items=items_of(session, rows, today)
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
                from_on=read_day(order.from_on),
                until_on=read_day(order.until_on),
                review_on=read_day(order.review_on),
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
                        [source_of(end) for end in request.ends],
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
                        [source_of(source) for source in request.sources],
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
            rows, token, total = queries.list_holds(session, page_of(request), today)
        return pb.ListHoldsResponse(
            holds=[hold_to_proto(hold, currency, today) for hold, currency in rows],
            next_page_token=token,
            total_size=total,
        )
