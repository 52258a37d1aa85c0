"""Rules without I/O: one example, one refusal, one property each."""

import pytest
from hypothesis import given
from hypothesis.strategies import integers, lists, none, one_of

from kit.errors import Refused
from ledger.domain import (
    ActiveHold,
    HoldWish,
    StockShare,
    default_language,
    default_time_zone,
    hold_amount,
    room_minor,
    shrink,
    stock_guard_holds,
)


def active(*amounts: int) -> list[ActiveHold]:
    return [ActiveHold(f"h{n}", amount) for n, amount in enumerate(amounts)]


def test_a_hold_without_amount_takes_what_is_left():
    assert hold_amount(HoldWish("i", None), 10_000, active(3_000)) == 7_000


@pytest.mark.parametrize(
    ("open_minor", "wish", "reason"),
    [
        (0, None, "ITEM_CLEARED"),
        (10_000, 7_001, "HOLD_EXCEEDS_OPEN"),
        (3_000, None, "HOLD_EXCEEDS_OPEN"),
        (-500, None, "HOLD_EXCEEDS_OPEN"),
        (10_000, -1, "HOLD_EXCEEDS_OPEN"),
        (10_000, 0, "HOLD_EXCEEDS_OPEN"),
    ],
)
def test_holds_that_are_refused(open_minor, wish, reason):
    with pytest.raises(Refused) as caught:
        hold_amount(HoldWish("i", wish), open_minor, active(3_000))
    assert caught.value.reason == reason


amounts = integers(1, 10**12)


@given(open_minor=integers(-(10**12), 10**12), wishes=lists(one_of(none(), amounts), max_size=10))
def test_holds_never_exceed_what_is_open(open_minor, wishes):
    held: list[ActiveHold] = []
    for number, wish in enumerate(wishes):
        try:
            held.append(ActiveHold(f"h{number}", hold_amount(HoldWish("i", wish), open_minor, held)))
        except Refused:
            continue
    assert 0 <= sum(hold.amount_minor for hold in held) <= max(open_minor, 0)
    assert all(hold.amount_minor > 0 for hold in held)


def test_the_newest_hold_gives_way_first():
    assert shrink(6_000, active(4_000, 3_000, 2_000)) == [ActiveHold("h1", 2_000), ActiveHold("h2", 0)]


@given(open_minor=integers(-(10**6), 10**6), sizes=lists(integers(1, 10**6), max_size=8))
def test_shrunk_holds_fit_and_take_no_more_than_needed(open_minor, sizes):
    before = {hold.hold_id: hold.amount_minor for hold in active(*sizes)}
    after = before | {hold.hold_id: hold.amount_minor for hold in shrink(open_minor, active(*sizes))}
    assert sum(after.values()) == min(sum(before.values()), max(open_minor, 0))
    assert all(0 <= after[hold_id] <= amount for hold_id, amount in before.items())
    rest = [ActiveHold(hold_id, amount) for hold_id, amount in after.items() if amount]
    assert shrink(open_minor, rest) == []
    assert room_minor(open_minor, rest) >= 0


@pytest.mark.parametrize(
    ("open_before", "to_clear", "holds"), [(10, 3, True), (10, 4, False), (0, 0, True), (1, 1, False)]
)
def test_the_guard_allows_thirty_percent(open_before, to_clear, holds):
    assert stock_guard_holds([StockShare(100, 0), StockShare(open_before, to_clear)]) is holds


def test_entities_speak_their_country():
    assert (default_language("FR"), default_language("DE"), default_language("JP")) == ("fr", "de", "en")
    assert (default_time_zone("FR"), default_time_zone("US")) == ("Europe/Paris", "UTC")
