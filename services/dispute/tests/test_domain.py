"""The rules of disputes, without a clock."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispute.domain import (
    AT_WORK,
    MOVES,
    REASONS,
    SETTLED,
    CaseState,
    Line,
    Outcome,
    check_move,
    closes_itself,
    held_amounts,
    is_overdue,
    reason_of,
    resolve,
)
from kit.clock import add_working_days
from kit.errors import Code
from kit.testing import refused


def line(item_id: str = "a", disputed: int = 100, open_minor: int = 150, **values) -> Line:
    return Line(item_id, "EUR", disputed, open_minor, **values)


@pytest.mark.parametrize("now", CaseState)
@pytest.mark.parametrize("wanted", CaseState)
def test_every_move_is_in_the_table_or_refused(now, wanted):
    if wanted in MOVES[now]:
        check_move(now, wanted)
    else:
        with refused(Code.FAILED_PRECONDITION, "STATE_NOT_ALLOWED"):
            check_move(now, wanted)


def test_the_table_closes_only_after_a_resolution_and_reopens_to_work():
    assert {state for state in CaseState if CaseState.CLOSED in MOVES[state]} == SETTLED
    assert all(CaseState.IN_PROGRESS in MOVES[state] for state in {*SETTLED, CaseState.CLOSED})
    assert all(not MOVES[state] & SETTLED for state in CaseState)
    assert all(state not in MOVES[state] for state in CaseState)
    # From every state at work the other ones are in reach, except going back to not having looked.
    assert all(CaseState.NEW not in targets for targets in MOVES.values())


def test_reasons_have_names_clocks_and_owners_in_the_order_of_the_contract():
    codes = [reason.code for reason in REASONS]
    assert codes == ("PRICE QUANTITY QUALITY NOT_RECEIVED ADMINISTRATIVE DELIVERY TERMS RETURNED OTHER".split())
    assert all(r.name and r.name_fr and r.owner and r.clock_working_days > 0 for r in REASONS)
    assert {r.code: r.clock_working_days for r in REASONS}.items() >= {
        "ADMINISTRATIVE": 3, "PRICE": 7, "QUANTITY": 7, "QUALITY": 15,
    }.items()  # fmt: skip
    with refused(Code.INVALID_ARGUMENT, "REASON_UNKNOWN"):
        reason_of("MOOD")


@pytest.mark.parametrize(
    ("opened_on", "days", "due_on"),
    [
        (date(2026, 3, 5), 7, date(2026, 3, 16)),  # Thursday, over one weekend.
        (date(2026, 3, 7), 3, date(2026, 3, 11)),  # Opened on a Saturday.
        (date(2024, 2, 28), 3, date(2024, 3, 4)),  # Over a leap day and a month's end.
        (date(2026, 12, 30), 3, date(2027, 1, 4)),
    ],
)
def test_clocks_count_working_days(opened_on, days, due_on):
    assert add_working_days(opened_on, days) == due_on


@pytest.mark.parametrize(
    ("outcome", "accepted", "state", "amounts"),
    [
        (Outcome.CREDIT_NOTE, {}, CaseState.ACCEPTED, {"a": 100, "b": 50}),
        (Outcome.CREDIT_NOTE, {"a": None, "b": None}, CaseState.ACCEPTED, {"a": 100, "b": 50}),
        (Outcome.SETTLED, {"a": ("EUR", 100)}, CaseState.PARTLY_ACCEPTED, {"a": 100, "b": 0}),
        (Outcome.WRITE_OFF, {"a": ("EUR", 1)}, CaseState.PARTLY_ACCEPTED, {"a": 1, "b": 0}),
        (Outcome.REJECTED, {}, CaseState.REJECTED, {"a": 0, "b": 0}),
        (Outcome.CREDIT_NOTE, {"a": ("EUR", 0)}, CaseState.REJECTED, {"a": 0, "b": 0}),
    ],
)
def test_settling_accepts_rejects_or_both(outcome, accepted, state, amounts):
    assert resolve(CaseState.IN_PROGRESS, [line(), line("b", 50)], outcome, accepted) == (state, amounts)


@pytest.mark.parametrize(
    ("outcome", "accepted"),
    [
        (Outcome.CREDIT_NOTE, {"a": ("EUR", 101)}),
        (Outcome.CREDIT_NOTE, {"a": ("EUR", -1)}),
        (Outcome.CREDIT_NOTE, {"a": ("USD", 1)}),
        (Outcome.CREDIT_NOTE, {"unknown": None}),
        (Outcome.REJECTED, {"a": ("EUR", 1)}),
    ],
)
def test_more_than_is_disputed_is_not_accepted(outcome, accepted):
    with refused(Code.INVALID_ARGUMENT, "AMOUNT_TOO_HIGH"):
        resolve(CaseState.NEW, [line()], outcome, accepted)


@pytest.mark.parametrize("state", sorted({*SETTLED, CaseState.CLOSED}))
def test_a_settled_case_is_not_settled_again(state):
    with refused(Code.FAILED_PRECONDITION, "STATE_NOT_ALLOWED"):
        resolve(state, [line()], Outcome.CREDIT_NOTE, {})


def test_what_is_held_follows_the_state():
    lines = [line(accepted_minor=60, resolved_open_minor=150), line("b", 50, 20)]
    assert all(held_amounts(state, lines) == {"a": 100, "b": 20} for state in AT_WORK)
    assert held_amounts(CaseState.PARTLY_ACCEPTED, lines) == {"a": 60}
    assert held_amounts(CaseState.REJECTED, lines) == {}
    assert held_amounts(CaseState.CLOSED, lines) == {}


@given(disputed=st.integers(1, 10**9), open_minor=st.integers(-(10**9), 10**9), state=st.sampled_from(CaseState))
def test_no_more_is_held_than_is_open_or_disputed(disputed, open_minor, state):
    held = held_amounts(state, [line("a", disputed, open_minor)])
    assert all(0 < minor <= min(disputed, open_minor) for minor in held.values())


@pytest.mark.parametrize(
    ("state", "lines", "why"),
    [
        (CaseState.IN_PROGRESS, [line()], ""),
        (CaseState.IN_PROGRESS, [line(open_minor=0)], "all items were cleared"),
        (CaseState.ACCEPTED, [line(accepted_minor=100, resolved_open_minor=150)], ""),
        (CaseState.ACCEPTED, [line(open_minor=51, accepted_minor=100, resolved_open_minor=150)], ""),
        (
            CaseState.ACCEPTED,
            [line(open_minor=50, accepted_minor=100, resolved_open_minor=150)],
            "the accepted amounts were credited",
        ),
        (
            CaseState.PARTLY_ACCEPTED,
            [line(open_minor=0, accepted_minor=100, resolved_open_minor=100), line("b", accepted_minor=0)],
            "the accepted amounts were credited",
        ),
        (CaseState.REJECTED, [line()], ""),
        (CaseState.REJECTED, [line(open_minor=0)], "all items were cleared"),
        (CaseState.CLOSED, [line(open_minor=0)], ""),
    ],
)
def test_a_case_closes_itself_when_nothing_is_left(state, lines, why):
    assert closes_itself(state, lines) == why


@pytest.mark.parametrize(("days", "late"), [(-1, False), (0, False), (1, True)])
def test_the_last_day_of_the_clock_is_in_time(days, late):
    due_on = date(2026, 2, 28)
    assert is_overdue(CaseState.NEW, due_on, due_on + timedelta(days)) is late
    assert is_overdue(CaseState.ACCEPTED, due_on, due_on + timedelta(days)) is False
