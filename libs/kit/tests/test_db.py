"""The database: the tenant wall, the outbox's numbers, answers kept for repeats, bulk rows."""

from datetime import UTC, date, datetime

import psycopg
import pyarrow as pa
import pytest
from sample.store import NoteRow
from sqlalchemy import select, text
from sqlalchemy.exc import ProgrammingError

from kit import bulk, outbox
from kit.errors import Code
from kit.idempotency import once
from kit.ids import new_id
from kit.migrations import INFRASTRUCTURE
from kit.outbox import emit
from kit.testing import refused
from quittance.common.v1.money_pb2 import Money


def test_a_tenant_sees_only_its_own_rows(database, tenant, as_tenant):
    with database.transaction() as session:
        session.add(NoteRow(note_id="n1", amount_minor=5))
    with as_tenant(new_id()), database.transaction() as session:
        assert session.scalars(select(NoteRow)).all() == []
        session.add(NoteRow(note_id="n1", amount_minor=7))  # The same key lives in both tenants.
    with database.transaction() as session:
        assert [row.amount_minor for row in session.scalars(select(NoteRow))] == [5]


def test_a_row_of_another_tenant_cannot_be_written(database):
    with pytest.raises(ProgrammingError, match="row-level security"):
        with database.transaction() as session:
            session.add(NoteRow(tenant_id=new_id(), note_id="n", amount_minor=1))


def test_no_transaction_without_a_caller(make_database):
    with pytest.raises(RuntimeError, match="nobody is acting"):
        with make_database("sample").transaction():
            pass


def test_system_transactions_see_no_business_row(database):
    with database.transaction() as session:
        session.add(NoteRow(note_id="n1", amount_minor=5))
        emit(session, Money(currency="EUR"), "n1")
    with database.system_transaction() as session:
        assert session.scalars(select(NoteRow)).all() == []
        assert session.execute(text("SELECT count(*) FROM outbox")).scalar() == 1


def test_insert_only_means_it(database):
    with database.transaction() as session:
        session.execute(
            text("INSERT INTO entries VALUES (CAST(:t AS uuid), 'a', 1)"),
            {"t": session.execute(text("SELECT current_setting('quittance.tenant')")).scalar()},
        )
    for statement in ("UPDATE entries SET amount_minor = 2", "DELETE FROM entries"):
        with pytest.raises(ProgrammingError, match="permission denied"), database.transaction() as session:
            session.execute(text(statement))
    with psycopg.connect(database.settings.migration_database_url) as owner:
        with pytest.raises(psycopg.Error, match="insert-only"):
            owner.execute("TRUNCATE entries")


