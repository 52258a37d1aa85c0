"""The audit chain on a real PostgreSQL: what is sealed, and that every way to falsify it is named."""

import hashlib
import json
import threading
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_driver import TODAY, Ledger, hold, item_row, item_table, owner, seal_all
from sqlalchemy import text

from kit import context, files
from kit.errors import Code
from kit.ids import new_id
from kit.testing import caller_of, refused
from ledger import command
from ledger.__main__ import DEFINITION
from ledger.domain import audit as rules
from ledger.store import audit as store
from ledger.usecases import audit
from quittance.ledger.v1 import audit_service_pb2 as audit_pb
from quittance.ledger.v1 import audit_service_pb2_grpc as audit_grpc
from quittance.ledger.v1 import history_service_pb2 as history_pb
from quittance.ledger.v1 import history_service_pb2_grpc as history_grpc
from quittance.ledger.v1 import ledger_service_pb2 as pb

# ---- rules -----------------------------------------------------------------------------------------------------------

CHANGES = rules.VERSIONS[1][1]


def test_the_first_version_is_what_it_was_when_it_was_released():
    """Blocks of customers were sealed with it: this hash changes only by mistake."""
    row = {
        "item_id": "00000000-0000-7000-8000-000000000001", "sequence": 2, "account_id": "00000000-0000-7000-8000-000000000002",
        "cause": "PAYMENT", "delta_minor": -1050, "value_on": date(2024, 2, 29), "import_id": None,
        "recorded_at": datetime(2024, 3, 1, 12, 0, 0, 1, tzinfo=UTC),
    }  # fmt: skip
    encoded = rules.encode(1, CHANGES, row)
    assert encoded[:4] == b"\x00\x00\x01\x02"
    assert encoded.endswith(b"\xff\xff\xff\xff")
    assert rules.leaf(1, CHANGES, row).hex() == "fd14edabc9366cf1835ff8c3770017a94a97e7073b72f6a09940744d0aebd72c"
    block = rules.Block(1, 1, 0, 800, 1, rules.leaf(1, CHANGES, row), rules.GENESIS, datetime(2024, 3, 1, tzinfo=UTC))
    assert (
        block.hash("00000000-0000-7000-8000-00000000000a").hex()
        == "5259d5a9e30d4105b54ae1a620e3396886bab1b6d536c5a5cd58c3ee1fc058f4"
    )


@given(st.lists(st.one_of(st.none(), st.text(max_size=5)), min_size=2, max_size=2, unique_by=lambda x: x))
def test_two_facts_never_have_one_encoding(values):
    table = rules.SealedTable(9, "t", ("a",), (("a", "text?"), ("b", "text?")))
    rows = [{"a": values[0], "b": values[1]}, {"a": values[1], "b": values[0]}]
    assert rules.encode(1, table, rows[0]) != rules.encode(1, table, rows[1])


@given(st.integers(1, 2000))
def test_a_root_depends_on_every_node_and_its_place(count):
    nodes = [hashlib.sha256(str(n).encode()).digest() for n in range(count)]
    root = rules.merkle_root(nodes)
    assert rules.merkle_root([*nodes[:-1], rules.GENESIS]) != root
    if count > 1:
        assert rules.merkle_root(nodes[:-1]) != root
        assert rules.merkle_root([nodes[1], nodes[0], *nodes[2:]]) != root


# ---- on the database -------------------------------------------------------------------------------------------------


@pytest.fixture
def books(shared_database, grpc_in_process, tenant):
    """A ledger with 300 items, twenty of them paid in part, all sealed; the test acts for its tenant.

    Not the common fixture, which asks at the end whether the books are consistent: here they are falsified.
    """
    ledger = Ledger(shared_database, grpc_in_process(DEFINITION, shared_database), tenant)
    ledger.call("CreateEntity", pb.CreateEntityRequest(code="FR01", name="Fournier SA", country="FR", currency="EUR"))
    rows = [item_row(number=f"F{n}", account_number=f"{n % 7}") for n in range(300)]
    ledger.load(*rows)
    ledger.load(*[{**row, "open_minor": 4_000} for row in rows[:20]])
    with context.acting_as(caller_of(ledger.tenant)):
        seal_all(ledger)
        yield ledger


