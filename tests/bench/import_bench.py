"""What importing and reading cost, as ratios to raw limits on the same server in the same run.

Run by `make bench` (100,000 items; `make bench BENCH_ITEMS=1000000` for more). Starts a platform of its own in a scratch
folder, prints, leaves nothing behind, and writes its table into README.md (100,000) or docs/measurements.md (others).
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import platform as machine
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import aged_balance
import psycopg
import pyarrow as pa
import pyarrow.csv as pa_csv
from meter import READERS, Meter, Spent

from kit import bulk, context, grpc_client
from kit.settings import ServiceSettings
from quittance.importer.v1 import import_service_pb2 as import_pb
from quittance.importer.v1 import upload_service_pb2 as upload_pb
from quittance.importer.v1.upload_service_pb2_grpc import UploadServiceStub
from stack.harness import Platform

ROOT = Path(__file__).resolve().parents[2]
ITEMS = 100_000
ITEMS_PER_ACCOUNT = 20
SEED = 7
TIMEOUT_S = 3600.0
STAGES = ("keep", "read", "validate", "plan", "load", "publish")
LOOK_EVERY_S = 0.1
STREAM_ROWS = 20_000
# The business date of the platform, and a past one on which about half of the items stood otherwise.
TODAY = date(2026, 6, 30)
PAST = date(2025, 3, 31)
HEADER = ("Customer number", "Customer name", "Document number", "Document type", "Document date", "Due date",
          "Currency", "Amount", "Open amount", "Clearing date")  # fmt: skip
# Columns and indexes that any ledger of items would have at least: the floor that COPY is measured on.
TABLE = """
CREATE TABLE bench_items (
    tenant_id uuid NOT NULL DEFAULT '00000000-0000-7000-8000-000000000001', account_number text NOT NULL,
    account_name text NOT NULL, number text NOT NULL, kind text NOT NULL, issue_on date NOT NULL, due_on date,
    currency text NOT NULL, initial_amount numeric NOT NULL, open_amount numeric NOT NULL, settled_on date,
    PRIMARY KEY (tenant_id, number));
CREATE INDEX ON bench_items (tenant_id, account_number);
CREATE INDEX ON bench_items (tenant_id, due_on) WHERE open_amount <> 0;
"""
COLUMNS = (
    "account_number, account_name, number, kind, issue_on, due_on, currency, initial_amount, open_amount, settled_on"
)


def generated(count: int, changed_share: float = 0.0) -> list[tuple[str, ...]]:
    """Rows of that many items, 20 a customer; half of them are settled. The same every time.

    changed_share: of the open items, so many are settled on TODAY, as in a later complete file.
    """
    chance, change = random.Random(SEED), random.Random(SEED + 1)
    first, accounts, rows = date(2024, 1, 1), max(count // ITEMS_PER_ACCOUNT, 1), []
    for number in range(count):
        account = chance.randrange(accounts)
        issue_on = first + timedelta(days=chance.randrange(700))
        due_on = issue_on + timedelta(days=30)
        amount = f"{chance.randrange(1_000, 5_000_000) / 100:.2f}"
        is_settled = chance.random() < 0.5
        settled_on = (due_on + timedelta(days=chance.randrange(-5, 40))).isoformat() if is_settled else ""
        if not is_settled and change.random() < 2 * changed_share:
            is_settled, settled_on = True, TODAY.isoformat()
        rows.append(
            (
                f"B{account:05d}",
                f"Bench customer {account:05d}",
                f"BN-{number:07d}",
                "invoice",
                issue_on.isoformat(),
                due_on.isoformat(),
                "EUR",
                amount,
                "0.00" if is_settled else amount,
                settled_on,
            )
        )
    return rows


def written(rows: list[tuple[str, ...]]) -> bytes:
    """Rows as a CSV file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(rows)
    return text.getvalue().encode()


def admin_url(platform: Platform) -> str:
    """The server's administrator."""
    return str(json.loads((platform.home / "run" / "addresses.json").read_text())["servers"]["postgres"])


