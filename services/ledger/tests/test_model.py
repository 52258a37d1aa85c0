"""The ledger behind its interceptors against a small pure one (reference_ledger.py), under random histories.

A step is one business event: a row of a file, a hold, a release, a sweep, a question about the past. 20,000 of them in
an ordinary run, 200,000 with QUITTANCE_LONG=1. The seed is fixed, printed, and taken from QUITTANCE_MODEL_SEED if set.
"""

import os
import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from ledger_driver import Ledger, counts, item_row, item_table
from reference_ledger import Hold, ReferenceLedger, Refusal, Row
from sqlalchemy import text

from kit import context
from kit.db import Database
from kit.errors import Code, Refused
from kit.ids import new_id
from kit.service import Runtime
from kit.testing import caller_of, open_signed
from ledger import usecases
from ledger.__main__ import DEFINITION
from ledger.store import checks, saying
from quittance.common.v1 import money_pb2
from quittance.ledger.v1 import history_service_pb2, history_service_pb2_grpc, item_pb2
from quittance.ledger.v1 import ledger_load_service_pb2 as load_pb
from quittance.ledger.v1 import ledger_service_pb2 as pb

STEPS = 200_000 if os.environ.get("QUITTANCE_LONG") == "1" else 20_000
SEED = int(os.environ.get("QUITTANCE_MODEL_SEED", "1"))
FIRST_DAY = date(2024, 1, 1)
ITEMS, ACCOUNTS, ROWS_MAX = 400, 12, 300
# Of one seed; a new one follows until there are steps enough.
EXAMPLES, RULES = 7, 25
COMPARED_EVERY = 6
HOLD_KINDS = (item_pb2.HOLD_KIND_DISPUTE, item_pb2.HOLD_KIND_PROMISE, item_pb2.HOLD_KIND_EXCLUSION)
ACCOUNT_OF = {n: n // 2 % ACCOUNTS for n in range(ITEMS)}  # Both instalments of an invoice are of one account.


def key_of(n: int) -> dict[str, Any]:
    """What names item n: every second one is the other instalment of an invoice; some are credits, some in dollars."""
    kind = "CREDIT_NOTE" if n % 7 == 0 else "PAYMENT" if n % 11 == 0 else "INVOICE"
    return {
        "account_number": f"C{ACCOUNT_OF[n]}",
        "number": f"F{n // 2}",
        "line_number": str(n % 2),
        "kind": kind,
        "currency": "USD" if n % 5 == 0 else "EUR",
        "fiscal_year": 2024,
    }


def row_of(n: int, known: Row | None, draw: random.Random, today: date) -> Row:
    """What a file says next of an item: issued, paid in part, in full or too much, dated, corrected, back again."""

    def near(day: date) -> date:
        return day + timedelta(days=draw.randint(-20, 40))

    sign = -1 if n % 7 == 0 or n % 11 == 0 else 1
    if known is None or draw.random() < 0.05:
        issue_on, initial = near(today), sign * draw.randint(1, 20_000)
    else:
        issue_on, initial = known.issue_on, known.initial
    due_on = draw.choice([None, issue_on + timedelta(days=30), near(today)]) if known is None else known.due_on
    event = draw.random()
    open_minor, settled_on = initial if known is None else known.open, None
    if event < 0.25 and known is not None:
        # As it is: with its day of settlement or, as most files, without.
        settled_on = known.settled_on if draw.random() < 0.5 else None
    elif event < 0.50:
        open_minor = int(open_minor * draw.random())
    elif event < 0.62:
        open_minor = 0
    elif event < 0.75:
        settled_on = near(today)
    elif event < 0.82:
        open_minor = initial
    elif event < 0.86:
        open_minor = -abs(initial) // 2 or -1
    elif event < 0.90:
        due_on = near(today)
    elif event < 0.94:
        issue_on = near(issue_on)
    return Row(issue_on, due_on, settled_on, initial, open_minor)


class LedgerMachine(RuleBasedStateMachine):
    """Each example is a tenant of its own; the database and the server are shared."""

    database: Any = None
    address: str = ""
    keys: Any = None
    steps = 0

    @initialize(number=st.integers(0, 2**32))
    def begin(self, number: int) -> None:
        """A new tenant with one entity and its first file."""
        self.model, self.today = ReferenceLedger(), FIRST_DAY
        self.tenant, self.known_at, self.rules_run = new_id(), {}, 0
        self.channel = open_signed(self.address, self.keys, caller_of(self.tenant))
        self.ledger = Ledger(self.database, self.channel, self.tenant)
        self.history = history_service_pb2_grpc.HistoryServiceStub(self.channel)
        self._at(self.today)
        entity = pb.CreateEntityRequest(code="FR01", name="F", country="FR", currency="EUR")
        self.ledger.call("CreateEntity", entity)
        self.ids: dict[int, str] = {}
        self.account_ids: dict[int, str] = {}
        rows = self._batch(random.Random(number), ITEMS // 2)
        assert counts(self.ledger.stream(self._table(rows), file_on=str(self.today))[0]) == self.model.load(
            rows, self.today
        )
        self._loaded()
        self._done(len(rows))

    def _at(self, day: date) -> None:
        os.environ["QUITTANCE_TODAY"] = day.isoformat()
        self.today = day

    def _done(self, steps: int) -> None:
        type(self).steps += steps
        self.rules_run += 1
        if self.rules_run % COMPARED_EVERY == 0:
            self.compare()

    # ---- loads -------------------------------------------------------------------------------------------------------

    def _batch(self, draw: random.Random, size: int) -> dict[int, Row]:
        numbers = draw.sample(range(ITEMS), size)
        known = self.model.items
        return {n: row_of(n, known[n].row if n in known else None, draw, self.today) for n in numbers}

    def _table(self, rows: dict[int, Row]) -> Any:
        said = (
            {**item_row(), **key_of(n), "issue_on": r.issue_on, "due_on": r.due_on, "settled_on": r.settled_on,
             "initial_minor": r.initial, "open_minor": r.open} for n, r in rows.items()
        )  # fmt: skip
        return item_table(*said)

    def _loaded(self) -> None:
        """Notes the instant after a load, and the ids of what it made."""
        self.known_at[self.model.loads] = datetime.now(UTC)
        if len(self.ids) < len(self.model.items):
            with context.acting_as(caller_of(self.tenant)), self.database.transaction() as session:
                query = "SELECT item_id, account_id, number, line_number FROM items"
                for row in session.execute(text(query)):
                    n = int(row.number[1:]) * 2 + int(row.line_number)
                    self.ids[n] = str(row.item_id)
                    self.account_ids[ACCOUNT_OF[n]] = str(row.account_id)

    @rule(number=st.integers(0, 2**32), size=st.integers(1, ROWS_MAX), days=st.integers(-15, 10), crash=st.booleans())
    def delta(self, number: int, size: int, days: int, crash: bool) -> None:
        """A file of changes, sometimes after a crash in the midst of it, always told twice."""
        rows = self._batch(random.Random(number), size)
        table, load_id = self._table(rows), new_id()
        header = {"load_id": load_id, "file_on": str(self.today + timedelta(days=days))}
        if crash:
            self._crash(lambda: self.ledger.stream(table, **header))
        (progress,) = self.ledger.stream(table, **header)
        assert counts(progress) == self.model.load(rows, self.today + timedelta(days=days))
        assert self.ledger.stream(table, **header) == [progress]
        self._loaded()
        self._done(size)

    @rule(number=st.integers(0, 2**32), size=st.integers(0, ROWS_MAX), days=st.integers(-15, 10), again=st.booleans())
    def stock(self, number: int, size: int, days: int, again: bool) -> None:
        """A complete file: the items it does not hold are settled, until another one brings them back."""
        rows = self._batch(random.Random(number), size)
        if again:
            # Most complete files say what the one before said.
            rows = {n: i.row for n, i in self.model.items.items() if i.row.open} | rows
        file_on, load_id = self.today + timedelta(days=days), new_id()
        header = {"load_id": load_id, "file_on": str(file_on), "mode": load_pb.LOAD_MODE_STOCK}
        tables = [self._table(rows)] if rows else []
        found = self.ledger.stream(*tables, **header)
        if rows:
            assert counts(found[0]) == self.model.load(rows, file_on)
            self._loaded()
        end = self.ledger.finish(load_id, confirm_clearing=True)
        assert end.cleared_absent == self.model.clear_absent(set(rows), file_on)
        assert self.ledger.finish(load_id, confirm_clearing=True).cleared_absent == end.cleared_absent
        self._loaded()
        self._done(len(rows) + end.cleared_absent)

    def _crash(self, call: Any) -> None:
        """The process dies after the books are written and before the commit: nothing of it remains."""
        patch = pytest.MonkeyPatch()
        for said in ("say_accounts", "say_facts"):
            patch.setattr(saying, said, _die)
        try:
            call()
        except Refused as refusal:
            assert refusal.code in (Code.INTERNAL, Code.UNKNOWN), refusal
        finally:
            patch.undo()

    # ---- holds -------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.model.items)
    @rule(number=st.integers(0, 2**32), size=st.integers(1, 8), source=st.integers(0, 5), ends=st.integers(0, 12))
    def place(self, number: int, size: int, source: int, ends: int) -> None:
        """Holds on items of one account, all or none, told twice; sometimes others end with them."""
        draw = random.Random(number)
        account = draw.choice(sorted({ACCOUNT_OF[n] for n in self.model.items}))
        items = [n for n in self.model.items if ACCOUNT_OF[n] == account]
        picked = {(draw.choice(items), draw.choice(HOLD_KINDS)) for _ in range(size)}
        orders = []
        for n, kind in sorted(picked):
            from_on = self.today + timedelta(days=draw.randint(-3, 10))
            until_on = draw.choice([None, from_on + timedelta(days=draw.randint(0, 20))])
            room = max(self.model.items[n].row.open, 1)
            amount = draw.choice([0, draw.randint(1, room), draw.randint(1, room // 3 + 1)])
            orders.append(Hold("", n, kind, f"s{source}", amount, from_on, until_on))
        request = pb.PlaceHoldsRequest(
            request_id=new_id(), account_id=self.account_ids[account], source="dispute", source_id=f"s{source}",
            holds=[self._order(order) for order in orders],
            ends=[pb.HoldSource(source="dispute", source_id=f"s{ends}")] if ends <= 5 else [],
        )  # fmt: skip
        try:
            placed = self.model.place(orders, f"s{ends}" if ends <= 5 else None, ACCOUNT_OF, self.today)
        except Refusal as refusal:
            with pytest.raises(Refused) as refused:
                self.ledger.call("PlaceHolds", request)
            assert refused.value.reason == str(refusal)
        else:
            reply = self.ledger.call("PlaceHolds", request)
            assert self.ledger.call("PlaceHolds", request) == reply
            assert [hold.amount.minor_units for hold in reply.holds] == [hold.amount for hold in placed]
            for hold, answered in zip(placed, reply.holds, strict=True):
                hold.hold_id = answered.hold_id
        self._done(len(orders))

    def _order(self, order: Hold) -> pb.HoldOrder:
        n = order.item
        amount = money_pb2.Money(currency=key_of(n)["currency"], minor_units=order.amount) if order.amount else None
        return pb.HoldOrder(
            item_id=self.ids[n], kind=order.kind, amount=amount, reason="r", from_on=str(order.from_on),
            until_on=str(order.until_on or ""),
        )  # fmt: skip

    @precondition(lambda self: self.model.holds)
    @rule(number=st.integers(0, 2**32), size=st.integers(1, 5), source=st.integers(0, 15))
    def release(self, number: int, size: int, source: int) -> None:
        """Holds end by id and by source; those that are ended already are passed over."""
        ids = {hold.hold_id for hold in random.Random(number).choices(self.model.holds, k=size)}
        sources = [pb.HoldSource(source="dispute", source_id=f"s{source}")] if source <= 5 else []
        request = pb.ReleaseHoldsRequest(request_id=new_id(), hold_ids=sorted(ids), sources=sources)
        reply = self.ledger.call("ReleaseHolds", request)
        ended = self.model.release(ids, f"s{source}" if source <= 5 else None)
        assert {hold.hold_id for hold in reply.holds} == ended
        assert self.ledger.call("ReleaseHolds", request) == reply
        self._done(len(ended) + 1)

    @rule(days=st.integers(1, 12))
    def sweep(self, days: int) -> None:
        """Days pass; the hourly sweep ends what has run out."""
        self._at(self.today + timedelta(days=days))
        with context.acting_as(context.service_caller(self.tenant, "ledger")):
            while self.database.retrying(lambda session: usecases.sweep_holds(session, self.today)):
                continue
        self.model.sweep(self.today)
        self._done(1)

    # ---- questions ---------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.model.items)
    @rule(number=st.integers(0, 2**32), days=st.integers(-60, 60))
    def as_of(self, number: int, days: int) -> None:
        """What was open on a day, as known after a load: of one account item by item, of the entity in sums."""
        draw, day = random.Random(number), self.today + timedelta(days=days)
        load = draw.choice([None, *self.known_at])
        times = {"as_of": str(day), "known_at": self.known_at[load].isoformat() if load else ""}
        expected = {n: minor for n, i in self.model.items.items() if (minor := i.open_as_of(day, load))}
        account = draw.choice(sorted(self.account_ids))
        request = history_service_pb2.GetAccountAsOfRequest(account_id=self.account_ids[account], **times)
        reply = self.history.GetAccountAsOf(request, timeout=30)
        of_account = {self.ids[n]: minor for n, minor in expected.items() if ACCOUNT_OF[n] == account}
        assert {item.item_id: item.open.minor_units for item in reply.items} == of_account
        reply = self.history.GetEntityAsOf(history_service_pb2.GetEntityAsOfRequest(entity="FR01", **times), timeout=30)
        sums: dict[str, list[int]] = {}
        for n, minor in expected.items():
            held = sums.setdefault(key_of(n)["currency"], [0, 0, 0])
            held[:] = [held[0] + minor, held[1] + min(minor, 0), held[2] + 1]
        found = {b.currency: [b.open.minor_units, b.credits.minor_units, b.item_count] for b in reply.balances}
        assert found == sums
        assert reply.account_count == len({ACCOUNT_OF[n] for n in expected})
        self._done(2)

    def compare(self) -> None:
        """Everything the books say, at once."""
        with context.acting_as(caller_of(self.tenant)), self.database.transaction() as session:
            query = (
                "SELECT number, line_number, open_minor, initial_minor, issue_on, due_on, settled_on, change_count"
                " FROM items"
            )
            items = {
                int(row.number[1:]) * 2 + int(row.line_number): (
                    Row(row.issue_on, row.due_on, row.settled_on, row.initial_minor, row.open_minor), row.change_count
                )
                for row in session.execute(text(query))
            }  # fmt: skip
            assert items == {n: (item.row, len(item.entries)) for n, item in self.model.items.items()}
            rows = session.execute(text("SELECT hold_id, state, amount_minor FROM holds"))
            holds = {str(row.hold_id): (row.state, row.amount_minor) for row in rows}
            assert holds == {hold.hold_id: (hold.state, hold.amount) for hold in self.model.holds}

    def teardown(self) -> None:
        """At the end of each example the books are also consistent in themselves."""
        if hasattr(self, "ledger"):
            self.compare()
            with context.acting_as(caller_of(self.tenant)), self.database.transaction() as session:
                assert checks.wrong(session) == {}
            for item in self.model.items.values():
                if item.clear_on is not None:
                    assert item.open_as_of(item.clear_on + timedelta(days=400)) == 0
            self.channel.close()


def _die(*_: Any, **__: Any) -> None:
    raise RuntimeError("killed")


@pytest.fixture
def server(shared_database: Database, keys: Any) -> Iterator[Any]:
    """The ledger's server behind its interceptors; each example calls it for a tenant of its own."""
    server_settings = shared_database.settings.model_copy(update={"jwks_url": keys.jwks_url, "grpc_port": 0})
    server = DEFINITION.server(Runtime(server_settings, shared_database))
    server.start()
    yield server
    server.stop(0)


def test_the_ledger_does_what_the_reference_does(shared_database, server, keys, monkeypatch):
    monkeypatch.setenv("QUITTANCE_TODAY", FIRST_DAY.isoformat())
    LedgerMachine.database, LedgerMachine.keys, LedgerMachine.steps = shared_database, keys, 0
    LedgerMachine.address = server.address
    options = settings(
        max_examples=EXAMPLES, stateful_step_count=RULES, deadline=None, database=None, print_blob=True,
        suppress_health_check=list(HealthCheck), phases=(Phase.generate, Phase.shrink),
    )  # fmt: skip
    for number in count(SEED):
        print(f"QUITTANCE_MODEL_SEED={number}, after {LedgerMachine.steps} steps")
        run_state_machine_as_test(seed(number)(LedgerMachine), settings=options)
        if LedgerMachine.steps >= STEPS:
            break
    print(f"{LedgerMachine.steps} steps")
