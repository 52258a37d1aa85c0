"""HistoryService: balances and items on both time axes."""

from collections.abc import Sequence
from datetime import date, datetime

from sqlalchemy import Row

from kit.clock import business_today
from kit.db import Database
from kit.errors import Code, Refused
from ledger.rpc.translate import iso_day, money, read_day
from ledger.store import history, queries
from quittance.ledger.v1 import history_service_pb2 as pb
from quittance.ledger.v1 import history_service_pb2_grpc as pb_grpc
from quittance.ledger.v1 import item_pb2

ITEMS_MAX = 2000


class HistoryRpc(pb_grpc.HistoryServiceServicer):
    """HistoryService."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def GetAccountAsOf(self, request, context):
        """An account at a past time, read in one snapshot."""
        as_of, known_at = _times(request)
        with self._database.transaction(isolation="REPEATABLE READ") as session:
            if queries.account(session, request.account_id) is None:
                raise Refused(
                    Code.NOT_FOUND, "ACCOUNT_UNKNOWN", "there is no such account", account_id=request.account_id
                )
            balances = history.account_balances(session, request.account_id, as_of, known_at)
            items = history.account_items(session, request.account_id, as_of, known_at, ITEMS_MAX)
        reply = pb.GetAccountAsOfResponse(
            as_of=as_of.isoformat(),
            balances=_balances(balances),
            items=[
                pb.ItemAsOf(
                    item_id=str(item.item_id),
                    number=item.number,
                    kind=item_pb2.ItemKind.Value(f"ITEM_KIND_{item.kind}"),
                    issue_on=iso_day(item.issue_on),
                    due_on=iso_day(item.due_on),
                    open=money(item.currency, item.open_minor),
                )
                for item in items
            ],
        )
        if known_at is not None:
            reply.known_at.FromDatetime(known_at)
        return reply

    def GetEntityAsOf(self, request, context):
        """An entity at a past time."""
        as_of, known_at = _times(request)
        with self._database.transaction() as session:
            entity = queries.entity(session, request.entity)
            if entity is None:
                raise Refused(Code.NOT_FOUND, "ENTITY_UNKNOWN", "there is no such entity", entity=request.entity)
            balances, accounts = history.entity_balances(session, entity.entity_id, as_of, known_at)
        reply = pb.GetEntityAsOfResponse(as_of=as_of.isoformat(), balances=_balances(balances), account_count=accounts)
        if known_at is not None:
            reply.known_at.FromDatetime(known_at)
        return reply


def _times(request: pb.GetAccountAsOfRequest | pb.GetEntityAsOfRequest) -> tuple[date, datetime | None]:
    as_of = read_day(request.as_of) or business_today()
    if not request.known_at:
        return as_of, None
    try:
        known_at = datetime.fromisoformat(request.known_at)
    except ValueError:
        known_at = None
    if known_at is None or known_at.tzinfo is None:
        raise Refused(
            Code.INVALID_ARGUMENT, "INVALID_FIELDS", "no instant", {"known_at": "an instant with its zone is needed"}
        )
    return as_of, known_at


def _balances(rows: Sequence[Row]) -> list[pb.BalanceAsOf]:
    return [
        pb.BalanceAsOf(
            currency=row.currency,
            open=money(row.currency, row.open_minor),
            credits=money(row.currency, row.credits_minor),
            item_count=row.item_count,
        )
        for row in rows
    ]
