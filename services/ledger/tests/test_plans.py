"""What a plan tells before anything is written: what each row would change, and the books before and after."""

from datetime import date

from ledger_driver import counts, item_row, item_table

from kit.ids import new_id
from quittance.ledger.v1 import ledger_load_service_pb2 as load_pb

STOCK = load_pb.LOAD_MODE_STOCK


def effects(found):
    return [(e.line, e.effect, e.account_number, e.number, {c.field: (c.old, c.new) for c in e.changes}) for e in found]


def balances(end):
    return {b.currency: (b.items_before, b.open_before_minor, b.items_after, b.open_after_minor) for b in end.balances}


def test_a_plan_tells_what_each_row_changes_and_the_new_ones_last(ledger):
    ledger.load(item_row(), item_row(number="F2"), item_row(number="F3"))
    ledger.load(item_row(number="F3", open_minor=0, settled_on=date(2024, 5, 2)))
    rows = item_table(
        item_row(number="F9", account_number="9"),
        item_row(open_minor=4_000, due_on=None),
        item_row(number="F2", open_minor=0, settled_on=date(2024, 6, 1)),
        item_row(number="F3", open_minor=500),
        item_row(number="F4", kind="?"),
    )
    (progress,) = ledger.stream(rows, plan_only=True)
    assert counts(progress) == {"created": 1, "updated": 2, "cleared": 1, "rejected": 1}
    assert progress.counts.reopened == 1
    assert effects(progress.effects) == [
        (2, "updated", "000100", "F1", {"due_on": ("2024-05-01", ""), "open_minor": ("10000", "4000")}),
        (3, "cleared", "000100", "F2", {"settled_on": ("", "2024-06-01"), "open_minor": ("10000", "0")}),
        (4, "reopened", "000100", "F3", {"settled_on": ("2024-05-02", ""), "open_minor": ("0", "500")}),
        (1, "created", "9", "F9", {}),
    ]


def test_only_plans_tell_effects_and_a_load_counts_what_it_reopens(ledger):
    ledger.load(item_row(open_minor=0))
    (progress,) = ledger.stream(item_table(item_row()))
    assert (progress.counts.updated, progress.counts.reopened, len(progress.effects)) == (1, 1, 0)


def test_a_chunk_tells_at_most_two_hundred_effects_and_changes_before_new_rows(ledger):
    known = [item_row(number=f"F{n}") for n in range(150)]
    ledger.load(*known)
    new = [item_row(number=f"N{n}") for n in range(100)]
    changed = [{**row, "open_minor": 1} for row in known]
    (progress,) = ledger.stream(item_table(*new, *changed), plan_only=True)
    assert [e.effect for e in progress.effects] == ["updated"] * 150 + ["created"] * 50


def test_the_end_of_a_plan_shows_the_books_before_and_as_planned(ledger):
    ledger.load(*(item_row(number=f"F{n}") for n in range(4)), item_row(number="U1", currency="USD", open_minor=700))
    load_id = new_id()
    chunks = [
        item_table(item_row(number="F0"), item_row(number="F1", open_minor=2_500), item_row(number="U1", currency="USD",
                                                                                           open_minor=700)),
        item_table(item_row(number="Y1", account_number="8", currency="JPY", initial_minor=90, open_minor=90)),
    ]  # fmt: skip
    ledger.stream(*chunks, load_id=load_id, mode=STOCK, plan_only=True)
    end = ledger.finish(load_id, plan_only=True)
    planned = {"EUR": (4, 40_000, 2, 12_500), "JPY": (0, 0, 1, 90), "USD": (1, 700, 1, 700)}
    assert balances(end) == planned
    assert end.cleared_absent == 2
    assert effects(end.absent) == [
        (0, "cleared", "000100", number, {"settled_on": ("", "2024-06-30"), "open_minor": ("10000", "0")})
        for number in ("F2", "F3")
    ]
    # The load itself comes to the books that were planned, and says the same once more when it is asked again.
    ledger.stream(*chunks, load_id=load_id, mode=STOCK)
    assert balances(ledger.finish(load_id, plan_only=True)) == planned
    real = ledger.finish(load_id, confirm_clearing=True)
    assert (balances(real), len(real.absent)) == (planned, 0)
    assert ledger.finish(load_id) == real


def test_a_plan_of_new_books_begins_with_nothing(ledger):
    load_id = new_id()
    ledger.stream(item_table(item_row(open_minor=6_000)), load_id=load_id, plan_only=True)
    assert balances(ledger.finish(load_id, plan_only=True)) == {"EUR": (0, 0, 1, 6_000)}
