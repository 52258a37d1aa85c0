"""Rules of exposure."""

from datetime import UTC, date, datetime

import pytest

from credit_risk import domain
from credit_risk.domain import Limit, OpenAmount
from kit.errors import Code
from kit.money import Money
from kit.testing import refused

TODAY = date(2026, 9, 15)


def limit(minor, valid_from=date(2026, 1, 1), valid_until=None, decided_day=1, currency="EUR"):
    return Limit(Money(currency, minor), valid_from, valid_until, "", "", datetime(2026, 1, decided_day, tzinfo=UTC))


def test_exposure_is_net_of_credits_in_the_limits_currency_only():
    amounts = [
        OpenAmount("a", "EUR", date(2026, 9, 15), 150_00),
        OpenAmount("a", "EUR", date(2026, 9, 14), 60_00),
        OpenAmount("b", "EUR", None, -10_00),
        OpenAmount("b", "USD", date(2026, 1, 1), 999_00),
    ]
    found = domain.exposure(amounts, [limit(180_00)], TODAY, "EUR")
    assert found.exposure == Money("EUR", 200_00)
    assert (found.over_limit, found.available) == (Money("EUR", 20_00), Money("EUR", -20_00))
    assert found.utilisation_percent == 111.1
    assert found.other_currencies == (Money("USD", 999_00),)
    assert dict(found.ages)["NOT_DUE"] == 150_00 and dict(found.ages)["1-30"] == 60_00
    assert found.overdue_by_account == {"a": 60_00}


def test_without_a_limit_the_largest_currency_is_taken_and_nothing_is_over():
    found = domain.exposure([OpenAmount("a", "USD", None, 5)], [], TODAY, "EUR")
    assert (found.exposure.currency, found.is_over_limit, found.utilisation_percent) == ("USD", False, 0.0)


def test_the_limit_in_force_is_the_one_decided_last_among_those_that_hold():
    old, newer = limit(1), limit(2, decided_day=2)
    ended = limit(3, valid_until=date(2026, 9, 14), decided_day=3)
    ahead = limit(4, valid_from=date(2026, 9, 16), decided_day=4)
    assert domain.limit_in_force([old, ended, ahead, newer], TODAY) is newer


@pytest.mark.parametrize(
    ("minor", "valid_until", "reason"), [(-1, None, "LIMIT_NEGATIVE"), (1, date(2025, 1, 1), "DATE_ORDER")]
)
def test_impossible_limits_are_refused(minor, valid_until, reason):
    with refused(Code.INVALID_ARGUMENT, reason):
        domain.check_limit(Money("EUR", minor), date(2026, 1, 1), valid_until)
