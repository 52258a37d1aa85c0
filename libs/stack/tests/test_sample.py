"""The sample group: as large as promised, the same every time, consistent, and of nobody."""

import csv
import io
from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stack import sample

TODAY = date(2026, 3, 17)


@pytest.fixture(scope="module")
def group() -> list[sample.SampleAccount]:
    return sample.build(TODAY)


def test_size_entities_and_currencies(group: list[sample.SampleAccount]) -> None:
    assert 55 <= len(group) <= 65
    assert 1400 <= sum(len(account.items) for account in group) <= 1750
    assert {(e.code, e.currency) for e in sample.ENTITIES} == {("FR01", "EUR"), ("DE01", "EUR"), ("US01", "USD")}
    assert {account.language for account in group} == {"en", "fr"}


def test_the_same_day_gives_the_same_files(group: list[sample.SampleAccount]) -> None:
    again = sample.build(TODAY)
    for code in ("FR01", "DE01", "US01"):
        for make in (sample.accounts_file, sample.contacts_file, sample.items_file):
            assert make(group, code) == make(again, code)


@given(today=st.dates(date(2020, 1, 1), date(2040, 12, 31)))
@settings(max_examples=15, deadline=None)
def test_books_are_consistent_on_any_day(today: date) -> None:
    group = sample.build(today)
    keys = [(account.entity.code, item.number) for account in group for item in account.items]
    assert len(keys) == len(set(keys))
    assert len({(account.entity.code, account.number) for account in group}) == len(group)
    for account in group:
        for item in account.items:
            assert today - timedelta(days=sample.HISTORY_DAYS + 3) <= item.issue_on <= today
            assert item.due_on is None or item.due_on >= item.issue_on
            assert (item.settled_on is not None) == (item.open_amount == 0)
            assert item.settled_on is None or item.issue_on <= item.settled_on <= today
            assert (item.amount > 0) == (item.kind == "invoice")
            assert abs(item.open_amount) <= abs(item.amount)
            assert item.open_amount * item.amount >= 0


def test_every_page_has_something_to_show(group: list[sample.SampleAccount]) -> None:
    items = [item for account in group for item in account.items]
    assert {item.kind for item in items} == {"invoice", "credit note", "payment"}
    assert any(0 < item.open_amount < item.amount for item in items)
    overdue = {a.number for a in group for i in a.items if i.open_amount > 0 and i.due_on and i.due_on < TODAY}
    assert 15 <= len(overdue) <= 45
    over = [a for a in group if a.limit and sum(i.open_amount for i in a.items) > a.limit]
    assert over
    assert any(account.limit is None for account in group)
    shared = {account.registration for account in group if account.entity.code == "FR01"}
    assert shared & {account.registration for account in group if account.entity.code == "US01"}


def test_nobody_can_be_reached(group: list[sample.SampleAccount]) -> None:
    for account in group:
        contacts = list(account.contacts())
        assert contacts
        for name, _, email, phone, _ in contacts:
            assert name in {text for desk in sample.DESKS.values() for text in desk.values()}
            assert email.rpartition("@")[2].split(".", 1)[1] in ("example.com", "example.org", "example.net")
            assert phone.startswith(("+1 202 555 01", "+33 1 99 00"))


def test_files_say_what_the_group_holds(group: list[sample.SampleAccount]) -> None:
    rows = list(csv.DictReader(io.StringIO(sample.items_file(group, "US01").decode())))
    mine = [item for account in group if account.entity.code == "US01" for item in account.items]
    assert len(rows) == len(mine)
    assert {row["Currency"] for row in rows} == {"USD"}
    assert sum(Decimal(row["Open amount"]) for row in rows) == sum(item.open_amount for item in mine)
