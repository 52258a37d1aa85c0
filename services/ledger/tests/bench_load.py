"""Loads generated items and prints seconds beside a raw COPY: `python services/ledger/tests/bench_load.py [rows]`.

The limit is one COPY of the same rows as CSV into a table with a unique business key and an index on the due date, on
the same server in the same run. CPU is that of this process (the ledger's part) and of all PostgreSQL processes.
Environment: CHUNK_ROWS (20,000), ROUNDS (3; each in a tenant of its own, the median by wall counts).
"""

import io
import multiprocessing
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
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

CHUNK_ROWS = int(os.environ.get("CHUNK_ROWS", "20000"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
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


@dataclass(frozen=True, order=True)
class Spent:
    """What a piece of work took: wall seconds, CPU seconds of this process, CPU seconds of PostgreSQL."""

    wall_s: float
    own_s: float
    server_s: float

    @property
    def cpu_s(self) -> float:
        """CPU seconds of both."""
        return self.own_s + self.server_s

    def line(self, label: str, limit: "Spent") -> str:
        """As it is printed."""
        return (
            f"{label:28} {self.wall_s:7.2f} s  CPU {self.own_s:6.2f} + {self.server_s:6.2f} s"
            f"  {self.wall_s / limit.wall_s:5.1f} x wall  {self.cpu_s / limit.cpu_s:5.1f} x CPU"
        )


def mapped(folder: Path, count: int) -> pa.Table:
    """The generated rows from a file, made by a process of its own: making them must not count as our memory."""
    path = folder / "rows.arrow"
    process = multiprocessing.get_context("spawn").Process(target=_write, args=(path, count))
    process.start()
    process.join()
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def _write(path: Path, count: int) -> None:
    rows = generated(count)
    with pa.ipc.new_file(path, rows.schema) as writer:
        writer.write_table(rows)


def own_memory_mb() -> float:
    """Memory of this process that is not mapped from files."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) / 1024


def measured(server: embedded.Server, work: Callable[[], object]) -> Spent:
    """What a piece of work took."""

    def server_cpu_s() -> float:
        root = psutil.Process(server.process.pid)
        return sum(sum(process.cpu_times()[:2]) for process in (root, *root.children(recursive=True)))

    started, own_s, server_s = time.perf_counter(), time.process_time(), server_cpu_s()
    work()
    return Spent(time.perf_counter() - started, time.process_time() - own_s, server_cpu_s() - server_s)


def median(rounds: list[Spent]) -> Spent:
    """Each figure's median."""
    return Spent(
        *(statistics.median(getattr(spent, name) for spent in rounds) for name in ("wall_s", "own_s", "server_s"))
    )


def copy_limit(server: embedded.Server, url: str, rows: pa.Table) -> Spent:
    """The median of three COPYs."""
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
    return median(times)


def load(database: Database, mode: str, rows: pa.Table) -> float:
    """The work of LoadItems and FinishLoad; returns the most memory seen between two chunks, in MB."""
    header = usecases.LoadHeader(new_id(), "FR01", mode, "", TODAY, plan_only=False)
    chunks = (
        (number, bulk.to_ipc(rows.slice(start, CHUNK_ROWS)))
        for number, start in enumerate(range(0, rows.num_rows, CHUNK_ROWS))
    )
    peak_mb = 0.0
    for number, chunk in usecases.prepare_ahead(header, "ITEMS", chunks):
        with database.transaction() as session:
            usecases.load_chunk(session, header, "ITEMS", number, chunk, TODAY)
        peak_mb = max(peak_mb, own_memory_mb())
    with database.transaction() as session:
        usecases.finish_load(session, header.load_id, confirm_clearing=True, plan_only=False, today=TODAY)
    return peak_mb


def main(count: int) -> None:
    """Runs all loads and prints a line for each."""
    folder = Path(tempfile.mkdtemp(prefix="quittance-bench-"))
    folder.chmod(0o755)
    server = embedded.postgres(folder / "postgres")
    try:
        owner_url, app_url = embedded.provision(server.url, "ledger", "bench")
        migrations.upgrade("ledger", owner_url)
        database = Database(Settings(database_url=app_url))
        rows = mapped(folder, count)
        limit = copy_limit(server, server.url.rsplit("/", 1)[0] + "/bench", rows)
        print(limit.line("COPY, indexed (the limit)", limit), flush=True)
        is_paid = pc.equal(pc.bit_wise_and(rows["line"], 127), 0)
        place = rows.column_names.index("open_minor")
        changed = rows.set_column(place, "open_minor", pc.if_else(is_paid, 0, rows["open_minor"]))
        loads = [
            ("all new", "DELTA", rows),
            ("the same file again", "DELTA", rows),
            ("the same complete file", "STOCK", rows),
            ("complete file, 1 % changed", "STOCK", changed),
        ]
        peak_mb = 0.0
        spent: dict[str, list[Spent]] = {label: [] for label, _, _ in loads}
        for _ in range(ROUNDS):
            with context.acting_as(context.service_caller(new_id(), "bench")):
                with database.transaction() as session:
                    usecases.create_entity(
                        session, code="FR01", name="FR01", country="FR", currency="EUR", time_zone="", language=""
                    )
                for label, mode, loaded in loads:

                    def work(mode: str = mode, loaded: pa.Table = loaded) -> None:
                        nonlocal peak_mb
                        peak_mb = max(peak_mb, load(database, mode, loaded))

                    spent[label].append(measured(server, work))
        for label, rounds in spent.items():
            print(median(rounds).line(label, limit), flush=True)
        print(f"most memory of this process between two chunks: {peak_mb:.0f} MB (rows are {rows.nbytes / 1e6:.0f} MB)")
        database.close()
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
