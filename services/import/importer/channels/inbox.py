"""What lies in senders' folders becomes imports, and what became of them is put where senders look."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from importer import store, usecases
from importer.channels.folders import Tree, Waiting, all_trees, channels_root
from importer.reports import report_json, report_text
from importer.store import BatchRow, SourceRow
from importer.texts import CATALOG
from importer.usecases.sources import note_error
from kit import clock, context
from kit.errors import Refused
from kit.ids import new_id
from kit.service import Runtime

log = logging.getLogger(__name__)

READ_BYTES = 1024 * 1024
DAY_S = 86_400.0
FORGET_EVERY_S = 3_600.0
# States after which a file lies no longer in our hands; PREVIEWED only where nobody asked for more.
ENDED = ("APPLIED", "FAILED", "CANCELLED", "ROLLED_BACK")


class Inbox:
    """Looks after the folders of all sources; servers tell it which files are being written."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._settings = runtime.settings
        self._database = runtime.database
        self.root = channels_root(runtime.settings)
        self._writing: dict[Path, int] = {}
        self._lock = threading.Lock()
        self.wanted = threading.Event()

    def opened(self, path: Path) -> None:
        """A server writes this file."""
        with self._lock:
            self._writing[path] = self._writing.get(path, 0) + 1

    def closed(self, path: Path) -> None:
        """A server has closed it, by the sender's wish or because he went away."""
        with self._lock:
            left = self._writing.get(path, 0) - 1
            if left > 0:
                self._writing[path] = left
            else:
                self._writing.pop(path, None)

    def is_open(self, path: Path) -> bool:
        """Whether somebody writes it here."""
        with self._lock:
            return path in self._writing

    def run(self, stop: threading.Event) -> None:
        """Looks again and again until stop."""
        forgot_at = float("-inf")
        while not stop.is_set():
            try:
                self.look()
                if time.monotonic() - forgot_at >= FORGET_EVERY_S:
                    self.forget(time.time())
                    forgot_at = time.monotonic()
            except Exception as error:  # noqa: BLE001 - nothing is lost: the next look finds the same files
                log.warning("folders were not looked after; going on: %s", error)
            self.wanted.wait(self._settings.channel_poll_s)
            self.wanted.clear()

    def look(self) -> int:
        """Looks through every folder once; returns how many files were taken or put back."""
        if self.root is None:
            return 0
        moved = 0
        for tenant_id, source_id in all_trees(self.root):
            tree = Tree(self.root, tenant_id, source_id)
            with tree.held() as is_ours:
                if is_ours:
                    moved += self._look_into(tree, tenant_id, source_id)
        return moved

    def forget(self, now_s: float) -> int:
        """Removes what senders had long enough to look at; returns how many files."""
        if self.root is None:
            return 0
        before_s = now_s - self._settings.channel_kept_days * DAY_S
        return sum(
            Tree(self.root, tenant_id, source_id).forget(before_s)
            for tenant_id, source_id in all_trees(self.root)
            if (self.root / tenant_id / source_id / "reports").is_dir()
        )

    def _look_into(self, tree: Tree, tenant_id: str, source_id: str) -> int:
        with self._lock:
            being_written = set(self._writing)
        ready = tree.finished(time.time(), self._settings.quiet_s, being_written)
        claimed = tree.claimed()
        if not ready and not claimed:
            return 0
        caller = context.service_caller(tenant_id, self._settings.service_name)
        with context.acting_as(caller), self._database.transaction() as session:
            source = store.source(session, source_id)
            if source is not None:
                session.expunge(source)
        if source is None:
            return 0
        moved = 0
        with context.acting_as(replace(caller, name=source.name)):
            for waiting in claimed:
                moved += self._follow(tree, source, waiting)
            if source.enabled:
                for path in ready:
                    # The order of the ids is the order of the files: they are applied so.
                    waiting = tree.claim(path, new_id())
                    self._follow(tree, source, waiting)
                    moved += 1
        return moved

    def _follow(self, tree: Tree, source: SourceRow, waiting: Waiting) -> int:
        """Takes a claimed file, or says what became of it. 1 when it left our hands."""
        with self._database.transaction() as session:
            run = store.batch(session, waiting.import_id)
            if run is not None:
                session.expunge(run)
        if run is None:
            return self._take(tree, source, waiting)
        if run.state in ENDED or (run.state == "PREVIEWED" and not run.apply):
            self._give_back(tree, source, waiting, run)
            return 1
        return 0

    def _take(self, tree: Tree, source: SourceRow, waiting: Waiting) -> int:
        """Makes the import. A refusal for good goes back with its reason; anything else is tried at the next look."""
        size = waiting.path.stat().st_size
        earlier = self._same_before(source, waiting)
        if earlier is not None:
            text = report_text(source.language, self._settings.public_url, earlier, source, is_double=True)
            tree.settle(waiting, True, text, clock.utc_now())
            return 1
        upload = usecases.Upload(
            file_name=waiting.name,
            entity_code=source.entity_code,
            size_bytes=size,
            source_id=source.source_id,
            channel=source.kind,
        )
        try:
            usecases.start_import(
                self._database,
                self._settings,
                lambda: self._runtime.channel("ledger"),
                upload,
                pieces_of(waiting.path),
                waiting.import_id,
            )
        except Refused as refusal:
            if refusal.is_transient:
                log.warning("file %s of source %s waits: %s", waiting.name, source.source_id, refusal.reason)
                return 0
            self._refuse(tree, source, waiting, refusal)
            return 1
        return 0

    def _same_before(self, source: SourceRow, waiting: Waiting) -> BatchRow | None:
        """The import of the very same file, when nothing else of its name came in between."""
        with self._database.transaction() as session:
            newest = store.newest_of_source(session, source.source_id, waiting.name)
            if newest is None or newest.size_bytes != waiting.path.stat().st_size:
                return None
            if newest.sha256 != sha256_of(waiting.path):
                return None
            session.expunge(newest)
            return newest

    def _refuse(self, tree: Tree, source: SourceRow, waiting: Waiting, refusal: Refused) -> None:
        now = clock.utc_now()
        words = CATALOG.say(refusal.message, source.language)
        with self._database.transaction() as session:
            note_error(session, source.source_id, f"{waiting.name}: {words}", now)
        tree.settle(waiting, False, f"{waiting.name}\n\n{words}\n", now)

    def _give_back(self, tree: Tree, source: SourceRow, waiting: Waiting, run: BatchRow) -> None:
        now = clock.utc_now()
        is_good = run.state in ("APPLIED", "PREVIEWED")
        stem = f"{now.strftime('%Y%m%dT%H%M%SZ')}-{run.import_id[-6:]}-{run.file_name}"
        if run.details.get("rejects") or run.ledger_rejects:
            pieces = usecases.rejects_csv(self._settings, run, source.language)
            tree.put_report(f"{stem}.rejects.csv", b"".join(pieces))
        tree.put_report(f"{stem}.report.json", json.dumps(report_json(run), ensure_ascii=False, indent=1).encode())
        tree.settle(waiting, is_good, report_text(source.language, self._settings.public_url, run, source), now)


def pieces_of(path: Path) -> Iterator[bytes]:
    """A file's bytes."""
    with path.open("rb") as file:
        while piece := file.read(READ_BYTES):
            yield piece


def sha256_of(path: Path) -> str:
    """The hash of a file's bytes."""
    with contextlib.closing(path.open("rb")) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
