"""A ledger as small as it can be: what the real one must answer. Pure: no clock, no I/O, one item after the other.

Each item keeps its entries, of which nothing is ever taken away; what is open as of a day, as known after some load, is
the sum of those that had been made by then. Amounts are minor units; credits are negative.
"""

from dataclasses import dataclass, field, replace
from datetime import date


@dataclass(frozen=True)
class Row:
    """A row of a load: the state of an item as its system says it."""

    issue_on: date
    due_on: date | None
    settled_on: date | None
    initial: int
    open: int


@dataclass(frozen=True)
class Entry:
    """A change of what is open: made by which load, why, how much, from which day on."""

    load: int
    cause: str
    delta: int
    on: date


@dataclass
class Hold:
    """A hold; state ACTIVE, EXPIRED or RELEASED."""

    hold_id: str
    item: int
    kind: int
    source_id: str
    amount: int
    from_on: date
    until_on: date | None
    state: str = "ACTIVE"


@dataclass
class Item:
    """An item with its history; row.settled_on and row.open are what the books say, not what the file said."""

    row: Row
    entries: list[Entry] = field(default_factory=list)

    @property
    def clear_on(self) -> date | None:
        """From when on nothing is open: never before the item was issued."""
        return None if self.row.settled_on is None else max(self.row.settled_on, self.row.issue_on)

    def open_as_of(self, day: date, load: int | None = None) -> int:
        """What was open on a day, as known after a load (None: all of them)."""
        return sum(e.delta for e in self.entries if e.on <= day and (load is None or e.load <= load))


class Refusal(Exception):
    """The reason for which a call must be refused."""


