"""Many rows of one event with their details: late, doubled and in parts."""

import psycopg
import pyarrow as pa
import pytest
from sqlalchemy import text

from kit.ids import new_id
from kit.newer import keep_newer

A, B = sorted([new_id(), new_id()])
TABLES = """
CREATE TABLE thing (tenant_id uuid, thing_id uuid, version bigint NOT NULL, name text, made_on date,
    PRIMARY KEY (tenant_id, thing_id));
CREATE TABLE piece (tenant_id uuid, piece_id uuid, thing_id uuid NOT NULL, amount_minor bigint, due_on date,
    PRIMARY KEY (tenant_id, piece_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON thing, piece TO quittance_sample_one_app;
"""


@pytest.fixture
def things(make_database, acting):
    database = make_database("sample")
    with psycopg.connect(database.settings.migration_database_url) as connection:
        connection.execute(TABLES)
        for table in ("thing", "piece"):
            connection.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
            wall = "tenant_id = current_setting('quittance.tenant')::uuid"
            connection.execute(f"CREATE POLICY wall ON {table} USING ({wall}) WITH CHECK ({wall})")
    return database


def said(*rows):
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    return pa.table({"thing_id": columns[0], "version": pa.array(columns[1], pa.int64()), "name": columns[2]})


def pieces(*rows):
    columns = list(zip(*rows, strict=True)) or [(), ()]
    return pa.table(
        {
            "piece_id": pa.array([new_id() for _ in rows], pa.string()),
            "thing_id": pa.array(columns[0], pa.string()),
            "amount_minor": pa.array(columns[1], pa.int64()),
            "due_on": pa.nulls(len(rows), pa.date32()),
        }
    )


def hear(database, rows, details, part=0):
    with database.transaction() as session:
        newer = keep_newer(session, "thing", rows, "thing_id", part)
        newer.replace("piece", details)
        return list(session.scalars(text(f"SELECT thing_id::text FROM {newer.table} ORDER BY 1")))


def known(database):
    with database.transaction() as session:
        rows = session.execute(
            text(
                "SELECT thing_id::text, version, name, (SELECT array_agg(amount_minor ORDER BY amount_minor) FROM piece p"
                " WHERE p.thing_id = t.thing_id) FROM thing t ORDER BY 1"
            )
        )
        return [tuple(row) for row in rows]


def test_only_what_is_newer_is_kept(things):
    assert hear(things, said((B, 1, "b"), (A, 2, "a")), pieces((A, 1), (A, 2), (B, 3))) == [A, B]
    assert hear(things, said((A, 2, "twice"), (B, 2, "newer")), pieces((A, 99), (B, 4), (B, 5))) == [B]
    assert hear(things, said((A, 1, "late")), pieces((A, 99))) == []
    assert known(things) == [(A, 2, "a", [1, 2]), (B, 2, "newer", [4, 5])]


def test_what_is_said_without_details_has_none_any_more(things):
    hear(things, said((A, 1, "a")), pieces((A, 1)))
    hear(things, said((A, 2, "a")), pieces())
    assert known(things) == [(A, 2, "a", None)]


def test_further_parts_add_and_wait_for_their_first(things):
    with pytest.raises(LookupError, match="before their first part"):
        hear(things, said((A, 1, "a")), pieces((A, 2)), part=1)
    hear(things, said((A, 1, "a")), pieces((A, 1)))
    details = pieces((A, 2))
    assert hear(things, said((A, 1, "a")), details, part=1) == [A]
    assert hear(things, said((A, 1, "a")), details, part=1) == [A]
    assert known(things) == [(A, 1, "a", [1, 2])]
    with pytest.raises(LookupError, match="before their first part"):
        hear(things, said((A, 2, "a")), pieces((A, 9)), part=1)
    hear(things, said((A, 3, "a")), pieces((A, 3)))
    assert hear(things, said((A, 1, "a")), pieces((A, 4)), part=2) == []
    assert known(things) == [(A, 3, "a", [3])]


def test_two_events_in_one_transaction(things):
    with things.transaction() as session:
        for version in (1, 2):
            newer = keep_newer(session, "thing", said((A, version, "a")), "thing_id")
            newer.replace("piece", pieces((A, version)))
    assert known(things) == [(A, 2, "a", [2])]


def test_a_tenant_changes_nothing_of_another(things, as_tenant):
    hear(things, said((A, 5, "mine")), pieces((A, 1)))
    with as_tenant(new_id()):
        assert hear(things, said((A, 1, "theirs")), pieces((A, 2))) == [A]
        assert known(things) == [(A, 1, "theirs", [2])]
    assert known(things) == [(A, 5, "mine", [1])]


def test_a_column_that_the_table_lacks_is_named(things):
    with pytest.raises(LookupError, match="thing has no column colour"):
        hear(things, said((A, 1, "a")).append_column("colour", pa.array(["red"])), pieces())
