"""The rates page, with a ledger that answers as told."""

from types import SimpleNamespace

import pytest

from gateway.web import rates
from kit.errors import Code, Refused
from quittance.ledger.v1 import reference_service_pb2 as pb

from .conftest import sign_in

CONFIRM = {"to_confirm": True, "source": "own knowledge"}


@pytest.fixture
def told(monkeypatch):
    """What the ledger answers, by RPC, and what it was asked."""
    told = SimpleNamespace(
        asked=[],
        ListExchangeRates=pb.ListExchangeRatesResponse(
            rates=[pb.ExchangeRate(base="EUR", quote="USD", rate="1.08", valid_from="2024-06-01", source="<b>ECB")],
            total_size=1,
        ),
        ListStatutoryRates=pb.ListStatutoryRatesResponse(
            rates=[
                pb.StatutoryRate(series="ECB_MAIN_REFINANCING", valid_from="2026-01-01", value="2.15", **CONFIRM),
                pb.StatutoryRate(series="FR_RECOVERY_SUM", valid_from="2013-01-01", value="40", source="D441-5"),
            ],
            missing=[pb.MissingRate(series="ECB_MAIN_REFINANCING", valid_from="2026-07-01")],
        ),
        SetExchangeRates=pb.SetExchangeRatesResponse(changed=1),
        SetStatutoryRate=pb.SetStatutoryRateResponse(),
        refusal=None,
    )

    class Stub:
        def __getattr__(self, name):
            def call(request, timeout):
                told.asked.append(request)
                if name.startswith("Set") and told.refusal is not None:
                    raise told.refusal
                return getattr(told, name)

            return call

    monkeypatch.setattr(rates, "_stub", Stub)
    return told


@pytest.fixture
def signed(make_app, group, platform, add_user):
    """signed(role) -> a browser of somebody with that role."""

    def sign(role, **options):
        client = make_app().test_client()
        sign_in(client, add_user(role, **options))
        return client

    return sign


def test_rates_show_their_source_and_what_nobody_has_confirmed(signed, told):
    page = signed("guest").get("/rates")
    assert page.status_code == 200
    assert "EUR / USD" in page.text
    assert "&lt;b&gt;ECB" in page.text
    assert "own knowledge" in page.text
    assert page.text.count("to confirm") == 2, "on the series and on the row"
    assert "1 half-year has no statutory rate" in page.text
    assert "Set an exchange rate" not in page.text, "a guest changes nothing"


def test_the_page_speaks_french(signed, told):
    page = signed("administrator", language="fr").get("/rates").text
    assert "Taux légaux" in page
    assert "à confirmer" in page


def post(client, path, **form):
    page = client.get("/rates").text
    token = page.split('name="csrf_token" value="')[1].split('"')[0]
    return client.post(path, data={"csrf_token": token, **form})


def test_a_rate_is_set_with_a_decimal_comma(signed, told):
    client = signed("administrator")
    answer = post(
        client, "/rates/exchange", base="eur", quote="usd", rate="1,09", valid_from="2024-07-01", source="ECB"
    )
    assert answer.status_code == 303
    (rate,) = told.asked[-1].rates
    assert (rate.base, rate.quote, rate.rate, rate.valid_from) == ("EUR", "USD", "1.09", "2024-07-01")


def test_a_refused_rate_is_shown_beside_its_field_with_the_input_kept(signed, told):
    client = signed("administrator")
    told.refusal = Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", "no", {"valid_from": "1 January or 1 July"})
    answer = post(
        client, "/rates/statutory", series="BOE_BASE_REFERENCE", valid_from="2024-02-01", value="5", source="x"
    )
    assert answer.status_code == 422
    assert "1 January or 1 July" in answer.text
    assert 'value="2024-02-01"' in answer.text