def raw_copy(platform: Platform, meter: Meter, content: bytes) -> Spent:
    """COPY of the file's rows into an indexed table, commit included; the best of three."""
    rounds: list[Spent] = []
    with psycopg.connect(admin_url(platform), autocommit=True) as connection:
        for _ in range(3):
            connection.execute("DROP TABLE IF EXISTS bench_items")
            connection.execute(TABLE)
            connection.execute("CHECKPOINT")
            watch = meter.start()
            with connection.cursor().copy(f"COPY bench_items ({COLUMNS}) FROM STDIN (FORMAT csv, HEADER)") as copy:
                copy.write(content)
            rounds.append(watch.so_far())
        connection.execute("DROP TABLE bench_items")
    wall_s = min(spent.wall_s for spent in rounds)
    return Spent(wall_s, {"postgres": min(spent.cpu_of("postgres") for spent in rounds)})


class Bench:
    """One platform and its first tenant."""

    def __init__(self, platform: Platform, meter: Meter, count: int) -> None:
        self.platform, self.meter, self.count = platform, meter, count
        with psycopg.connect(platform.databases()["ledger"]) as connection:
            row = connection.execute("SELECT tenant_id::text FROM entities WHERE code = 'BENCH'").fetchone()
        assert row is not None
        self.tenant_id = str(row[0])

    def imported(self, content: bytes, name: str, mode: str = "delta") -> tuple[dict[str, Any], Spent]:
        """The import when it is applied, and what it took from the first byte sent until then."""
        fields = {"entity": "BENCH", "object": "items", "mode": mode, "apply": "true"}
        files = {"file": (name, content, "text/csv")}
        watch = self.meter.start()
        answer = self.platform.request("POST", "/v1/imports", data=fields, files=files, timeout=TIMEOUT_S)
        assert answer.status_code == 202, answer.text
        run = self._applied(answer.json()["importId"])
        return run, watch.so_far()

    def streamed(self, rows: list[tuple[str, ...]]) -> tuple[dict[str, Any], Spent]:
        """The same rows into another entity over a partner's gRPC stream, as Arrow."""
        settings = ServiceSettings(
            service_name="gateway", signing_key_path=str(self.platform.home / "keys" / "gateway.jwk.json")
        )
        stub = UploadServiceStub(
            grpc_client.channel(settings, f"127.0.0.1:{self.platform.env['QUITTANCE_IMPORT_GRPC_PORT']}")
        )
        columns = [list(column) for column in zip(*rows, strict=True)]
        table = pa.table(dict(zip(HEADER, columns, strict=True)))
        batches = [bulk.to_ipc(table.slice(start, STREAM_ROWS)) for start in range(0, len(rows), STREAM_ROWS)]

        def messages() -> Iterator[upload_pb.StreamRowsRequest]:
            yield upload_pb.StreamRowsRequest(
                header=upload_pb.StreamHeader(
                    batch_id="bench", entity_code="BENCH2", object=import_pb.IMPORT_OBJECT_ITEMS, apply=True
                )
            )
            for sequence, batch in enumerate(batches, 1):
                yield upload_pb.StreamRowsRequest(batch=upload_pb.StreamBatch(sequence=sequence, arrow=batch))
            yield upload_pb.StreamRowsRequest(finish=upload_pb.StreamFinish(row_count=len(rows)))

        watch = self.meter.start()
        with context.acting_as(context.service_caller(self.tenant_id, "gateway")):
            import_id = stub.StreamRows(messages(), timeout=TIMEOUT_S).import_id
        run = self._applied(import_id)
        return run, watch.so_far()

    def _applied(self, import_id: str) -> dict[str, Any]:
        until = time.monotonic() + TIMEOUT_S
        while time.monotonic() < until:
            run = self.platform.get(f"/v1/imports/{import_id}")
            if run["state"] == "APPLIED":
                return dict(run)
            if run["state"] in ("FAILED", "QUESTIONS", "CANCELLED"):
                break
            time.sleep(LOOK_EVERY_S)
        sys.exit(f"the import did not apply: {json.dumps(run)[:3000]}")

    def caught_up(self) -> Spent:
        """Until reporting, scenario and credit-risk have applied every event that the ledger has committed by now."""
        watch = self.meter.start()
        databases = self.platform.databases()
        position = "SELECT coalesce(max(number), 0) FROM event_position WHERE tenant_id = %s AND producer = 'ledger'"
        with psycopg.connect(databases["ledger"], autocommit=True) as ledger:
            # What is not numbered yet will have the next numbers.
            said = "SELECT count(*) FROM outbox WHERE tenant_id = %s"
            wanted = ledger.execute(said, (self.tenant_id,)).fetchone()[0]  # type: ignore[index]
        behind = {name: psycopg.connect(databases[name], autocommit=True) for name in READERS}
        while behind:
            for name, connection in list(behind.items()):
                if connection.execute(position, (self.tenant_id,)).fetchone()[0] >= wanted:  # type: ignore[index]
                    behind.pop(name).close()
            if watch.so_far().wall_s > TIMEOUT_S:
                sys.exit(f"never caught up: {', '.join(behind)}")
            time.sleep(LOOK_EVERY_S / 2)
        return watch.so_far()

    def visible(self, open_count: int) -> Spent:
        """Until the dashboard's read model counts every open item."""
        watch = self.meter.start()
        while True:
            totals = self.platform.get("/v1/reports/aging", asOf=TODAY.isoformat(), entity="BENCH").get("totals", [])
            if sum(total["itemCount"] for total in totals) == open_count:
                return watch.so_far()
            if watch.so_far().wall_s > TIMEOUT_S:
                sys.exit(f"the read model never showed {open_count} open items: {totals}")
            time.sleep(LOOK_EVERY_S)

    def balances(self, rows: list[tuple[str, ...]]) -> dict[str, dict[str, aged_balance.Took]]:
        """The aged balance of all accounts, now and as of PAST, ours and others'."""
        names = "account_number name number kind issue_on due_on currency initial open settled_on".split()
        columns = dict(zip(names, [list(column) for column in zip(*rows, strict=True)], strict=True))
        wanted = "number account_number currency issue_on due_on initial open settled_on".split()
        buffer = io.BytesIO()
        columns["settled_on"] = [day or None for day in columns["settled_on"]]
        options = pa_csv.WriteOptions(include_header=False)
        pa_csv.write_csv(pa.table({name: columns[name] for name in wanted}), buffer, options)
        databases = json.loads((self.platform.home / "run" / "addresses.json").read_text())["databases"]
        return aged_balance.compare(
            self.platform.databases()["reporting"], databases["reporting"][1], self.tenant_id, buffer.getvalue(),
            self.platform.home, {"now": TODAY, "past": PAST},
        )  # fmt: skip


