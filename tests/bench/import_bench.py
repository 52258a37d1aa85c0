"""What importing 100,000 items costs, stage by stage, against a raw COPY of the same rows into the same server.

Run by `make bench`. Starts a platform of its own in a scratch folder, prints, and leaves nothing behind.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import platform as machine
import random
import sys
import time
from datetime import date, timedelta
from typing import Any

import psycopg

from stack.harness import Platform

ITEMS = 100_000
ACCOUNTS = 2_000
SEED = 7
IMPORT_TIMEOUT_S = 900.0
STAGES = ("keep", "read", "validate", "load", "publish")
LOOK_EVERY_S = 0.1
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


def generated(count: int) -> bytes:
    """A CSV file of that many items of 2,000 customers; half of them are settled. The same every time."""
    chance = random.Random(SEED)
    first = date(2024, 1, 1)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for number in range(count):
        account = chance.randrange(ACCOUNTS)
        issue_on = first + timedelta(days=chance.randrange(700))
        due_on = issue_on + timedelta(days=30)
        amount = f"{chance.randrange(1_000, 5_000_000) / 100:.2f}"
        is_settled = chance.random() < 0.5
        settled_on = (due_on + timedelta(days=chance.randrange(-5, 40))).isoformat() if is_settled else ""
        writer.writerow(
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
    return text.getvalue().encode()


def raw_copy_s(platform: Platform, content: bytes) -> float:
    """Seconds of COPY of the file's rows into an indexed table, commit included; the best of three."""
    admin_url = json.loads((platform.home / "run" / "addresses.json").read_text())["servers"]["postgres"]
    took: list[float] = []
    with psycopg.connect(admin_url, autocommit=True) as connection:
        for _ in range(3):
            connection.execute("DROP TABLE IF EXISTS bench_items")
            connection.execute(TABLE)
            connection.execute("CHECKPOINT")
            started_at = time.perf_counter()
            with connection.cursor().copy(f"COPY bench_items ({COLUMNS}) FROM STDIN (FORMAT csv, HEADER)") as copy:
                copy.write(content)
            took.append(time.perf_counter() - started_at)
        connection.execute("DROP TABLE bench_items")
    return min(took)


def imported(platform: Platform, content: bytes, name: str) -> tuple[dict[str, Any], float]:
    """The import when it is applied, and the seconds from the first byte sent until then."""
    fields = {"entity": "BENCH", "object": "items", "mode": "delta", "apply": "true"}
    started_at = time.perf_counter()
    answer = platform.request(
        "POST", "/v1/imports", data=fields, files={"file": (name, content, "text/csv")}, timeout=IMPORT_TIMEOUT_S
    )
    assert answer.status_code == 202, answer.text
    import_id = answer.json()["importId"]
    while True:
        run = platform.get(f"/v1/imports/{import_id}")
        took = time.perf_counter() - started_at
        if run["state"] == "APPLIED":
            return run, took
        if run["state"] in ("FAILED", "QUESTIONS", "CANCELLED") or took > IMPORT_TIMEOUT_S:
            sys.exit(f"the import did not apply: {json.dumps(run)[:3000]}")
        time.sleep(LOOK_EVERY_S)


def visible_s(platform: Platform, count: int) -> float:
    """Seconds until the dashboard's read model counts every open item, from now."""
    started_at = time.perf_counter()
    while True:
        totals = platform.get("/v1/reports/aging", asOf="2026-06-30", entity="BENCH").get("totals", [])
        if sum(total["itemCount"] for total in totals) == count:
            return time.perf_counter() - started_at
        if time.perf_counter() - started_at > IMPORT_TIMEOUT_S:
            sys.exit(f"the read model never showed {count} open items: {totals}")
        time.sleep(LOOK_EVERY_S)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=ITEMS)
    count = parser.parse_args().items
    content = generated(count)
    open_count = sum(line.endswith(b",") for line in content.splitlines()[1:])
    print(f"{count:,} items, {len(content) / 1e6:.1f} MB, {machine.machine()}, Python {machine.python_version()}")
    with Platform.started() as platform:
        platform.post("/v1/entities", {"code": "BENCH", "name": "Bench", "country": "FR", "currency": "EUR"})
        copy_s = raw_copy_s(platform, content)
        run, first_s = imported(platform, content, "bench.csv")
        shown_s = visible_s(platform, open_count)
        # The same rows once more, under other bytes: nothing changes, and finding that out must be cheap.
        _, again_s = imported(platform, content + b"\n", "bench-again.csv")
    counts = {name: value for name, value in run["rowCounts"].items() if value}
    print(f"rows: {counts}")
    print(f"{'stage':<28}{'seconds':>10}{'x COPY':>10}{'rows/s':>12}")
    lines = {"raw COPY, indexed table": copy_s}
    stages = sorted(run.get("stageSeconds", {}).items(), key=lambda stage: STAGES.index(stage[0]))
    lines |= {f"import: {stage}": seconds for stage, seconds in stages}
    lines |= {"import, upload to applied": first_s, "then shown in reports": shown_s, "same rows again": again_s}
    for label, seconds in lines.items():
        rate = f"{count / seconds:,.0f}" if seconds > 0.001 else ""
        print(f"{label:<28}{seconds:>10.2f}{seconds / copy_s:>10.1f}{rate:>12}")
    assert run["rowCounts"].get("created") == count, "not every row was created"


if __name__ == "__main__":
    main()
