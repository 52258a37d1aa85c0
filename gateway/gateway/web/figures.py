"""Figures: dashboard, aging, DSO with its inputs, the rows behind a figure, search."""

import calendar
from collections.abc import Sequence
from datetime import date
from urllib.parse import urlencode

from flask import Blueprint, redirect, render_template, request, url_for

from gateway.web import RPC_TIMEOUT_S, can, formatter, gettext, needs, selected_entity, stubs
from kit import listing, money
from kit.errors import Refused
from quittance.ledger.v1 import account_pb2, ledger_service_pb2
from quittance.reporting.v1 import reporting_service_pb2 as pb

blueprint = Blueprint("figures", __name__)

ROWS_PER_PAGE = 100
MOST_OVERDUE_ROWS = 6
# Bucket labels of the contract with the colour of the design's age ramp.
BUCKETS = (
    ("NOT_DUE", "age-0"),
    ("1-30", "age-1"),
    ("31-60", "age-2"),
    ("61-90", "age-3"),
    ("91-120", "age-4"),
    (">120", "age-5"),
)
HIT_ICONS = {"ACCOUNT": "building", "ITEM": "file-text", "CASE": "message-2-exclamation", "CONTACT": "user"}


def bucket_name(label: str) -> str:
    """A bucket in the reader's words."""
    named = {
        "NOT_DUE": gettext("Not due"),
        ">120": gettext("Over 120"),
        "NO_DUE_DATE": gettext("No due date"),
        "CREDIT": gettext("Credits"),
    }
    return named.get(label) or label.replace("-", "–")


def _as_of() -> str:
    """The day in the address; empty (today) when there is none or it is no day."""
    text = request.args.get("as_of", "")
    try:
        return date.fromisoformat(text).isoformat() if text else ""
    except ValueError:
        return ""


def _address(endpoint: str, **values: str) -> str:
    entity = selected_entity()
    kept = {name: value for name, value in {"entity": entity, "as_of": _as_of(), **values}.items() if value}
    return f"{url_for(endpoint)}?{urlencode(kept)}" if kept else url_for(endpoint)


@blueprint.get("/dashboard")
@needs("reports:read")
def dashboard():
    """All figures in one call; the currency in the address decides whose pictures are shown."""
    found = stubs().reporting.GetDashboard(
        pb.GetDashboardRequest(entity=selected_entity(), as_of=_as_of()), timeout=RPC_TIMEOUT_S
    )
    wanted = request.args.get("currency", "")
    figures = next((one for one in found.currencies if one.currency == wanted), next(iter(found.currencies), None))
    series = [month for month in found.series if figures and month.currency == figures.currency]
    currency = figures.currency if figures else ""
    return render_template(
        "figures/dashboard.html",
        as_of=_as_of(),
        most_overdue=_most_overdue(currency) if figures and not _as_of() else [],
        found=found,
        figures=figures,
        others=[one for one in found.currencies if figures and one.currency != figures.currency],
        open_trend=[sum(bucket.amount.minor_units for bucket in month.buckets) for month in series],
        overdue_trend=[month.overdue_percent for month in series],
        dso_trend=[month.dso_days for month in series],
        aging_rows=[(_month_name(month.month), _aging_cells(month, found.as_of)) for month in series],
        dso_rows=[(_month_name(month.month), [round(month.dso_days, 1)]) for month in series],
        buckets=BUCKETS,
        bucket_name=bucket_name,
        address=_address,
    )


def _month_name(month: str) -> str:
    return formatter("date_text")(f"{month}-01", "month")


def _aging_cells(month: pb.DashboardMonth, as_of: str) -> list[tuple[float, str]]:
    """(amount in the main unit, its rows) of the buckets in the order of BUCKETS: what a picture needs."""
    amounts = {bucket.label: bucket.amount for bucket in month.buckets}
    year, number = (int(part) for part in month.month.split("-"))
    day = min(f"{month.month}-{calendar.monthrange(year, number)[1]:02d}", as_of)
    cells = []
    for label, _ in BUCKETS:
        amount = float(money.from_proto(amounts[label]).amount) if label in amounts else 0.0
        cells.append((amount, _address("figures.items", currency=month.currency, bucket=label, as_of=day)))
    return cells


def _most_overdue(currency: str) -> list[tuple[account_pb2.Account, account_pb2.AccountBalance]]:
    """Accounts with the largest overdue amount in a currency, as the ledger has them now."""
    if not can("accounts:read"):
        return []
    entity = selected_entity()
    request_ = ledger_service_pb2.ListAccountsRequest(
        filter=f'entity_code="{entity}"' if entity else "", order_by="overdue desc", page_size=50
    )
    try:
        found = stubs().ledger.ListAccounts(request_, timeout=RPC_TIMEOUT_S).accounts
    except Refused as error:
        # The other figures come from elsewhere and are right; the panel is left out.
        if not error.is_transient:
            raise
        return []
    rows = [(account, balance) for account in found for balance in account.balances if balance.currency == currency]
    rows = [(account, balance) for account, balance in rows if balance.overdue.minor_units > 0]
    return sorted(rows, key=lambda row: row[1].overdue.minor_units, reverse=True)[:MOST_OVERDUE_ROWS]


