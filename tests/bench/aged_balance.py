"""The aged balance of all accounts: reporting's own, one SQL over a plain numeric and text schema, and DuckDB's table.

All deliver one row an account; ours as an Arrow table, the plain one as CSV over COPY, DuckDB's as an Arrow table.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

import duckdb
import psutil
import psycopg
import pyarrow as pa
import pyarrow.csv as pa_csv

from kit import context
from kit.db import Database
from reporting import store
from reporting.config import Settings

ROUNDS = 5
# What a program without minor units, ids and covering indexes would keep.
PLAIN = """
CREATE TABLE {name} (number text PRIMARY KEY, customer_no text NOT NULL, currency text NOT NULL, issue_on date NOT NULL,
    due_on date, amount numeric NOT NULL, open_amount numeric NOT NULL, settled_on date)
"""
COLUMNS = "number, customer_no, currency, issue_on, due_on, amount, open_amount, settled_on"
EDGES_DAYS = (0, 30, 60, 90, 120)


@dataclass
class Took:
    """Seconds of the best round, CPU of the client and of the server together."""

    wall_s: float
    cpu_s: float
    total_minor: int


def _sums(open_sql: str, as_of: date) -> str:
    day, columns, later = f"DATE '{as_of}'", [], ""
    for edge in EDGES_DAYS:
        columns.append(f"sum(CASE WHEN due_on >= {day} - {edge}{later} THEN {open_sql} ELSE 0 END)")
        later = f" AND due_on < {day} - {edge}"
    columns.append(f"sum(CASE WHEN true{later} THEN {open_sql} ELSE 0 END)")
    return f"{', '.join(columns)}, sum(CASE WHEN due_on IS NULL THEN {open_sql} ELSE 0 END), sum({open_sql})"


def plain_sql(table: str, as_of: date) -> str:
    """The balance as of a day over the plain table: an item is open from its issue until it is settled."""
    open_sql = f"CASE WHEN settled_on <= DATE '{as_of}' THEN 0 WHEN settled_on IS NULL THEN open_amount ELSE amount END"
    return (
        f"SELECT customer_no, currency, {_sums('open_as_of', as_of)} FROM (SELECT customer_no, currency, due_on,"
        f" {open_sql} AS open_as_of FROM {table} WHERE issue_on <= DATE '{as_of}') AS items"
        " WHERE open_as_of <> 0 GROUP BY customer_no, currency"
    )


def present_sql(table: str, as_of: date) -> str:
    """The balance of now over the plain table."""
    return (
        f"SELECT customer_no, currency, {_sums('open_amount', as_of)} FROM {table} WHERE open_amount <> 0"
        " GROUP BY customer_no, currency"
    )


def _best(work: Callable[[], pa.Table], total_of: Callable[[pa.Table], int], server_cpu_s: Callable[[], float]) -> Took:
    rounds = []
    for _ in range(ROUNDS):
        started, own_s, server_s = time.perf_counter(), time.process_time(), server_cpu_s()
        table = work()
        wall_s = time.perf_counter() - started
        rounds.append(Took(wall_s, time.process_time() - own_s + server_cpu_s() - server_s, 0))
    return Took(min(one.wall_s for one in rounds), min(one.cpu_s for one in rounds), total_of(table))


def compare(
    admin_url: str, reporting_url: str, tenant_id: str, rows: bytes, folder: Path, days: dict[str, date]
) -> dict[str, dict[str, Took]]:
    """Took by label of the day, then by who ("ours", "plain schema", "DuckDB").

    Args: admin_url of the reporting database, as the server's administrator; reporting_url, as its application; rows,
        CSV without header in the order of COLUMNS, the same items that the tenant has; days: "now" and any past ones.
    Raises AssertionError when the sums of the three differ.
    """
    own = duckdb.connect(str(folder / "bench.duckdb"))
    own.execute("SET threads = 2")
    own.execute(PLAIN.format(name="plain").replace("numeric", "decimal(15, 2)"))
    csv_path = folder / "plain.csv"
    csv_path.write_bytes(rows)
    own.execute(f"INSERT INTO plain SELECT * FROM read_csv('{csv_path}', header = false, all_varchar = true)")
    database = Database(Settings(database_url=reporting_url))
    found: dict[str, dict[str, Took]] = {}
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS bench_plain")
        connection.execute(PLAIN.format(name="bench_plain"))
        with connection.cursor().copy(f"COPY bench_plain ({COLUMNS}) FROM STDIN (FORMAT csv)") as copy:
            copy.write(rows)
        connection.execute("VACUUM ANALYZE")
        server = psutil.Process(_postmaster_pid(connection))

        def server_cpu_s() -> float:
            # Processes that have ended, parallel workers among them, count as what the server has waited for.
            own = server.cpu_times()
            total_s = own.user + own.system + own.children_user + own.children_system
            for one in server.children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    times = one.cpu_times()
                    total_s += times.user + times.system
            return total_s

        for label, day in days.items():
            sql = present_sql if label == "now" else plain_sql

            def plain(statement: str = sql("bench_plain", day)) -> pa.Table:
                buffer = io.BytesIO()
                with connection.cursor().copy(f"COPY ({statement}) TO STDOUT (FORMAT csv)") as copy:
                    for block in copy:
                        buffer.write(block)
                buffer.seek(0)
                return pa_csv.read_csv(buffer, pa_csv.ReadOptions(autogenerate_column_names=True))

            def duck(statement: str = sql("plain", day)) -> pa.Table:
                return own.sql(statement).to_arrow_table()

            def ours(day: date = day) -> pa.Table:
                with context.acting_as(context.service_caller(tenant_id, "bench")), database.transaction() as session:
                    return store.aged_balance(session, day, store.Scope())

            found[label] = {
                "ours": _best(ours, _our_total, server_cpu_s),
                "plain schema": _best(plain, _plain_total, server_cpu_s),
                "DuckDB": _best(duck, _plain_total, server_cpu_s),
            }
            totals = {who: took.total_minor for who, took in found[label].items()}
            assert len(set(totals.values())) == 1, f"{label}: the sums differ: {totals}"
        connection.execute("DROP TABLE bench_plain")
    database.close()
    own.close()
    return found


def _our_total(table: pa.Table) -> int:
    return sum(sum(filter(None, column.to_pylist())) for column in table.columns[2:])


def _plain_total(table: pa.Table) -> int:
    return sum(round(Decimal(str(amount)) * 100) for amount in table.columns[-1].to_pylist())


def _postmaster_pid(connection: psycopg.Connection) -> int:
    return psutil.Process(connection.info.backend_pid).parent().pid
