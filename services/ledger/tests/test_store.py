"""What the database itself guarantees, and the books under random loads and real files."""

from datetime import date, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_driver import TODAY, counts, item_row, item_table
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from kit import bulk, context
from kit.ids import new_id
from kit.testing import caller_of, shared_data
from ledger import usecases
from ledger.store import checks
from ledger.store.tables import Base


def test_the_tables_are_those_of_the_migrations(shared_database):
    engine = sa.create_engine(
        shared_database.settings.migration_database_url.replace("postgresql://", "postgresql+psycopg://")
    )
    found = sa.inspect(engine)
    for table in Base.metadata.tables.values():
        columns = {column["name"]: column for column in found.get_columns(table.name)}
        assert set(columns) == {column.name for column in table.columns}, table.name
        for column in table.columns:
            assert columns[column.name]["nullable"] == column.nullable, f"{table.name}.{column.name}"
            wanted = column.type.compile(engine.dialect)
            assert columns[column.name]["type"].compile(engine.dialect) == wanted, f"{table.name}.{column.name}"
        assert found.get_pk_constraint(table.name)["constrained_columns"][0] == "tenant_id"
    engine.dispose()


def test_every_table_is_behind_the_wall(ledger):
    ledger.load(item_row())
    with context.acting_as(caller_of(new_id())), ledger.database.transaction() as session:
        for table in Base.metadata.tables:
            assert session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 0, table
    with context.acting_as(caller_of(new_id())), ledger.database.transaction() as session, pytest.raises(DBAPIError):
        session.execute(
            text(
                "INSERT INTO account_names (tenant_id, account_id, name, item_count)"
                " VALUES (:other, gen_random_uuid(), 'x', 0)"
            ),
            {"other": ledger.tenant},
        )