def verified(ledger: Any, **options: Any) -> audit.Verified:
    return audit.verify(ledger.database, **options)


def test_the_database_hashes_as_the_rules_say(books):
    audit_note(books)
    blocks = [*seal_all(books)]
    assert blocks
    with books.database.transaction() as session:
        all_blocks = [store.block_of(row) for row in store.list_blocks(session, store.Page())[0]]
        for block in all_blocks:
            nodes = []
            for table in rules.VERSIONS[1]:
                columns = ", ".join(f"{store.EXPRESSIONS.get(name, name)} AS {name}" for name, _ in table.fields)
                query = f"SELECT {columns} FROM {table.table} WHERE audit_xid >= :a AND audit_xid < :b"
                rows = session.execute(text(query), {"a": block.from_xid, "b": block.to_xid}).all()
                rows = sorted((row._asdict() for row in rows), key=lambda row, t=table: rules.key_of(t, row))
                leaves = [rules.leaf(1, table, row) for row in rows]
                nodes += [rules.node(b"".join(leaves[at : at + 256])) for at in range(0, len(leaves), 256)]
            assert rules.merkle_root(nodes) == block.merkle_root
    assert sum(block.row_count for block in all_blocks) == verified(books).rows


def audit_note(books: Any) -> None:
    with books.database.transaction() as session:
        audit.note(session, "test.act", "account", new_id(), None, {"name": "Zoë", "on": TODAY}, entity_code="FR01")


def test_what_nobody_touched_is_well(books):
    found = verified(books)
    assert found.finding is None
    assert found.blocks >= 1
    assert found.rows >= 320


FALSIFIED = {
    "a changed amount": ("item_changes", "UPDATE item_changes SET delta_minor = delta_minor - 1 WHERE {key}", "CHANGED"),
    "a changed day": ("item_changes", "UPDATE item_changes SET value_on = value_on + 1 WHERE {key}", "CHANGED"),
    "a changed instant": ("item_changes", "UPDATE item_changes SET recorded_at = now() WHERE {key}", "CHANGED"),
    "a deleted change": ("item_changes", "DELETE FROM item_changes WHERE {key}", "MISSING"),
    "a change moved to another transaction": ("item_changes", "UPDATE item_changes SET audit_xid = 9999999 WHERE {key}", "CHANGED"),
    "an item issued for less": ("items", "UPDATE items SET issued_minor = issued_minor - 1 WHERE {key}", "CHANGED"),
    "a deleted item": ("items", "DELETE FROM items WHERE {key}", "MISSING"),
    "an item of another account": ("items", "UPDATE items SET account_id = gen_random_uuid() WHERE {key}", "CHANGED"),
    "an entry by somebody else": ("audit_entries", "UPDATE audit_entries SET actor = 'x@y.z' WHERE {key}", "CHANGED"),
    "a deleted entry": ("audit_entries", "DELETE FROM audit_entries WHERE {key}", "MISSING"),
    "a silenced reason": ("hold_changes", "UPDATE hold_changes SET reason = '' WHERE {key}", "CHANGED"),
}  # fmt: skip


