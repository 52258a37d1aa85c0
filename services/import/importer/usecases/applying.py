"""The job that brings accepted rows into the ledger, in chunks of whole accounts, resumable at any point."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from importer import domain, store
from importer.store import BatchRow
from importer.usecases.planning import balance_of
from importer.usecases.sending import Chunks, peer_of
from importer.usecases.state import changed, fail, stock_question, with_warning
from kit import clock
from kit.errors import Refused
from kit.jobs import enqueue

log = logging.getLogger(__name__)

# How often an import looks whether the older one of its entity is through.
TURN_PAUSE_S = 2
COUNTS = ("created", "updated", "unchanged", "cleared", "rejected")


def apply_import(job: Any, import_id: str, apply_round: int, turn: int = 0) -> None:
    """Brings the accepted rows into the ledger, chunk by chunk of whole accounts; goes on where it stopped.
    Repeatable."""
    if not _my_turn(job, import_id, apply_round, turn):
        return
    with job.database.transaction() as session:
        row = store.batch_for_update(session, import_id)
        if row is None or row.apply_round != apply_round or row.state != "APPLYING":
            return
        session.expunge(row)
    load = _Load(job, row)
    try:
        load.run()
    except Refused as refusal:
        code = "LEDGER_UNREACHABLE" if refusal.is_transient else "LEDGER_REFUSED"
        if refusal.reason == "STOCK_GUARD":
            _ask_about_stock(job, import_id, apply_round, refusal)
            return
        with job.database.transaction() as session:
            job.fence(session)
            kept = store.batch_for_update(session, import_id)
            if kept is not None and kept.apply_round == apply_round and kept.state == "APPLYING":
                fail(session, kept, code, detail=refusal.message or refusal.reason)
        return
    with job.database.transaction() as session:
        job.fence(session)
        kept = store.batch_for_update(session, import_id)
        if kept is None or kept.apply_round != apply_round or kept.state != "APPLYING":
            return
        load.write_to(kept)
        totals = [sum(counts[place] for counts in kept.chunk_counts.values()) for place in range(len(COUNTS))]
        if sum(totals) != kept.accepted_count:
            # The sum that must always hold does not: say so rather than report figures nobody can trust.
            fail(
                session, kept, "LEDGER_REFUSED", detail=f"{kept.accepted_count} rows sent, {sum(totals)} accounted for"
            )
            return
        kept.state, kept.applied_at, kept.rows_per_second = "APPLIED", clock.utc_now(), 0.0
        kept.stage = ""
        if kept.details.get("document_count"):
            enqueue(session, "import.documents", {"import_id": import_id}, f"{import_id}:{apply_round}")
        passed_over = sum(load.passed_over.values())
        if passed_over:
            kept.details = with_warning(kept.details, "ownedHere", count=str(passed_over))
        changed(session, kept)


def _my_turn(job: Any, import_id: str, apply_round: int, turn: int) -> bool:
    """Files of one entity are applied in the order of their upload. A later one comes back in a while, but not for
    ever:
    an older one that hangs must not stop the books."""
    with job.database.transaction() as session:
        row = store.batch(session, import_id)
        if row is None or row.apply_round != apply_round or row.state != "APPLYING":
            return False
        if turn * TURN_PAUSE_S > job.settings.ledger_patience_s or not store.older_batch_applying(session, row):
            return True
        payload = {"import_id": import_id, "apply_round": apply_round, "turn": turn + 1}
        later = clock.utc_now() + timedelta(seconds=TURN_PAUSE_S)
        enqueue(session, "import.apply", payload, f"{import_id}:{apply_round}:{turn + 1}", run_after=later)
        return False


def _ask_about_stock(job: Any, import_id: str, apply_round: int, refusal: Refused) -> None:
    cleared, opened = refusal.metadata.get("cleared_items", "?"), refusal.metadata.get("open_items", "?")
    with job.database.transaction() as session:
        job.fence(session)
        row = store.batch_for_update(session, import_id)
        if row is None or row.apply_round != apply_round or row.state != "APPLYING":
            return
        row.details = {**row.details, "questions": [asdict(stock_question(cleared, opened))]}
        row.state, row.stage = "QUESTIONS", ""
        changed(session, row)


class _Load:
    """One load on its way: what the ledger has committed, what is left, and the figures."""

    def __init__(self, job: Any, row: BatchRow) -> None:
        self.job, self.row = job, row
        self.settings = job.settings
        self.peer = peer_of(job, row)
        self.counts: dict[str, list[int]] = {}
        self.rejects: dict[int, list[list[Any]]] = {}
        self.cleared_absent = 0
        self.balances: list[list[Any]] = []
        self.reopened: dict[int, int] = {}
        # Values whose field the ERP does not own.
        self.passed_over: dict[int, int] = {}
        self.started = time.monotonic()
        self.saved_at = 0.0
        self.rows_before = 0

    def run(self) -> None:
        """Sends what is missing and ends the load. Raises Refused when the ledger will not, or cannot for too long."""
        if not self.row.chunk_bounds and self.row.mode != "stock":
            return
        patience_until = time.monotonic() + self.settings.ledger_patience_s
        pause_s = 0.2
        while True:
            before = len(self.counts)
            try:
                if not self._finished():
                    self._send()
                self._finish()
                return
            except Refused as refusal:
                if not refusal.is_transient:
                    raise
                if len(self.counts) > before:
                    patience_until, pause_s = time.monotonic() + self.settings.ledger_patience_s, 0.2
                if time.monotonic() > patience_until:
                    raise
                log.warning("import %s: ledger not there (%s), trying again", self.row.import_id, refusal.reason)
                self.job.heartbeat()
                time.sleep(min(pause_s, max(patience_until - time.monotonic(), 0)))
                pause_s = min(pause_s * 2, 5.0)

    def _finished(self) -> bool:
        committed, finished = self.peer.committed()
        for progress in committed:
            self._take(progress)
        self.rows_before = self._rows_done()
        return finished

    def _take(self, progress: Any) -> None:
        counts = progress.counts
        self.counts[str(progress.chunk_number)] = [
            counts.created,
            counts.updated,
            counts.unchanged,
            counts.cleared,
            counts.rejected,
        ]
        self.reopened[progress.chunk_number] = counts.reopened
        self.passed_over[progress.chunk_number] = progress.kept
        if progress.rejects:
            self.rejects[progress.chunk_number] = [
                [reject.line, *domain.from_ledger(reject.field, reject.reason)] for reject in progress.rejects
            ]

    def _rows_done(self) -> int:
        return sum(sum(counts) for counts in self.counts.values())

    def _send(self) -> None:
        missing = [number for number in range(len(self.row.chunk_bounds)) if str(number) not in self.counts]
        if not missing and self.row.chunk_bounds:
            return

        chunks = Chunks(self.job, self.row, missing)
        for progress in self.peer.send(iter(chunks)):
            self._take(progress)
            if time.monotonic() - self.saved_at > self.settings.progress_every_s:
                self._save()
        self._save()
        chunks.check()

    def _save(self) -> None:
        """Shows how far it is. The ledger's own record decides on a resume, so losing this write costs nothing."""
        self.saved_at = time.monotonic()
        with self.job.database.transaction() as session:
            self.job.fence(session)
            row = store.batch_for_update(session, self.row.import_id)
            if row is not None and row.state == "APPLYING":
                self.write_to(row)
                row.rows_per_second = round(
                    (row.rows_done - self.rows_before) / max(time.monotonic() - self.started, 0.001), 1
                )
                changed(session, row)

    def write_to(self, row: BatchRow) -> None:
        """The figures so far, into the import's row."""
        row.chunk_counts, row.rows_done, row.cleared_absent = dict(self.counts), self._rows_done(), self.cleared_absent
        row.ledger_rejects = [reject for number in sorted(self.rejects) for reject in self.rejects[number]]
        row.reopened, row.balances = sum(self.reopened.values()), self.balances
        row.stage_seconds = {**row.stage_seconds, "load": round(time.monotonic() - self.started, 3)}

    def _finish(self) -> None:
        confirm = self.row.answers.get("stockGuard") == "CONFIRM"
        reply = self.peer.finish(confirm_clearing=confirm)
        self.cleared_absent = reply.cleared_absent
        self.balances = [balance_of(balance) for balance in reply.balances]
