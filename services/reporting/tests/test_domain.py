"""The figures' rules against published examples."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reporting import domain


@pytest.mark.parametrize(
    ("receivables", "sales", "as_of", "days"),
    [
        # domain.md 2.3, calendar days, and the two as-of rows of the late-payment file.
        (
            210_000_000,
            {"2023-03": 90_000_000, "2023-02": 80_000_000, "2023-01": 70_000_000},
            date(2023, 3, 31),
            76.7143,
        ),
        (572_506, {"2012-12": 649_387, "2012-11": 1}, date(2012, 12, 31), 27.3299),
        (511_985, {"2013-06": 584_959, "2013-05": 1}, date(2013, 6, 30), 26.2575),
    ],
)
def test_count_back_gives_the_published_days(receivables, sales, as_of, days):
    assert domain.count_back_dso(receivables, sales, as_of).days == pytest.approx(days, abs=5e-5)


def test_a_month_without_sales_counts_its_days():
    dso = domain.count_back_dso(150, {"2026-03": 100, "2026-01": 100}, date(2026, 3, 31))
    assert dso.days == pytest.approx(31 + 28 + 0.5 * 31)


def test_the_current_month_counts_its_elapsed_days_only():
    assert domain.count_back_dso(50, {"2026-03": 100}, date(2026, 3, 10)).days == pytest.approx(5)


def test_sales_that_do_not_use_up_the_receivables_are_said_to_be_insufficient():
    dso = domain.count_back_dso(1_000, {"2026-02": 100, "2026-03": 100}, date(2026, 3, 31))
    assert (dso.insufficient_history, dso.days) == (True, 59)


def test_nothing_owed_is_no_day():
    assert domain.count_back_dso(-5, {"2026-03": 100}, date(2026, 3, 31)).days == 0


def test_simple_dso_gives_the_published_days():
    assert domain.simple_dso(1_086_900, 553_800 + 456_600 + 757_000).days == pytest.approx(55.35, abs=0.005)


@given(
    groups=st.lists(
        st.tuples(
            st.sampled_from(["EUR", "USD"]),
            st.sampled_from([*domain.ALL_LABELS, domain.CREDIT]),
            st.integers(-(10**9), 10**9),
            st.integers(1, 9),
        )
    )
)
def test_buckets_and_credits_add_up_to_the_total_and_currencies_stay_apart(groups):
    for total in domain.aging(groups):
        own = [group for group in groups if group[0] == total.currency]
        assert total.total_minor == sum(group[2] for group in own)
        assert total.item_count == sum(group[3] for group in own)


def test_month_ends_end_with_the_day_itself():
    assert domain.month_ends(date(2024, 3, 15), 3) == [date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 15)]


def test_profiles_follow_the_thresholds():
    assert [domain.payment_profile(days, 5) for days in (-1, 0, 8, 21, 46)] == [
        "EXCELLENT", "GOOD", "AVERAGE", "SLOW", "BAD",
    ]  # fmt: skip
    assert domain.payment_profile(3, 2) == "UNKNOWN"
    assert domain.six_months_before(date(2026, 8, 31)) == date(2026, 2, 28)