@pytest.mark.parametrize("how", FALSIFIED)
def test_a_falsified_row_is_named(books, how):
    table, statement, what = FALSIFIED[how]
    audit_note(books)
    hold(books, 100)
    seal_all(books)
    sealed = next(each for each in rules.VERSIONS[1] if each.table == table)
    with owner(books) as connection:
        columns = ", ".join(sealed.key)
        where = f"tenant_id = '{books.tenant}'"
        query = f"SELECT {columns} FROM {table} WHERE {where} ORDER BY {columns} OFFSET %s LIMIT 1"
        count = connection.execute(f"SELECT count(*) FROM {table} WHERE {where}").fetchone()[0]
        row = connection.execute(query, [count // 2]).fetchone()
        key = " AND ".join([where, *(f"{column} = '{value}'" for column, value in zip(sealed.key, row, strict=True))])
        assert connection.execute(statement.format(key=key)).rowcount == 1
    finding = verified(books).finding
    assert finding is not None
    assert (finding.table, finding.what) == (table, what)
    assert finding.key == ", ".join(f"{column}={value}" for column, value in zip(sealed.key, row, strict=True))


def test_an_added_row_is_named(books):
    item_id, account_id = new_id(), new_id()
    with owner(books) as connection:
        connection.execute(
            "INSERT INTO item_changes (tenant_id, item_id, sequence, account_id, cause, delta_minor, value_on, audit_xid)"
            " VALUES (%s, %s, 3, %s, 'PAYMENT', -5, '2024-01-01', 900)",
            [books.tenant, item_id, account_id],
        )
    finding = verified(books).finding
    assert (finding.table, finding.key, finding.what) == ("item_changes", f"item_id={item_id}, sequence=3", "ADDED")
    with owner(books) as connection:
        connection.execute("DELETE FROM item_changes WHERE item_id = %s", [item_id])


def test_the_first_bad_row_is_named_when_many_are_bad(books):
    with owner(books) as connection:
        rows = connection.execute(
            "UPDATE item_changes SET delta_minor = delta_minor + 7 WHERE tenant_id = %s RETURNING item_id, sequence",
            [books.tenant],
        ).fetchall()
    first = min(rows)
    assert verified(books).finding.key == f"item_id={first[0]}, sequence={first[1]}"


@pytest.mark.parametrize("column", ["merkle_root", "previous_hash", "to_xid", "row_count", "sealed_at", "version"])
def test_a_rewritten_block_is_named(books, column):
    changed = {"merkle_root": "sha256('x')", "previous_hash": "sha256('x')", "to_xid": "to_xid + 1", "version": "2",
               "row_count": "row_count + 1", "sealed_at": "now()"}[column]  # fmt: skip
    with owner(books) as connection:
        connection.execute(
            f"UPDATE audit_blocks SET {column} = {changed} WHERE tenant_id = %s AND number = 1", [books.tenant]
        )
    assert verified(books).finding == rules.Finding(1, "audit_blocks", "number=1", "CHANGED")


def test_a_removed_block_and_changed_leaves_are_named(books):
    audit_note(books)
    seal_all(books)
    with owner(books) as connection:
        connection.execute(
            "UPDATE audit_leaves SET leaves = sha256('x') WHERE tenant_id = %s AND number = 1 AND object = 1 AND part = 1",
            [books.tenant],
        )
    assert verified(books).finding == rules.Finding(1, "audit_leaves", "number=1", "CHANGED")
    with owner(books) as connection:
        connection.execute("DELETE FROM audit_blocks WHERE tenant_id = %s AND number = 1", [books.tenant])
    assert verified(books).finding == rules.Finding(1, "audit_blocks", "number=1", "MISSING")


def test_a_commit_that_comes_late_is_in_a_later_block(books):
    """A transaction that began first and commits last: sealing waits for it rather than pass it over."""
    begun, go, late = threading.Event(), threading.Event(), new_id()

    def slow() -> None:
        with context.acting_as(caller_of(books.tenant)), books.database.transaction() as session:
            audit.note(session, "test.late", "account", late, None, {"n": 1})
            begun.set()
            assert go.wait(30)

    thread = threading.Thread(target=slow)
    thread.start()
    assert begun.wait(30)
    audit_note(books)
    with books.database.transaction() as session:
        before = audit.seal_block(session)
    assert before is None or verified(books).finding is None
    go.set()
    thread.join()
    after = seal_all(books)
    found = verified(books)
    assert found.finding is None
    with books.database.transaction() as session:
        query = "SELECT audit_xid FROM audit_entries WHERE object_id = :id"
        xid = session.execute(text(query), {"id": late}).scalar_one()
        everything = session.execute(text("SELECT (SELECT count(*) FROM items) + (SELECT count(*) FROM item_changes)"
            " + (SELECT count(*) FROM hold_changes) + (SELECT count(*) FROM audit_entries)")).scalar_one()  # fmt: skip
    assert any(block.from_xid <= xid < block.to_xid for block in after)
    assert found.rows == everything


def test_two_builders_at_once_seal_everything_once(ledger):
    with context.acting_as(caller_of(ledger.tenant)):
        for n in range(12):
            ledger.load(*[item_row(number=f"F{n}-{m}") for m in range(10)])
        errors: list[BaseException] = []

        def build() -> None:
            try:
                with context.acting_as(caller_of(ledger.tenant)):
                    seal_all(ledger, most_rows=7)
            except BaseException as error:  # noqa: BLE001 - told by the test
                errors.append(error)

        threads = [threading.Thread(target=build) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        found = verified(ledger)
        assert found.finding is None
        assert found.blocks >= 12
        assert found.rows == 120 + entries(ledger)


def entries(ledger: Any) -> int:
    with ledger.database.transaction() as session:
        return session.execute(text("SELECT count(*) FROM audit_entries")).scalar_one()


def test_a_builder_that_dies_in_between_leaves_nothing_behind(books):
    audit_note(books)
    before = verified(books)

    class Killed(Exception):
        pass

    with pytest.raises(Killed), books.database.transaction() as session:
        # The blocks of other tests' transactions may keep the note waiting; the end is the same.
        audit.seal_block(session)
        raise Killed
    assert verified(books) == before
    seal_all(books)
    found = verified(books)
    assert found.finding is None
    assert found.rows == before.rows + 1


def test_blocks_are_bounded_and_never_split_a_transaction(ledger):
    with context.acting_as(caller_of(ledger.tenant)):
        for n in range(6):
            ledger.load(*[item_row(number=f"F{n}-{m}") for m in range(40)])
        blocks = seal_all(ledger, most_rows=90)
        # A load is a transaction of 40 facts: two of them, with an entry, fit into 90.
        assert all(block.row_count <= 90 for block in blocks)
        assert len(blocks) >= 3
        ledger.load(*[item_row(number=f"G{m}") for m in range(200)])
        big = seal_all(ledger, most_rows=90)
        assert max(block.row_count for block in big) >= 200
        assert verified(ledger).finding is None


def test_an_old_block_is_verified_with_its_own_version(books, monkeypatch):
    # The next version seals the same tables with one more field of the items.
    second = tuple(
        rules.SealedTable(
            t.code, t.table, t.key, (*t.fields, ("fiscal_year", "int4")) if t.table == "items" else t.fields
        )
        for t in rules.VERSIONS[1]
    )
    monkeypatch.setitem(rules.VERSIONS, 2, second)
    monkeypatch.setattr(rules, "CURRENT_VERSION", 2)
    books.load(item_row(number="NEW"))
    blocks = seal_all(books)
    assert {block.version for block in blocks} == {2}
    assert verified(books).finding is None
    with owner(books) as connection:
        # Sealed by the second version only.
        connection.execute("UPDATE items SET fiscal_year = 1999 WHERE tenant_id = %s AND number = 'F1'", [books.tenant])
    assert verified(books).finding is None
    with owner(books) as connection:
        connection.execute(
            "UPDATE items SET fiscal_year = 1999 WHERE tenant_id = %s AND number = 'NEW'", [books.tenant]
        )
    finding = verified(books).finding
    assert (finding.table, finding.what, finding.block) == ("items", "CHANGED", blocks[0].number)


def test_the_roots_of_a_day_are_kept_outside_and_betray_a_rewritten_chain(books):
    store_ = files.store(books.database.settings)
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    assert audit.export_roots(books.database, store_, tomorrow - timedelta(days=1)) == []
    (key,) = audit.export_roots(books.database, store_, tomorrow)
    assert audit.export_roots(books.database, store_, tomorrow) == []
    with store_.get(key) as stream:
        roots = json.load(stream)
    found = verified(books)
    assert (roots["hash"], roots["blocks"][-1]["number"]) == (found.last_hash.hex(), found.last_number)
    assert roots["previousHash"] == rules.GENESIS.hex()
    assert audit.verify_roots(books.database, store_, tomorrow) is None
    # Whoever owns the tables removes the chain and seals falsified facts anew: nothing inside betrays him.
    with owner(books) as connection:
        for table in ("audit_blocks", "audit_leaves", "audit_heads"):
            connection.execute(f"DELETE FROM {table} WHERE tenant_id = %s", [books.tenant])
        connection.execute("UPDATE item_changes SET delta_minor = -1 WHERE tenant_id = %s", [books.tenant])
    seal_all(books)
    assert verified(books).finding is None
    finding = audit.verify_roots(books.database, store_, tomorrow)
    assert finding == rules.Finding(1, "audit_blocks", "number=1", "CHANGED")
    with owner(books) as connection:
        connection.execute("DELETE FROM audit_blocks WHERE tenant_id = %s", [books.tenant])
    finding = audit.verify_roots(books.database, store_, tomorrow)
    assert finding == rules.Finding(1, "audit_blocks", "number=1", "MISSING")


# ---- what people see -------------------------------------------------------------------------------------------------


@pytest.fixture
def audits(books, grpc_in_process):
    """AuditService for a person with all permissions."""
    return audit_grpc.AuditServiceStub(grpc_in_process(DEFINITION, books.database))


def test_every_write_of_a_person_is_an_entry(books, audits):
    account = books.accounts()[0]
    books.call("UpdateAccount", pb.UpdateAccountRequest(account_id=account.account_id, collector="a@b.c"))
    books.call("UpdateAccount", pb.UpdateAccountRequest(account_id=account.account_id, collector="a@b.c"))
    contact = books.call("CreateContact", pb.CreateContactRequest(account_id=account.account_id, name="Ana")).contact
    books.call("MarkContact", pb.MarkContactRequest(contact_id=contact.contact_id, valid=False, reason="left"))
    hold(books, 100)
    load_id = new_id()
    books.stream(item_table(item_row(number="Z1"), item_row(number="Z2")), load_id=load_id)
    books.finish(load_id)
    books.finish(load_id)
    found = audits.ListAuditEntries(audit_pb.ListAuditEntriesRequest(order_by="recorded_at"), timeout=30)
    whats = [entry.what for entry in found.entries]
    assert whats == ["entity.create", "account.update", "contact.create", "contact.mark", "holds.place", "load.finish"]
    assert found.total_size == 6
    assert {entry.actor for entry in found.entries} == {"user:test"}
    assert {entry.origin for entry in found.entries} == {audit_pb.AUDIT_ORIGIN_UI}
    update = found.entries[1]
    assert (json.loads(update.before), json.loads(update.after)) == ({"collector": ""}, {"collector": "a@b.c"})
    assert (update.object_kind, update.object_id, update.entity_code) == ("account", account.account_id, "FR01")
    load = json.loads(found.entries[-1].after)
    assert load["rows"]["ITEMS"]["created"] == 2
    request = audit_pb.ListAuditEntriesRequest(filter=f'object_id="{contact.contact_id}" AND actor="user:test"')
    assert [e.what for e in audits.ListAuditEntries(request, timeout=30).entries] == ["contact.mark", "contact.create"]


def test_entries_are_seen_by_those_who_may(books, audits, grpc_in_process):
    audit_note(books)
    for entities, count in [({"FR01"}, 2), ({"DE01"}, 0)]:
        caller = caller_of(books.tenant, entities=entities)
        stub = audit_grpc.AuditServiceStub(grpc_in_process(DEFINITION, books.database, caller))
        assert stub.ListAuditEntries(audit_pb.ListAuditEntriesRequest(), timeout=30).total_size == count
    stub = audit_grpc.AuditServiceStub(grpc_in_process(DEFINITION, books.database, caller_of(new_id())))
    assert stub.ListAuditEntries(audit_pb.ListAuditEntriesRequest(), timeout=30).total_size == 0
    stub = audit_grpc.AuditServiceStub(
        grpc_in_process(DEFINITION, books.database, caller_of(books.tenant, "items:read"))
    )
    for method, request in [("ListAuditEntries", audit_pb.ListAuditEntriesRequest()),
                            ("ListAuditBlocks", audit_pb.ListAuditBlocksRequest()),
                            ("VerifyAudit", audit_pb.VerifyAuditRequest())]:  # fmt: skip
        with refused(Code.PERMISSION_DENIED, "PERMISSION_MISSING"):
            getattr(stub, method)(request, timeout=30)


@pytest.mark.parametrize(
    "caller, origin",
    [
        (caller_of("t", subject="a@b.c"), "UI"),
        (caller_of("t", subject="api-key:1"), "API"),
        (context.service_caller("t", "import"), "IMPORT"),
        (context.service_caller("t", "scenario"), "AUTOMATION"),
        (context.Caller("t", "service:dispute", "dispute", acting_for="a@b.c"), "SERVICE"),
    ],
)
def test_an_entry_says_where_an_act_came_from(caller, origin):
    assert audit.origin_of(caller) == origin


def test_blocks_are_listed_and_verified_over_rpc(books, audits):
    for _ in range(2):
        audit_note(books)
        seal_all(books)
    blocks = audits.ListAuditBlocks(audit_pb.ListAuditBlocksRequest(), timeout=30)
    numbers = [block.number for block in blocks.blocks]
    assert numbers == list(range(blocks.total_size, 0, -1))
    assert blocks.blocks[0].previous_hash == blocks.blocks[1].block_hash
    first = audits.VerifyAudit(audit_pb.VerifyAuditRequest(block_count=1), timeout=30)
    assert (first.verified_blocks, first.last_block, first.next_block) == (1, 1, 2)
    rest = audits.VerifyAudit(audit_pb.VerifyAuditRequest(from_block=2), timeout=30)
    assert (rest.last_block, rest.next_block, rest.last_hash) == (numbers[0], 0, blocks.blocks[0].block_hash)
    assert not rest.HasField("finding")
    with owner(books) as connection:
        connection.execute("UPDATE audit_entries SET what = 'x' WHERE tenant_id = %s", [books.tenant])
    found = audits.VerifyAudit(audit_pb.VerifyAuditRequest(), timeout=30)
    assert (found.finding.table, found.finding.what, found.next_block) == ("audit_entries", "CHANGED", 0)
    with refused(Code.NOT_FOUND, "AUDIT_BLOCK_UNKNOWN"):
        audits.VerifyAudit(audit_pb.VerifyAuditRequest(from_block=1000), timeout=30)


def test_the_command_says_what_is_wrong_and_exits_with_1(books, capsys):
    arguments = ["--tenant", books.tenant]
    assert command.run(books.database, ["verify", *arguments]) == 0
    assert "rows are well" in capsys.readouterr().out
    assert command.run(books.database, ["roots", *arguments]) == 0
    assert json.loads(capsys.readouterr().out)["blocks"][0]["number"] == 1
    with owner(books) as connection:
        (item_id,) = connection.execute(
            "UPDATE items SET issued_minor = 1 WHERE tenant_id = %s AND number = 'F5' RETURNING item_id", [books.tenant]
        ).fetchone()
    assert command.run(books.database, ["verify", *arguments]) == 1
    assert f"row of items with item_id={item_id} is changed" in capsys.readouterr().out
    audit_note(books)
    seal_all(books)
    with books.database.transaction() as session:
        number = store.last_block(session)[0].number
    # Who believes the blocks before does not look at them.
    assert command.run(books.database, ["verify", *arguments, "--from-block", str(number)]) == 0


def test_the_past_is_answered_on_both_axes(ledger, grpc_in_process):
    history = history_grpc.HistoryServiceStub(grpc_in_process(DEFINITION, ledger.database))
    ledger.load(item_row(), item_row(number="F2", currency="USD"))
    before = datetime.now(UTC)
    ledger.load(item_row(open_minor=4_000), file_on="2024-05-10")
    account_id = ledger.accounts()[0].account_id

    def asked(**times: str) -> dict[str, int]:
        request = history_pb.GetAccountAsOfRequest(account_id=account_id, **times)
        return {b.currency: b.open.minor_units for b in history.GetAccountAsOf(request, timeout=30).balances}

    assert asked(as_of="2024-03-31") == {}
    assert asked(as_of="2024-05-09") == {"EUR": 10_000, "USD": 10_000}
    assert asked(as_of="2024-05-10") == asked() == {"EUR": 4_000, "USD": 10_000}
    assert asked(as_of="2024-05-10", known_at=before.isoformat()) == {"EUR": 10_000, "USD": 10_000}
    assert asked(as_of="2024-05-10", known_at="2024-01-01T00:00:00Z") == {}
    for known_at in ("2024-01-01", "yesterday"):
        with refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS"):
            asked(known_at=known_at)
    with refused(Code.NOT_FOUND, "ACCOUNT_UNKNOWN"):
        history.GetAccountAsOf(history_pb.GetAccountAsOfRequest(account_id=new_id()), timeout=30)
    with refused(Code.NOT_FOUND, "ENTITY_UNKNOWN"):
        history.GetEntityAsOf(history_pb.GetEntityAsOfRequest(entity="XX"), timeout=30)
