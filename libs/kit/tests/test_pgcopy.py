"""Binary COPY: what goes in comes out, and what a row's bytes and the ids of a batch promise."""

import uuid
from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy import text

from kit import bulk, context, pgcopy
from kit.ids import new_id
from kit.testing import caller_of

IDS = pgcopy.new_ids(3)
COLUMNS = {
    "yes": pa.array([True, False, None]),
    "small": pa.array([-1, 32_767, None], pa.int16()),
    "middle": pa.array([-(2**31), 2**31 - 1, None], pa.int32()),
    "large": pa.array([-(2**63), 2**63 - 1, None], pa.int64()),
    "real": pa.array([0.1, float("inf"), None]),
    "day": pa.array([date(1, 1, 1), date(9999, 12, 31), None]),
    "at": pa.array([datetime(1969, 12, 31, 23, tzinfo=UTC), datetime(2100, 1, 1, 1, 1, 1, 7, UTC), None]),
    "local": pa.array([datetime(1999, 12, 31, 23), datetime(2000, 1, 1), None]),
    "text": pa.array(["", 'a"b\\N;\n\té漢🙂', None]),
    "wide": pa.array(["x" * 70_000, "", None], pa.large_string()),
    "bytes": pa.array([b"\0\xff", b"", None]),
    "word": pa.array(["INVOICE", "INVOICE", None]).dictionary_encode(),
    "nothing": pa.nulls(3),
    "id": pgcopy.uuids(IDS),
}


@pytest.fixture
def session(database):
    with context.acting_as(caller_of(new_id())), database.transaction() as session:
        yield session


def values(column: pa.Array) -> list:
    if column.type == pgcopy.UUID:
        return pgcopy.uuid_texts(pgcopy.uuid_values(column)).to_pylist()
    return column.to_pylist()


@pytest.mark.parametrize("places", [[0, 1, 2], [2], [0, 1], []])
@pytest.mark.parametrize("name", COLUMNS)
def test_every_type_arrives_as_it_was(session, name, places):
    table = pa.table({"place": pa.array(range(3), pa.int32()), name: COLUMNS[name]})
    table = table.slice(places[0], len(places)) if places else table.slice(0, 0)
    bulk.stage(session, "staged", table)
    found = [row[0] for row in session.execute(text(f'SELECT "{name}" FROM staged ORDER BY place'))]
    found = [bytes(value) if isinstance(value, memoryview) else value for value in found]
    expected = values(table[name].combine_chunks())
    assert [str(value) if isinstance(value, uuid.UUID) else value for value in found] == expected


def test_all_columns_together(session):
    bulk.stage(session, "staged", pa.table(COLUMNS))
    assert session.execute(text("SELECT count(*) FROM staged WHERE id IS NOT NULL")).scalar_one() == 3
    row = session.execute(text('SELECT "large", "text", word, day FROM staged WHERE yes')).one()
    assert tuple(row) == (-(2**63), "", "INVOICE", date(1, 1, 1))


def test_rows_have_the_same_bytes_only_if_they_are_the_same():
    rows = pa.table(
        {"a": ["x", "x", "", None, "xy", "x"], "b": ["", None, "x", "x", None, ""], "n": pa.array([1, 1, 1, 1, 1, 1])}
    )
    encoded = pgcopy.row_bytes(rows).to_pylist()
    assert encoded[0] == encoded[5]
    assert len(set(encoded)) == 5


def test_fixed_columns_come_out_as_records(session):
    bulk.stage(session, "staged", pa.table({"place": pa.array([7, 8, 9], pa.int32()), "id": COLUMNS["id"]}))
    query = "SELECT place, id, place > :limit AS is_more FROM staged ORDER BY place"
    kinds = [("place", ">i4"), ("id", "V16"), ("is_more", "u1")]
    found = bulk.copy_out_records(session, query, {"limit": 7}, kinds)
    assert found["place"].tolist() == [7, 8, 9]
    assert pgcopy.uuid_texts(found["id"]).equals(pgcopy.uuid_texts(IDS))
    assert found["is_more"].tolist() == [0, 1, 1]
    assert len(bulk.copy_out_records(session, query.replace("ORDER", "WHERE false ORDER"), {"limit": 7}, kinds)) == 0
    with pytest.raises(ValueError, match="width"):
        bulk.copy_out_records(session, "SELECT 1 AS place", {}, kinds)


def test_ids_of_a_batch_are_uuids_of_version_7_in_their_order():
    ids = pgcopy.uuid_texts(pgcopy.new_ids(70_000)).to_pylist()
    assert ids == sorted(set(ids))
    assert {(uuid.UUID(text).version, uuid.UUID(text).variant) for text in ids} == {(7, uuid.RFC_4122)}
    made_ms = uuid.UUID(ids[0]).int >> 80
    assert abs(made_ms - datetime.now(UTC).timestamp() * 1000) < 60_000
    assert len(pgcopy.new_ids(0)) == 0


def test_uuids_and_their_texts_are_the_same():
    assert [uuid.UUID(bytes=value.tobytes()) for value in IDS] == [
        uuid.UUID(text) for text in pgcopy.uuid_texts(IDS).to_pylist()
    ]
    assert np.array_equal(pgcopy.uuid_values(pgcopy.uuids(IDS).slice(1)), IDS[1:])


def test_types_without_a_binary_form_are_named():
    with pytest.raises(TypeError, match="decimal"):
        pgcopy.row_bytes(pa.table({"a": pa.array([1], pa.decimal128(5, 2))}))