@dataclass
class Lines:
    """The table: what was measured, and what the issue of speed wants of it."""

    limit: Spent
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, label: str, wall_s: float, cpu_s: float | None, wanted: str = "") -> None:
        """A line with its ratios to the limit."""
        cpu = ("", "") if cpu_s is None else (f"{cpu_s:.2f}", f"{cpu_s / self.limit.cpu_of('postgres'):.1f}")
        self.rows.append((label, f"{wall_s:.2f}", f"{wall_s / self.limit.wall_s:.1f}", *cpu, wanted))

    def add_balance(self, label: str, who: str, took: dict[str, aged_balance.Took], wanted: str = "") -> None:
        """A line with its ratios to the plain schema."""
        one, plain = took[who], took["plain schema"]
        ratios = (f"{one.wall_s / plain.wall_s:.2f}", f"{one.cpu_s:.2f}", f"{one.cpu_s / max(plain.cpu_s, 0.01):.2f}")
        self.rows.append((label, f"{one.wall_s:.3f}", *ratios, wanted))

    def markdown(self) -> str:
        """As a table."""
        head = ("what", "wall s", "x limit", "CPU s", "x limit", "wanted")
        lines = [head, ("---",) * len(head), *self.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=int(os.environ.get("BENCH_ITEMS") or ITEMS))
    parser.add_argument(
        "--write", action=argparse.BooleanOptionalAction, default=True, help="the table into the documents"
    )
    chosen = parser.parse_args()
    count: int = chosen.items
    rows = generated(count)
    content = written(rows)
    open_count = sum(1 for row in rows if not row[-1])
    says = f"{count:,} items, {len(content) / 1e6:.1f} MB, {machine.machine()}, Python {machine.python_version()}"
    print(says, flush=True)
    with Platform.started(QUITTANCE_TODAY=TODAY.isoformat()) as platform, Meter(platform) as meter:
        for code in ("BENCH", "BENCH2"):
            platform.post("/v1/entities", {"code": code, "name": code, "country": "FR", "currency": "EUR"})
        bench = Bench(platform, meter, count)
        lines = Lines(raw_copy(platform, meter, content))
        lines.add("raw `COPY`, indexed table (the limit)", lines.limit.wall_s, lines.limit.cpu_of("postgres"))

        readers_before_s = meter.start()
        run, first = bench.imported(content, "bench.csv")
        for stage, seconds in sorted(run.get("stageSeconds", {}).items(), key=lambda one: STAGES.index(one[0])):
            lines.add(f"of the import: {stage}", seconds, None)
        lines.add("upload to applied", first.wall_s, first.import_cpu_s, "2.5 wall (4 at 1M), 3 CPU")
        caught_up = bench.caught_up()
        lines.add(
            "readers caught up, after that", caught_up.wall_s, readers_before_s.so_far().reader_cpu_s,
            f"{first.wall_s / lines.limit.wall_s:.1f} wall: the import's time again",
        )  # fmt: skip
        lines.add("then shown in the aging", bench.visible(open_count).wall_s, None)
        assert run["rowCounts"].get("created") == count, f"not every row was created: {run['rowCounts']}"
        balances = bench.balances(rows)

        # The same rows once more, under other bytes: nothing changes, and finding that out must be cheap.
        _, again = bench.imported(content + b"\n", "bench-again.csv")
        lines.add("the same rows again", again.wall_s, again.import_cpu_s, "1.3")
        bench.caught_up()
        _, changed = bench.imported(written(generated(count, 0.01)), "bench-later.csv", "stock")
        lines.add("complete file, 1 % changed", changed.wall_s, changed.import_cpu_s, "1.6")
        bench.caught_up()
        _, streamed = bench.streamed(rows)
        lines.add("partner's gRPC stream, rows as Arrow", streamed.wall_s, streamed.import_cpu_s, "3.5 CPU")
        bench.caught_up()
        peaks = {name: peak for name, peak in meter.peak_mb.items() if not name.startswith("postgres")}

    now, past = balances["now"], balances["past"]
    lines.add_balance("aged balance, one SQL over a plain schema (its limit)", "plain schema", now)
    lines.add_balance("aged balance of all accounts", "ours", now, "0.5, and at most DuckDB's")
    lines.add_balance("aged balance, DuckDB's own table", "DuckDB", now)
    past_ratio = past["ours"].wall_s / now["ours"].wall_s
    lines.add_balance(
        f"aged balance as of a past date ({past_ratio:.1f} x now)", "ours", past, "at most 4 x the one of now"
    )
    lines.add_balance("the same, one SQL over a plain schema", "plain schema", past)
    lines.add_balance("the same, DuckDB's own table", "DuckDB", past)
    peak = ", ".join(f"{name} {mb:.0f}" for name, mb in sorted(peaks.items(), key=lambda one: -one[1]) if mb >= 1)
    table = f"{says}.\n\n{lines.markdown()}\n\nPeak memory (MB, RSS): {peak}."
    print(table)
    if chosen.write:
        keep(table, count)


def keep(table: str, count: int) -> None:
    """Puts the table into README.md, or into docs/measurements.md where the number of items is not the usual one."""
    path, mark = (
        (ROOT / "README.md", "bench") if count == ITEMS else (ROOT / "docs" / "measurements.md", f"bench {count}")
    )
    text = path.read_text() if path.exists() else "# Measurements\n"
    first, last = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    if first not in text:
        text += f"\n{first}\n{last}\n"
    before, _, rest = text.partition(first)
    path.write_text(f"{before}{first}\n{table}\n{last}{rest.partition(last)[2]}")


if __name__ == "__main__":
    main()