@pytest.mark.parametrize("statement", ["UPDATE {} SET recorded_at = now()", "DELETE FROM {}", "TRUNCATE {}"])
@pytest.mark.parametrize("table", ["item_changes", "hold_changes"])
def test_history_cannot_be_rewritten(ledger, table, statement):
    ledger.load(item_row(open_minor=1))
    with context.acting_as(caller_of(ledger.tenant)), ledger.database.transaction() as session:
        with pytest.raises(DBAPIError, match="permission denied"):
            session.execute(text(statement.format(table)))
        session.rollback()
    owner = sa.create_engine(
        ledger.database.settings.migration_database_url.replace("postgresql://", "postgresql+psycopg://")
    )
    with owner.connect() as connection:
        # Even the owner, who may switch the wall off for himself, is stopped by the trigger.
        connection.execute(text(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY"))
        if table == "hold_changes":
            values = "gen_random_uuid(), gen_random_uuid(), 1, 'PLACED', 1, '', 'x'"
            connection.execute(text(f"INSERT INTO hold_changes VALUES ({values})"))
        with pytest.raises(DBAPIError, match="insert-only"):
            connection.execute(text(statement.format(table)))
    owner.dispose()


days = st.integers(0, 60).map(lambda n: date(2024, 4, 1) + timedelta(n))
amounts = st.integers(0, 20_000)
rows = st.fixed_dictionaries(
    {
        "issue_on": st.one_of(st.just(date(2024, 4, 1)), days),
        "settled_on": st.one_of(st.none(), st.none(), days),
        "initial_minor": st.one_of(st.just(10_000), amounts),
        "open_minor": st.one_of(st.just(10_000), st.just(0), amounts),
    }
)
steps = st.lists(st.tuples(days, st.sampled_from(["LOAD", "LOAD", "LOAD", "ABSENT"]), rows), min_size=1, max_size=6)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_any_sequence_of_loads_leaves_a_true_history(shared_database, steps):
    """After every load: what the row says is open, the history adds up to it, a settled item is closed from its day on,
    and the same load again changes nothing."""
    with context.acting_as(caller_of(new_id())):
        with shared_database.transaction() as session:
            usecases.create_entity(session, code="E", name="E", country="FR", currency="EUR", time_zone="", language="")

        def load(mode, file_on, *loaded):
            header = usecases.LoadHeader(new_id(), "E", mode, "", file_on, plan_only=False)
            with shared_database.transaction() as session:
                data = bulk.to_ipc(item_table(*loaded))
                chunk = usecases.load_chunk(session, header, "ITEMS", 0, data, TODAY) if loaded else None
                if chunk is None:
                    usecases.open_load(session, header, TODAY)
                usecases.finish_load(session, header.load_id, confirm_clearing=True, plan_only=False, today=TODAY)
            return chunk

        row = None
        for file_on, what, changes in steps:
            if what == "ABSENT":
                load("STOCK", file_on)
                expected_minor = 0
            else:
                row = item_row(fiscal_year=2024, **changes)
                load("DELTA", file_on, row)
                expected_minor = 0 if row["settled_on"] else row["open_minor"]
                again = load("DELTA", file_on, row)
                assert (again.unchanged, again.updated, again.cleared) == (1, 0, 0)
            with shared_database.transaction() as session:
                assert checks.wrong(session) == {}
                found = session.execute(text("SELECT open_minor FROM items")).scalars().all()
                assert found == ([] if row is None else [expected_minor])


# ---- real files ------------------------------------------------------------------------------------------------------


def minor(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.cast(pc.round(pc.multiply(column.cast(pa.float64()), 100)), pa.int64())


def test_the_late_payment_file_as_of_past_days(ledger):
    path = shared_data("ar", "ibm_watson_late_payment", "WA_Fn-UseC_-Accounts-Receivable.csv")
    types = pa_csv.ConvertOptions(column_types={"invoiceNumber": pa.string(), "customerID": pa.string()})
    raw = pa_csv.read_csv(path, convert_options=types)

    def day(name):
        # Month first; Arrow's strptime takes single digits.
        return pc.cast(pc.strptime(raw[name].cast(pa.string()), "%m/%d/%Y", "s"), pa.date32())

    amount = minor(raw["InvoiceAmount"])
    table = pa.table(
        {
            "line": pa.array(range(2, raw.num_rows + 2), pa.int32()),
            "account_number": raw["customerID"],
            "number": raw["invoiceNumber"],
            "kind": pa.repeat(pa.scalar("INVOICE"), raw.num_rows),
            "currency": pa.repeat(pa.scalar("USD"), raw.num_rows),
            "issue_on": day("InvoiceDate"),
            "due_on": day("DueDate"),
            "settled_on": day("SettledDate"),
            "initial_minor": amount,
            "open_minor": amount,
        }
    )
    assert counts(ledger.stream(table)[0]) == {"created": 2_466}
    assert counts(ledger.stream(table)[0]) == {"unchanged": 2_466}
    assert ledger.items() == []
    query = """
SELECT count(*) AS items, sum(open) AS open, count(*) FILTER (WHERE due_on < :day) AS late FROM (
    SELECT i.due_on, i.issued_minor + coalesce(sum(c.delta_minor), 0) AS open FROM items AS i
    LEFT JOIN item_changes AS c ON c.item_id = i.item_id AND c.value_on <= :day
    WHERE i.issued_on <= :day GROUP BY i.item_id, i.due_on, i.issued_minor) AS as_of WHERE open <> 0
"""
    with context.acting_as(caller_of(ledger.tenant)), ledger.database.transaction() as session:
        for day_asked, expected in [(date(2012, 12, 31), (99, 572_506, 13)), (date(2013, 6, 30), (84, 511_985, 12))]:
            assert tuple(session.execute(text(query), {"day": day_asked}).one()) == expected


def test_the_open_items_file_in_two_currencies(ledger):
    path = shared_data("ar", "highradius_open_items", "open_items_2020_with_predictions.csv")
    raw = pa_csv.read_csv(
        path, convert_options=pa_csv.ConvertOptions(column_types={"cust_number": pa.string(), "doc_id": pa.string()})
    )
    amount = minor(raw["total_open_amount"])
    table = pa.table(
        {
            "line": pa.array(range(2, raw.num_rows + 2), pa.int32()),
            "account_number": raw["cust_number"],
            "account_name": raw["name_customer"],
            "number": raw["doc_id"],
            "kind": pa.repeat(pa.scalar("INVOICE"), raw.num_rows),
            "currency": raw["invoice_currency"],
            "issue_on": raw["posting_date"].cast(pa.date32()),
            "due_on": raw["due_in_date"].cast(pa.date32()),
            "initial_minor": amount,
            "open_minor": amount,
            "payment_terms": raw["cust_payment_terms"],
        }
    )
    assert counts(ledger.stream(table)[0]) == {"created": 9_700}
    from quittance.ledger.v1 import ledger_service_pb2 as pb

    reply = ledger.call("ListItems", pb.ListItemsRequest(page_size=1))
    assert [(t.currency, t.item_count, t.open.minor_units) for t in reply.totals] == [
        ("CAD", 747, 4_447_100_908), ("USD", 8_953, 27_511_371_683),
    ]  # fmt: skip
    assert ledger.call("ListAccounts", pb.ListAccountsRequest(page_size=1)).total_size == 664
    (account,) = ledger.accounts(filter='number="0200706844"')
    assert 1 + len(account.aliases) == 11