def test_every_table_is_behind_the_wall(database):
    with psycopg.connect(database.settings.migration_database_url) as owner:
        rows = owner.execute(
            "SELECT relname, relrowsecurity AND relforcerowsecurity AND EXISTS"
            " (SELECT FROM pg_policy WHERE polrelid = c.oid) FROM pg_class c"
            " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        ).fetchall()
    assert {name for name, is_secured in rows if not is_secured} == {"alembic_version"}
    assert set(INFRASTRUCTURE) <= {name for name, _ in rows}


def _then_fail(_):
    raise ZeroDivisionError


def test_numbers_have_no_gap_although_a_transaction_rolled_back(database, tenant):
    with database.transaction() as session:
        emit(session, Money(currency="EUR", minor_units=1), "a")
    with pytest.raises(ZeroDivisionError), database.transaction() as session:
        _then_fail(emit(session, Money(currency="EUR", minor_units=2), "a"))
    with database.transaction() as session:
        emit(session, Money(currency="EUR", minor_units=3), "a")
        emit(session, Money(currency="EUR", minor_units=4), "a")
    with database.transaction() as session:
        assert outbox.position(session, tenant) == 3
        assert session.execute(text("SELECT number FROM outbox ORDER BY sequence")).scalars().all() == [1, 2, 3]


def test_a_slow_transaction_is_numbered_after_it_commits(database, tenant):
    """A cursor over ids would skip the slow one for ever."""
    with database.transaction() as slow:
        emit(slow, Money(currency="EUR", minor_units=1), "slow")
        with database.transaction() as quick:
            emit(quick, Money(currency="EUR", minor_units=2), "quick")
        with database.transaction() as session:
            assert outbox.position(session, tenant) == 1
    with database.transaction() as session:
        assert outbox.position(session, tenant) == 2
        rows = session.execute(text("SELECT key FROM outbox ORDER BY number")).scalars().all()
    assert rows == ["quick", "slow"]


def test_an_event_that_is_too_large_is_a_bug(database):
    with pytest.raises(ValueError, match="allowed"), database.transaction() as session:
        emit(session, Money(currency="x" * (outbox.PAYLOAD_MAX_BYTES + 1)), "a")


def do_once(database, request_id, minor):
    request, reply = Money(currency="EUR", minor_units=minor), Money()
    with database.transaction() as session, once(session, request_id, request, reply) as first:
        if first:
            session.add(NoteRow(note_id=new_id(), amount_minor=minor))
            reply.minor_units = minor * 2
    return first, reply.minor_units


def test_a_repeat_gets_the_first_answer(database):
    assert do_once(database, "r1", 5) == (True, 10)
    assert do_once(database, "r1", 5) == (False, 10)
    with database.transaction() as session:
        assert len(session.scalars(select(NoteRow)).all()) == 1


def test_the_same_id_with_other_content_is_refused(database):
    do_once(database, "r1", 5)
    with refused(Code.ALREADY_EXISTS, "REQUEST_ID_REUSED"):
        do_once(database, "r1", 6)


def test_a_failed_first_try_leaves_the_id_free(database):
    with pytest.raises(ZeroDivisionError):
        with database.transaction() as session, once(session, "r1", Money(), Money()):
            raise ZeroDivisionError
    assert do_once(database, "r1", 5) == (True, 10)


ROWS = pa.table(
    {
        "id": pa.array([1, 2, 3], pa.int32()),
        "label": ['quoted "text", with\nlines', "", None],
        "due_on": pa.array([date(2026, 1, 31), None, date(1999, 12, 31)], pa.date32()),
        "seen_at": pa.array([datetime(2026, 1, 1, 12, 30, tzinfo=UTC), None, None], pa.timestamp("us", "UTC")),
        "is_open": [True, False, None],
        "minor": pa.array([2**62, None, -1], pa.int64()),
    }
)


def test_bulk_rows_come_back_as_they_went_in(database, tenant):
    with database.transaction() as session:
        rows = ROWS.append_column("tenant_id", pa.array([tenant] * 3))
        assert bulk.copy_in_arrow(session, "everything", rows) == 3
        found = bulk.copy_out_arrow(
            session,
            "SELECT id, label, due_on, seen_at, is_open, minor FROM everything WHERE id > :least AND label IS DISTINCT"
            " FROM '100%' ORDER BY id",
            {"least": 0},
        )
    assert found.combine_chunks().equals(ROWS)
    assert bulk.from_ipc(bulk.to_ipc(found)).equals(found)


def test_bulk_copy_respects_the_wall(database, tenant, as_tenant):
    other = new_id()
    with pytest.raises(ProgrammingError, match="row-level security"), database.transaction() as session:
        bulk.copy_in_arrow(session, "everything", ROWS.append_column("tenant_id", pa.array([other] * 3)))


def test_staged_rows_can_be_merged(database):
    with database.transaction() as session:
        bulk.stage(session, "incoming", ROWS)
        assert session.execute(text("SELECT count(*), max(minor) FROM incoming")).one() == (3, 2**62)
        assert bulk.copy_out_arrow(session, "SELECT id FROM incoming WHERE false").num_rows == 0
