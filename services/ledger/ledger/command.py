"""`python -m ledger audit verify | seal | roots` (and `quittance audit ...`): the audit chain for people at a terminal."""

import argparse
import json
import sys
from datetime import UTC, timedelta

from kit import context, files
from kit.clock import utc_now
from kit.db import Database
from kit.settings import ServiceSettings
from ledger.domain.audit import Block
from ledger.store import checks
from ledger.usecases import audit

PROGRESS_BLOCKS = 20


def run(database: Database, arguments: list[str]) -> int:
    """Does what is asked for one tenant, or for all; returns the exit code: 1 when a row is not as it was sealed."""
    parser = argparse.ArgumentParser(prog="quittance audit", description="The audit chain of the ledger.")
    parser.add_argument("work", choices=["verify", "seal", "roots"])
    parser.add_argument("--tenant", default="", help="UUID of one tenant; all when not given")
    parser.add_argument("--from-block", type=int, default=1, help="verify: believe the blocks before this one")
    asked = parser.parse_args(arguments)
    work = {"verify": _verify, "seal": _seal, "roots": _roots}[asked.work]
    bad = 0
    for tenant_id in [asked.tenant] if asked.tenant else checks.tenants(database):
        with context.acting_as(context.service_caller(tenant_id, "ledger")):
            bad += work(database, tenant_id, asked)
    return 1 if bad else 0


def _verify(database: Database, tenant_id: str, asked: argparse.Namespace) -> int:
    rows = 0

    def go_on(block: Block) -> bool:
        nonlocal rows
        rows += block.row_count
        if block.number % PROGRESS_BLOCKS == 0:
            print(
                f"{tenant_id}: block {block.number} of {block.sealed_at:%Y-%m-%d %H:%M} is well, {rows} rows",
                file=sys.stderr,
            )
        return True

    found = audit.verify(database, from_block=asked.from_block, go_on=go_on)
    finding = found.finding
    if finding is None and database.settings.file_store_url:
        today = utc_now().astimezone(UTC).date()
        finding = audit.verify_roots(database, files.store(database.settings), today + timedelta(days=1))
    if finding is not None:
        print(f"{tenant_id}: {finding}")
        return 1
    if not found.blocks:
        print(f"{tenant_id}: no block is sealed yet")
        return 0
    print(
        f"{tenant_id}: {found.blocks} blocks and {found.rows} rows are well,"
        f" up to block {found.last_number} {found.last_hash.hex()}"
    )
    return 0


def _seal(database: Database, tenant_id: str, asked: argparse.Namespace) -> int:
    count = 0
    while (block := database.retrying(audit.seal_block)) is not None:
        count += 1
        print(f"{tenant_id}: block {block.number} seals {block.row_count} rows, {block.hash(tenant_id).hex()}")
    if not count:
        print(f"{tenant_id}: nothing new to seal")
    return 0


def _roots(database: Database, tenant_id: str, asked: argparse.Namespace) -> int:
    for day in audit.days_sealed(database):
        with database.transaction() as session:
            print(json.dumps(audit.roots_of_day(session, day), indent=1))
    return 0


def quittance(settings: ServiceSettings, arguments: list[str]) -> int:
    """The console script: the first word is the subject, of which there is one so far."""
    if not arguments or arguments[0] != "audit":
        print("usage: quittance audit verify|seal|roots [--tenant UUID] [--from-block N]", file=sys.stderr)
        return 2
    return run(Database(settings), arguments[1:])