@blueprint.get("/aging")
@needs("reports:read")
def aging():
    """Open items by age as of any day."""
    found = stubs().reporting.GetAging(
        pb.GetAgingRequest(entity=selected_entity(), as_of=_as_of()), timeout=RPC_TIMEOUT_S
    )
    return render_template(
        "figures/aging.html", found=found, buckets=BUCKETS, bucket_name=bucket_name, address=_address
    )


@blueprint.get("/reports/dso")
@needs("reports:read")
def dso():
    """Count-back DSO with the months it was counted over."""
    found = stubs().reporting.GetDso(pb.GetDsoRequest(entity=selected_entity(), as_of=_as_of()), timeout=RPC_TIMEOUT_S)
    return render_template("figures/dso.html", found=found, address=_address)


@blueprint.get("/reports")
@needs("reports:read")
def items():
    """The rows behind a figure."""
    args = request.args
    names = ("currency", "bucket", "hold")
    terms = [f'{name}="{args[name]}"' for name in names if args.get(name)]
    found = stubs().reporting.ListReportItems(
        pb.ListReportItemsRequest(
            entity=selected_entity(),
            as_of=_as_of(),
            filter=" AND ".join(terms),
            overdue=args.get("overdue") == "1",
            order_by=args.get("sort", ""),
            page_size=ROWS_PER_PAGE,
            page_token=args.get("page", ""),
        ),
        timeout=RPC_TIMEOUT_S,
    )
    token = args.get("page", "")
    first = listing.offset_of(token) + 1 if token else 1
    before = first - 1 - ROWS_PER_PAGE
    return render_template(
        "figures/items.html",
        found=found,
        sums=_sums(),
        chips=_chips(),
        bucket_name=bucket_name,
        buckets=BUCKETS,
        as_of=_as_of(),
        first=first,
        previous=listing.encode_page_token(offset=before) if before > 0 else None,
        address=_address,
    )


def _sums() -> list[money.Money]:
    """What the rows of all pages add up to, one per currency; empty where no figure has exactly these rows."""
    args = request.args
    if args.get("hold"):
        return []
    totals = (
        stubs()
        .reporting.GetAging(pb.GetAgingRequest(entity=selected_entity(), as_of=_as_of()), timeout=RPC_TIMEOUT_S)
        .totals
    )
    wanted = [total for total in totals if args.get("currency", total.currency) == total.currency]
    return [money.Money(total.currency, _sum_of(total, args.get("bucket", ""))) for total in wanted]


def _sum_of(total: pb.AgingTotal, bucket: str) -> int:
    """Minor units of the rows a filter leaves of an aging total."""
    parts: Sequence[tuple[str, int]] = [(one.label, one.amount.minor_units) for one in total.buckets]
    if request.args.get("overdue") == "1":
        parts = [(label, minor) for label, minor in parts if label not in ("NOT_DUE", "NO_DUE_DATE")]
    else:
        parts = [*parts, ("CREDIT", total.credits.minor_units)]
    return sum(minor for label, minor in parts if not bucket or label == bucket)


def _chips() -> list[dict[str, str]]:
    """The filters in the address, each with the address without it."""
    args = request.args
    hold_names = {
        "DISPUTE": gettext("Under dispute"),
        "PROMISE": gettext("Promised"),
        "PAYMENT_PLAN": gettext("Payment plan"),
        "PAYMENT_ANNOUNCED": gettext("Said to be paid"),
        "RESPONSE": gettext("Answer waiting"),
        "LEGAL": gettext("Legal"),
        "EXCLUSION": gettext("Not chased"),
    }
    shown = {
        "currency": args.get("currency", ""),
        "bucket": bucket_name(args["bucket"]) if args.get("bucket") else "",
        "hold": hold_names.get(args.get("hold", ""), args.get("hold", "")),
        "overdue": gettext("Overdue") if args.get("overdue") == "1" else "",
    }
    chips = []
    for name, label in shown.items():
        if label:
            rest = {key: value for key, value in args.items() if key not in (name, "page")}
            chips.append({"label": label, "remove_href": f"{url_for('figures.items')}?{urlencode(rest)}"})
    return chips


@blueprint.get("/search")
@needs("reports:read")
def search():
    """Accounts, items, cases and contacts that carry the words; a single account opens at once."""
    words = (request.args.get("q") or request.args.get("query") or "").strip()[:200]
    hits = []
    if words:
        hits = list(stubs().reporting.Search(pb.SearchRequest(query=words, limit=20), timeout=RPC_TIMEOUT_S).hits)
    if len(hits) == 1 and hits[0].kind in ("ACCOUNT", "ITEM", "CASE"):
        return redirect(_hit_href(hits[0]), 303)
    return render_template("figures/search.html", words=words, hits=hits, hit_href=_hit_href, icons=HIT_ICONS)


def _hit_href(hit: pb.SearchHit) -> str:
    if hit.kind == "ITEM":
        return f"/items/{hit.id}"
    if hit.kind == "CASE":
        return f"/disputes/{hit.id}"
    return f"/accounts/{hit.account_id}"
