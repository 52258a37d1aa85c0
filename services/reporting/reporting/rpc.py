"""Translates between the contract and the use cases."""

from collections.abc import Iterable
from datetime import date

from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy.orm import Session

from kit import listing
from kit.bus import wait_until_all_seen
from kit.clock import business_today
from kit.context import current_caller
from kit.db import Database
from quittance.common.v1.money_pb2 import Money
from quittance.reporting.v1 import reporting_service_pb2 as pb
from quittance.reporting.v1.reporting_service_pb2_grpc import ReportingServiceServicer
from reporting import domain, store, usecases
from reporting.config import Settings
from reporting.texts import say

ACTIVITY_DEFAULT = 50
SEARCH_DEFAULT = 8
_WORK_PRODUCERS = ("scenario", "portal", "dispute", "credit-risk", "notification")
_COUNT_BACK_TEXT = (
    "Months of gross sales are set against the receivables from {as_of} backwards; each used month counts its calendar"
    " days, the last one the part that was needed."
)
_SIMPLE_TEXT = "Receivables times 90 days, divided by the gross sales of the 90 days up to {as_of}."


class ReportingRpc(ReportingServiceServicer):
    """The figures. Each call waits a bounded time for what was true when it was asked."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database

    def _is_fresh(self, *producers: str) -> bool:
        seen = wait_until_all_seen(self._database, producers, timeout_s=self._settings.freshness_timeout_s)
        return all(seen.values())

    def GetAging(self, request: pb.GetAgingRequest, context: object) -> pb.GetAgingResponse:
        is_fresh = self._is_fresh("ledger")
        as_of = _day(request.as_of)
        with self._database.transaction() as session:
            scope = usecases.scope_for(session, request.entity, request.account_id)
            totals = usecases.aging(session, as_of, scope)
            return pb.GetAgingResponse(
                as_of=as_of.isoformat(),
                totals=[aging_to_proto(total) for total in totals],
                freshness=_freshness(session, as_of, is_fresh),
            )

    def GetDso(self, request: pb.GetDsoRequest, context: object) -> pb.GetDsoResponse:
        is_fresh = self._is_fresh("ledger")
        as_of = _day(request.as_of)
        method = request.method or pb.DSO_METHOD_COUNT_BACK
        with self._database.transaction() as session:
            scope = usecases.scope_for(session, request.entity)
            agings = usecases.aging(session, as_of, scope)
            values = usecases.dso(session, as_of, scope, agings, simple=method == pb.DSO_METHOD_SIMPLE)
            is_simple = method == pb.DSO_METHOD_SIMPLE
            text = say((_SIMPLE_TEXT if is_simple else _COUNT_BACK_TEXT).format(as_of=as_of))
            said = {} if is_simple else usecases.months_from_files(session, as_of, scope)
            return pb.GetDsoResponse(
                as_of=as_of.isoformat(),
                method=method,
                values=[
                    dso_to_proto(code, value, text + _files_text(value, said.get(code, set())))
                    for code, value in values.items()
                ],
                freshness=_freshness(session, as_of, is_fresh),
            )

    def GetDashboard(self, request: pb.GetDashboardRequest, context: object) -> pb.GetDashboardResponse:
        is_fresh = self._is_fresh("ledger", *_WORK_PRODUCERS)
        as_of = _day(request.as_of)
        with self._database.transaction() as session:
            found = usecases.dashboard(session, as_of, usecases.scope_for(session, request.entity))
            counts = found.counts
            return pb.GetDashboardResponse(
                as_of=as_of.isoformat(),
                currencies=[_currency_to_proto(figures, as_of) for figures in found.currencies],
                actions_due=counts["actions_due"],
                actions_late=counts["actions_late"],
                answers_waiting=counts["answers_waiting"],
                promises_due=counts["promises_due"],
                cases_open=counts["cases_open"],
                cases_overdue=counts["cases_overdue"],
                over_limit_count=counts["over_limit"],
                account_count=found.account_count,
                series=[
                    pb.DashboardMonth(
                        month=domain.month_of(day),
                        currency=figures.aging.currency,
                        buckets=aging_to_proto(figures.aging).buckets,
                        dso_days=figures.dso.days,
                        overdue_percent=domain.percent(figures.aging.overdue_minor, figures.aging.debit_minor),
                    )
                    for day, figures in found.series
                ],
                freshness=_freshness(session, as_of, is_fresh),
            )

    def ListReportItems(self, request: pb.ListReportItemsRequest, context: object) -> pb.ListReportItemsResponse:
        self._is_fresh("ledger")
        as_of = _day(request.as_of)
        limit = listing.page_size(request.page_size)
        offset = listing.offset_of(request.page_token)

        def conditions(rows):
            names = ("currency", "bucket", "hold", "kind", "account_id", "due_on", "number")
            terms = {name: rows.c[name] for name in names}
            found = listing.parse_filter(_hold_contains(request.filter), terms)
            return found

        def order(rows):
            allowed = {"due_on": rows.c.due_on, "open": rows.c.open_minor, "account_name": rows.c.account_name}
            return listing.order_by(request.order_by, allowed, default="due_on")

        with self._database.transaction() as session:
            scope = usecases.scope_for(session, request.entity)
            rows, total = store.report_items(
                session, as_of, scope, conditions, order, limit, offset, overdue=request.overdue
            )
        return pb.ListReportItemsResponse(
            items=[_item_to_proto(row, as_of) for row in rows],
            next_page_token=listing.next_offset_token(offset, len(rows), total),
            total_size=total,
        )

    def GetAccountActivity(
        self, request: pb.GetAccountActivityRequest, context: object
    ) -> pb.GetAccountActivityResponse:
        is_fresh = self._is_fresh("ledger", *_WORK_PRODUCERS)
        today = business_today()
        with self._database.transaction() as session:
            found = usecases.account_activity(session, request.account_id, today, request.limit or ACTIVITY_DEFAULT)
            return pb.GetAccountActivityResponse(
                entries=[_entry_to_proto(entry) for entry in found.entries],
                aging=[aging_to_proto(total) for total in found.aging],
                average_delay_days=round(found.average_delay_days, 1),
                paid_item_count=found.paid_item_count,
                profile=found.profile,
                freshness=_freshness(session, today, is_fresh),
            )

    def Search(self, request: pb.SearchRequest, context: object) -> pb.SearchResponse:
        with self._database.transaction() as session:
            codes = current_caller().entity_codes
            hits = store.search(session, request.query.strip(), codes, request.limit or SEARCH_DEFAULT)
        return pb.SearchResponse(
            hits=[
                pb.SearchHit(
                    kind=hit["kind"],
                    id=hit["id"],
                    account_id=hit["account_id"],
                    title=hit["title"],
                    detail=hit["detail"],
                )
                for hit in hits
            ]
        )


def _hold_contains(text: str) -> str:
    """hold=DISPUTE means: DISPUTE is among the item's holds."""
    terms = listing.filter_terms(text)
    written = (
        f'{term.name}{":" if term.name == "hold" and term.op == "=" else term.op}"{term.value}"' for term in terms
    )
    return " AND ".join(written)


