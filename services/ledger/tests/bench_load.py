"""Loads generated items and prints seconds beside a raw COPY: `python services/ledger/tests/bench_load.py [rows]`.

The limit is one COPY of the same rows as CSV into a table with a unique business key and an index on the due date, on
the same server in the same run. CPU is that of all server processes plus this one.
"""

import io
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import psutil
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from kit import bulk, context, embedded, migrations
from kit.db import Database
from kit.ids import new_id
from ledger import usecases
from ledger.config import Settings

CHUNK_ROWS = 20_000
ITEMS_PER_ACCOUNT = 20
TODAY = date(2021, 2, 1)


def generated(count: int) -> pa.Table:
    """Invoices of count / 20 customers: 35 % settled, 15 % partly paid, always the same ones."""
    chance = random.Random(1)
    issued = [18_000 + chance.randrange(600) for _ in range(count)]
    initial = [chance.randrange(100, 10_000_000) for _ in range(count)]
    paid = [chance.random() for _ in range(count)]
    accounts = [f"{n // ITEMS_PER_ACCOUNT:010d}" for n in range(count)]
    settled = [day + 50 if share < 0.35 else None for day, share in zip(issued, paid, strict=True)]
    left = [minor // 2 if 0.35 <= share < 0.5 else minor for minor, share in zip(initial, paid, strict=True)]
    day = pa.date32()
    return pa.table(
        {
            "line": pa.array(range(1, count + 1), pa.int32()),
            "account_number": accounts,
            "account_name": [f"Customer {account} SA" for account in accounts],
            "number": [f"INV{n:09d}" for n in range(count)],
            "kind": ["INVOICE"] * count,
            "currency": ["EUR"] * count,
            "issue_on": pa.array(issued, pa.int32()).cast(day),
            "due_on": pa.array([n + 30 for n in issued], pa.int32()).cast(day),
            "settled_on": pa.array(settled, pa.int32()).cast(day),
            "initial_minor": pa.array(initial, pa.int64()),
            "open_minor": pa.array(left, pa.int64()),
            "fiscal_year": pa.array([2020] * count, pa.int32()),
            "order_number": [f"PO{n}" for n in range(count)],
            "payment_terms": ["NET30"] * count,
        }
    )  # fmt: skip


def measured(server: embedded.Server, work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of a piece of work."""

    def server_cpu_s() -> float:
        root = psutil.Process(server.process.pid)
        return sum(sum(process.cpu_times()[:2]) for process in (root, *root.children(recursive=True)))

    started, cpu = time.perf_counter(), server_cpu_s() + time.process_time()
    work()
    return time.perf_counter() - started, server_cpu_s() + time.process_time() - cpu


def copy_limit(server: embedded.Server, url: str, rows: pa.Table) -> tuple[float, float]:
    """The best of three COPYs."""
    buffer = io.BytesIO()
    pa_csv.write_csv(rows, buffer, pa_csv.WriteOptions(include_header=False))
    kinds = {"int32": "integer", "int64": "bigint", "date32[day]": "date"}
    columns = ", ".join(f"{field.name} {kinds.get(str(field.type), 'text')}" for field in rows.schema)
    with psycopg.connect(url) as connection:
        connection.execute(f"CREATE TABLE raw ({columns})")
        connection.execute("CREATE UNIQUE INDEX ON raw (account_number, number, fiscal_year, kind)")
        connection.execute("CREATE INDEX ON raw (due_on)")

        def copy() -> None:
            with connection.cursor().copy("COPY raw FROM STDIN (FORMAT csv)") as stream:
                stream.write(buffer.getvalue())
            connection.commit()

        times = []
        for _ in range(3):
            connection.execute("TRUNCATE raw")
            connection.commit()
            times.append(measured(server, copy))
    return min(times)


def load(database: Database, mode: str, rows: pa.Table) -> None:
    """The work of LoadItems and FinishLoad."""
    header = usecases.LoadHeader(new_id(), "FR01", mode, "", TODAY, plan_only=False)
    for number, start in enumerate(range(0, rows.num_rows, CHUNK_ROWS)):
        data = bulk.to_ipc(rows.slice(start, CHUNK_ROWS))
        with database.transaction() as session:
            usecases.load_chunk(session, header, "ITEMS", number, data, TODAY)
    with database.transaction() as session:
        usecases.finish_load(session, header.load_id, confirm_clearing=True, plan_only=False, today=TODAY)


def main(count: int) -> None:
    """Runs all loads and prints a line for each."""
    folder = Path(tempfile.mkdtemp(prefix="quittance-bench-"))
    folder.chmod(0o755)
    server = embedded.postgres(folder / "postgres")
    try:
        owner_url, app_url = embedded.provision(server.url, "ledger", "bench")
        migrations.upgrade("ledger", owner_url)
        database = Database(Settings(database_url=app_url))
        rows = generated(count)
        limit_s, limit_cpu_s = copy_limit(server, server.url.rsplit("/", 1)[0] + "/bench", rows)
        print(f"{'COPY, indexed (the limit)':30} {limit_s:6.2f} s  {limit_cpu_s:6.2f} s CPU", flush=True)
        with context.acting_as(context.service_caller(new_id(), "bench")):
            with database.transaction() as session:
                usecases.create_entity(
                    session, code="FR01", name="FR01", country="FR", currency="EUR", time_zone="", language=""
                )
            is_paid = pc.equal(pc.bit_wise_and(rows["line"], 127), 0)
            place = rows.column_names.index("open_minor")
            changed = rows.set_column(place, "open_minor", pc.if_else(is_paid, 0, rows["open_minor"]))
            for label, mode, loaded in [
                ("all new", "DELTA", rows),
                ("the same file again", "DELTA", rows),
                ("the same complete file", "STOCK", rows),
                ("complete file, 1 % cleared", "STOCK", changed),
            ]:
                wall_s, cpu_s = measured(server, lambda mode=mode, loaded=loaded: load(database, mode, loaded))
                ratios = f"{wall_s / limit_s:5.1f} x wall  {cpu_s / limit_cpu_s:5.1f} x CPU"
                print(f"{label:30} {wall_s:6.2f} s  {cpu_s:6.2f} s CPU  {ratios}", flush=True)
        database.close()
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