class ReferenceLedger:
    """Items by number, holds in the order in which they were placed."""

    def __init__(self) -> None:
        self.items: dict[int, Item] = {}
        self.holds: list[Hold] = []
        self.loads = 0

    # ---- loads -------------------------------------------------------------------------------------------------------

    def load(self, rows: dict[int, Row], file_on: date) -> dict[str, int]:
        """Merges rows; returns how many had which effect."""
        self.loads += 1
        counts: dict[str, int] = {}
        for number, row in rows.items():
            effect = self._merge(number, row, file_on, None)
            counts[effect] = counts.get(effect, 0) + 1
        return counts

    def clear_absent(self, held: set[int], file_on: date) -> int:
        """The end of a complete file: what is open and was not in it is settled on its day."""
        absent = [n for n, item in self.items.items() if item.row.open != 0 and n not in held]
        self.loads += 1
        for number in absent:
            old = self.items[number].row
            settled = replace(old, open=0, settled_on=max(file_on, old.issue_on))
            self._merge(number, settled, file_on, "ABSENT_FROM_STOCK")
        return len(absent)

    def _merge(self, number: int, said: Row, file_on: date, cause: str | None) -> str:
        item = self.items.get(number)
        settled_on = said.settled_on
        if settled_on is None and said.open == 0:
            # The file says that it is paid, not when: what is known, else the day of the file.
            settled_on = (item.row.settled_on if item else None) or max(file_on, said.issue_on)
        row = replace(said, settled_on=settled_on, open=0 if said.settled_on else said.open)
        if item is None:
            self._create(number, row, file_on)
            return "created"
        if row == item.row:
            return "unchanged"
        old = item.row
        if replace(row, due_on=None) != replace(old, due_on=None):
            self._book(item, row, file_on, cause)
        item.row = row
        self._shrink(number)
        return "cleared" if old.open != 0 and row.open == 0 else "updated"

    def _create(self, number: int, row: Row, file_on: date) -> None:
        item = self.items[number] = Item(row, [Entry(self.loads, "ISSUED", row.initial, row.issue_on)])
        if row.open != row.initial:
            on = max(row.issue_on, row.settled_on or file_on)
            item.entries.append(Entry(self.loads, "REST", row.open - row.initial, on))

    def _book(self, item: Item, row: Row, file_on: date, cause: str | None) -> None:
        """The entries that make the history true again: what is known to be dated wrongly is taken back on its own day,
        what is left over is booked on the day of the settlement, else of the file."""
        old, new, history = item.row, Item(row), item.entries
        made: list[Entry] = []

        def book(why: str, delta: int, on: date) -> None:
            if delta:
                made.append(Entry(self.loads, why, delta, on))

        if row.issue_on != old.issue_on:
            book("MOVED", -old.initial, old.issue_on)
            book("MOVED", old.initial, row.issue_on)
            made.sort(key=lambda e: e.delta != -old.initial)
        moved = list(made)
        last = history[-1]
        if old.open == 0 and row.open != 0 and last.cause == "ABSENT_FROM_STOCK":
            # It was never paid: the file that did not hold it was wrong.
            book("REOPENED", -last.delta, last.on)
        if old.open == 0 and row.open == 0 and new.clear_on > item.clear_on:
            same_day = [e.delta for e in history if e.on == item.clear_on and e.cause != "ISSUED"]
            book("POSTPONED", -sum(same_day), item.clear_on)
        if row.open == 0:
            later: dict[date, int] = {}
            for entry in [*history, *moved]:
                if entry.on > new.clear_on:
                    later[entry.on] = later.get(entry.on, 0) + entry.delta
            for on in sorted(later):
                book("TOO_LATE", -later[on], on)
        corrected_on = max(row.issue_on, file_on if new.clear_on is None else min(file_on, new.clear_on))
        book("CORRECTED", row.initial - old.initial, corrected_on)
        rest = row.open - old.open - sum(e.delta for e in made)
        book(cause or "REST", rest, new.clear_on or max(row.issue_on, file_on))
        history += made

    # ---- holds -------------------------------------------------------------------------------------------------------

    def active(self, number: int | None = None) -> list[Hold]:
        """Holds that are not ended, oldest first."""
        return [h for h in self.holds if h.state == "ACTIVE" and number in (None, h.item)]

    def _shrink(self, number: int) -> None:
        left = max(self.items[number].row.open, 0)
        for hold in self.active(number):
            kept = min(hold.amount, left)
            left -= kept
            if kept == 0:
                # Its amount stays as it was: what it held until it ended.
                hold.state = "RELEASED"
            else:
                hold.amount = kept

    def place(self, orders: list[Hold], ends: str | None, accounts: dict[int, int], today: date) -> list[Hold]:
        """Places holds (amount 0: all that is left), ends those of a source on the same account; all or none.

        Raises Refusal, and then nothing has changed."""
        account = accounts[orders[0].item]
        gone: dict[int, str] = {}
        keys = {(order.item, order.kind) for order in orders}
        touched = {order.item for order in orders}
        for hold in self.active():
            if hold.source_id == ends and accounts[hold.item] == account:
                gone[id(hold)] = "RELEASED"
            elif hold.item in touched and hold.until_on is not None and hold.until_on < today:
                gone[id(hold)] = "EXPIRED"
            elif hold.source_id == orders[0].source_id and (hold.item, hold.kind) in keys:
                gone[id(hold)] = "RELEASED"
        placed: list[Hold] = []
        for order in orders:
            open_minor = self.items[order.item].row.open
            if open_minor == 0:
                raise Refusal("ITEM_CLEARED")
            others = [h for h in [*self.active(order.item), *placed] if h.item == order.item and id(h) not in gone]
            room = max(open_minor, 0) - sum(h.amount for h in others)
            amount = order.amount or room
            if amount <= 0 or amount > room:
                raise Refusal("HOLD_EXCEEDS_OPEN")
            placed.append(replace(order, amount=amount))
        for hold in self.holds:
            hold.state = gone.get(id(hold), hold.state)
        self.holds += placed
        return placed

    def release(self, hold_ids: set[str], source_id: str | None) -> set[str]:
        """Ends holds by id and by source; returns those that were not ended before."""
        ended = [h for h in self.active() if h.hold_id in hold_ids or h.source_id == source_id]
        for hold in ended:
            hold.state = "RELEASED"
        return {hold.hold_id for hold in ended}

    def sweep(self, today: date) -> None:
        """Ends the holds whose last day is past."""
        for hold in self.active():
            if hold.until_on is not None and hold.until_on < today:
                hold.state = "EXPIRED"
