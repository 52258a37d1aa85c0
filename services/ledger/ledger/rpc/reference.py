"""ReferenceService: sales, orders, exchange rates, statutory rates."""

from decimal import Decimal

from sqlalchemy.orm import Session

from kit.clock import business_today
from kit.db import Database
from kit.idempotency import once
from ledger import usecases
from ledger.rpc.translate import iso_day, money, page_of, read_day
from ledger.store import orders, rates, sales
from quittance.ledger.v1 import reference_service_pb2 as pb
from quittance.ledger.v1 import reference_service_pb2_grpc as pb_grpc


class ReferenceRpc(pb_grpc.ReferenceServiceServicer):
    """ReferenceService."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ListSales(self, request, context):
        """Sales by month, from files or derived."""
        with self._database.transaction() as session:
            rows, token, total = sales.list_sales(session, page_of(request))
        found = []
        for row in rows:
            month = pb.MonthOfSales(
                account_id=str(row.account_id),
                account_number=row.account_number,
                entity_code=row.entity_code,
                month=row.month.isoformat(),
                gross=money(row.currency, row.gross_minor),
                from_file=row.from_file,
            )
            if row.net_minor is not None:
                month.net.CopyFrom(money(row.currency, row.net_minor))
            found.append(month)
        return pb.ListSalesResponse(sales=found, next_page_token=token, total_size=total)

    def ListOrders(self, request, context):
        """Orders not yet invoiced, with their sums per currency."""
        with self._database.transaction() as session:
            rows, token, total, totals = orders.list_orders(session, page_of(request))
        return pb.ListOrdersResponse(
            orders=[
                pb.Order(
                    account_id=row.account_id,
                    account_number=account_number,
                    entity_code=entity_code,
                    number=row.number,
                    ordered_on=row.ordered_on.isoformat(),
                    delivery_on=iso_day(row.delivery_on),
                    amount=money(row.currency, row.amount_minor),
                    delivered=money(row.currency, row.delivered_minor),
                )
                for row, account_number, entity_code in rows
            ],
            next_page_token=token,
            total_size=total,
            totals=[
                pb.OrderTotal(
                    order_count=row.order_count,
                    amount=money(row.currency, row.amount_minor),
                    delivered=money(row.currency, row.delivered_minor),
                )
                for row in totals
            ],
        )

    def ListExchangeRates(self, request, context):
        """Exchange rates."""
        with self._database.transaction() as session:
            rows, token, total = rates.list_exchange_rates(session, page_of(request))
        return pb.ListExchangeRatesResponse(
            rates=[_exchange_rate(row) for row in rows], next_page_token=token, total_size=total
        )

    def SetExchangeRates(self, request, context):
        """Sets rates, all or none."""
        wanted = [
            usecases.RateOrder(
                rate.base, rate.quote, rate.rate, read_day(rate.valid_from) or business_today(), rate.source
            )
            for rate in request.rates
        ]

        def work(session: Session) -> pb.SetExchangeRatesResponse:
            reply = pb.SetExchangeRatesResponse()
            with once(session, request.request_id, request, reply) as first:
                if first:
                    reply.changed = usecases.set_exchange_rates(session, wanted)
            return reply

        return self._database.retrying(work)

    def GetRateOn(self, request, context):
        """The rate in force on a day."""
        day = read_day(request.on) or business_today()
        with self._database.transaction() as session:
            found = usecases.rate_on(session, request.base, request.quote, day)
            rate = _exchange_rate(found.row)
            rate.base, rate.quote, rate.rate = found.base, found.quote, _decimal(found.rate)
        return pb.GetRateOnResponse(rate=rate)

    def ListStatutoryRates(self, request, context):
        """Statutory rates, and the half-years that have none."""
        with self._database.transaction() as session:
            rows, token, total, missing = usecases.list_statutory_rates(session, page_of(request), business_today())
        return pb.ListStatutoryRatesResponse(
            rates=[_statutory_rate(row) for row in rows],
            next_page_token=token,
            total_size=total,
            missing=[pb.MissingRate(series=series, valid_from=day.isoformat()) for series, day in missing],
        )

    def SetStatutoryRate(self, request, context):
        """Sets one rate of a series."""
        day = read_day(request.valid_from)
        assert day is not None, "validation demands it"

        def work(session: Session) -> pb.SetStatutoryRateResponse:
            reply = pb.SetStatutoryRateResponse()
            with once(session, request.request_id, request, reply) as first:
                if first:
                    row = usecases.set_statutory_rate(
                        session,
                        series=request.series,
                        valid_from=day,
                        value=request.value,
                        source=request.source,
                        to_confirm=request.to_confirm,
                    )
                    reply.rate.CopyFrom(_statutory_rate(row))
            return reply

        return self._database.retrying(work)


def _decimal(value: Decimal) -> str:
    return f"{value.normalize():f}"


def _exchange_rate(row: rates.ExchangeRateRow) -> pb.ExchangeRate:
    message = pb.ExchangeRate(
        base=row.base,
        quote=row.quote,
        rate=_decimal(row.rate),
        valid_from=row.valid_from.isoformat(),
        source=row.source,
        actor=row.actor,
    )
    message.recorded_at.FromDatetime(row.recorded_at)
    return message


def _statutory_rate(row: rates.StatutoryRateRow) -> pb.StatutoryRate:
    message = pb.StatutoryRate(
        series=row.series,
        valid_from=row.valid_from.isoformat(),
        value=_decimal(row.value),
        source=row.source,
        to_confirm=row.to_confirm,
        edited=row.edited,
        actor=row.actor,
    )
    message.recorded_at.FromDatetime(row.recorded_at)
    return message