def _day(text: str) -> date:
    return date.fromisoformat(text) if text else business_today()


def _freshness(session: Session, as_of: date, is_fresh: bool) -> pb.Freshness:
    seen_at = store.ledger_seen_at(session)
    at = None
    if seen_at is not None:
        at = Timestamp()
        at.FromDatetime(seen_at)
    return pb.Freshness(as_of=as_of.isoformat(), ledger_seen_at=at, stale=not is_fresh)


def aging_to_proto(total: domain.Aging) -> pb.AgingTotal:
    """One currency's aging as the contract says it; all buckets, the empty ones too."""
    return pb.AgingTotal(
        currency=total.currency,
        item_count=total.item_count,
        total=Money(currency=total.currency, minor_units=total.total_minor),
        buckets=[
            pb.AgingBucket(
                label=label,
                item_count=total.count_by_label[label],
                amount=Money(currency=total.currency, minor_units=total.amount_minor_by_label[label]),
            )
            for label in domain.ALL_LABELS
        ],
        credits=Money(currency=total.currency, minor_units=total.credits_minor),
        credit_count=total.credit_count,
    )


def _files_text(value: domain.Dso, months_from_files: set[str]) -> str:
    """A sentence about the counted months whose sales files say; empty where there are none."""
    months = [month.month for month in value.months if month.month in months_from_files]
    return " " + say(f"Sales of {', '.join(months)} as files say them.") if months else ""


