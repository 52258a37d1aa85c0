"""Rates: what one currency is worth in another, and what law and central banks fix."""

from datetime import date

from flask import Blueprint, redirect, render_template, request, url_for

from gateway.web import RPC_TIMEOUT_S, _mistakes, gettext, needs, settings, toast
from kit.errors import Refused
from kit.grpc_client import channel
from kit.ids import new_id
from quittance.ledger.v1 import reference_service_pb2 as pb
from quittance.ledger.v1.reference_service_pb2_grpc import ReferenceServiceStub

blueprint = Blueprint("rates", __name__)

ROWS_PER_PAGE = 50
STATUTORY_MAX = 500


def _stub() -> ReferenceServiceStub:
    return ReferenceServiceStub(channel(settings(), "ledger"))


def _series() -> dict[str, tuple[str, str]]:
    """(name, unit) of each statutory series."""
    percent, points, euro, pounds = gettext("% a year"), gettext("points"), "EUR", "GBP"
    return {
        "ECB_MAIN_REFINANCING": (gettext("ECB main refinancing rate"), percent),
        "BOE_BASE_REFERENCE": (gettext("Bank of England base rate, reference of the half-year"), percent),
        "FR_LEGAL_INTEREST_BUSINESS": (gettext("French legal interest, business creditors"), percent),
        "EU_MARGIN": (gettext("European Union: added to the reference rate"), points),
        "FR_DEFAULT_MARGIN": (gettext("France: added to the ECB rate by default"), points),
        "UK_MARGIN": (gettext("United Kingdom: added to the base rate"), points),
        "FR_RECOVERY_SUM": (gettext("France: fixed sum per invoice"), euro),
        "UK_FIXED_SUM_BELOW_1000": (gettext("United Kingdom: fixed sum, debts below 1,000"), pounds),
        "UK_FIXED_SUM_BELOW_10000": (gettext("United Kingdom: fixed sum, debts below 10,000"), pounds),
        "UK_FIXED_SUM_ABOVE": (gettext("United Kingdom: fixed sum, debts of 10,000 and more"), pounds),
    }


@blueprint.get("/rates")
@needs("entities:read")
def rates_page():
    """Exchange rates and statutory rates with their sources."""
    return _page()


def _page(opened: str = "", error: Refused | None = None):
    """The page; after a mistake with its dialog open again, the input kept and the wrong fields named."""
    errors: dict[str, str] = {}
    if error is not None:
        text = _mistakes.of(error)
        errors = _mistakes.by_field(error) or {"": text}
    stub, series = _stub(), _series()
    exchange = stub.ListExchangeRates(
        pb.ListExchangeRatesRequest(page_size=ROWS_PER_PAGE, page_token=request.args.get("page", "")),
        timeout=RPC_TIMEOUT_S,
    )
    statutory = stub.ListStatutoryRates(pb.ListStatutoryRatesRequest(page_size=STATUTORY_MAX), timeout=RPC_TIMEOUT_S)
    by_series = {name: [rate for rate in statutory.rates if rate.series == name] for name in series}
    page = render_template(
        "rates/rates.html",
        exchange=exchange,
        by_series=by_series,
        series=series,
        missing=[(series.get(one.series, (one.series, ""))[0], date.fromisoformat(one.valid_from))
                 for one in statutory.missing],
        opened=opened,
        errors=errors,
        form=request.form,
    )  # fmt: skip
    return (page, 422) if error is not None else page


@blueprint.post("/rates/exchange")
@needs("entities:write")
def set_exchange_rate():
    """Sets one exchange rate."""
    form = request.form
    rate = pb.ExchangeRate(
        base=form.get("base", "").strip().upper(),
        quote=form.get("quote", "").strip().upper(),
        rate=form.get("rate", "").strip().replace(",", "."),
        valid_from=form.get("valid_from", "").strip(),
        source=form.get("source", "").strip(),
    )
    try:
        _stub().SetExchangeRates(
            pb.SetExchangeRatesRequest(request_id=form.get("request_id") or new_id(), rates=[rate]),
            timeout=RPC_TIMEOUT_S,
        )
    except Refused as error:
        return _page("exchange", error)
    toast(gettext("The rate was set."))
    return redirect(url_for("rates.rates_page"), 303)


@blueprint.post("/rates/statutory")
@needs("entities:write")
def set_statutory_rate():
    """Sets one statutory rate or sum."""
    form = request.form
    try:
        _stub().SetStatutoryRate(
            pb.SetStatutoryRateRequest(
                request_id=form.get("request_id") or new_id(),
                series=form.get("series", ""),
                valid_from=form.get("valid_from", "").strip(),
                value=form.get("value", "").strip().replace(",", "."),
                source=form.get("source", "").strip(),
                to_confirm=form.get("to_confirm") == "1",
            ),
            timeout=RPC_TIMEOUT_S,
        )
    except Refused as error:
        return _page("statutory", error)
    toast(gettext("The rate was set."))
    return redirect(url_for("rates.rates_page"), 303)