def dso_to_proto(currency: str, dso: domain.Dso, explanation: str) -> pb.DsoValue:
    """One currency's DSO with its inputs."""
    return pb.DsoValue(
        currency=currency,
        days=dso.days,
        insufficient_history=dso.insufficient_history,
        current_days=dso.current_days,
        overdue_days=dso.overdue_days,
        receivables=Money(currency=currency, minor_units=dso.receivables_minor),
        months=[
            pb.DsoMonth(
                month=month.month,
                days=month.days,
                sales=Money(currency=currency, minor_units=month.sales_minor),
                used=Money(currency=currency, minor_units=month.used_minor),
                counted_days=month.counted_days,
            )
            for month in dso.months
        ],
        explanation=explanation,
    )


def _currency_to_proto(figures: usecases.CurrencyFigures, as_of: date) -> pb.DashboardCurrency:
    total, held = figures.aging, figures.held_minor_by_kind

    def money(minor: int) -> Money:
        return Money(currency=total.currency, minor_units=minor)

    return pb.DashboardCurrency(
        currency=total.currency,
        open=money(total.total_minor),
        overdue=money(total.overdue_minor),
        overdue_percent=domain.percent(total.overdue_minor, total.debit_minor),
        disputed=money(held.get("DISPUTE", 0)),
        promised=money(held.get("PROMISE", 0)),
        announced=money(held.get("PAYMENT_ANNOUNCED", 0) + held.get("RESPONSE", 0)),
        collectable_overdue=money(total.overdue_minor - figures.held_overdue_minor),
        received_this_month=money(figures.received_minor),
        aging=aging_to_proto(total),
        dso=dso_to_proto(total.currency, figures.dso, say(_COUNT_BACK_TEXT.format(as_of=as_of))),
    )


def _item_to_proto(row, as_of: date) -> pb.ReportItem:
    def money(minor: int) -> Money:
        return Money(currency=row["currency"], minor_units=minor)

    return pb.ReportItem(
        item_id=row["item_id"],
        account_id=row["account_id"],
        account_number=row["account_number"],
        account_name=row["account_name"],
        entity_code=row["entity_code"],
        number=row["number"],
        kind=row["kind"],
        issue_on=row["issue_on"].isoformat(),
        due_on=row["due_on"].isoformat() if row["due_on"] else "",
        days_late=(as_of - row["due_on"]).days if row["due_on"] else 0,
        bucket=row["bucket"],
        initial=money(row["initial_minor"]),
        open=money(row["open_minor"]),
        held=money(row["held_minor"]),
    )


def _entry_to_proto(entry) -> pb.ActivityEntry:
    at = Timestamp()
    at.FromDatetime(entry["happened_at"])
    return pb.ActivityEntry(
        at=at,
        kind=entry["kind"],
        state=entry["state"],
        title=entry["title"],
        title_fr=entry["title_fr"],
        detail=say(entry["detail"] or ""),
        amounts=_stored_amounts(entry["amounts"]),
        reference_id=entry["reference_id"],
        by=entry["by"],
    )


def _stored_amounts(amounts: Iterable[dict]) -> list[Money]:
    return [Money(currency=one["currency"], minor_units=int(one["minor"])) for one in amounts]
