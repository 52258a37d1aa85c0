"""Who may open which folder: the same for SFTP and FTPS."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict

from importer import store
from importer.channels.folders import Tree
from importer.channels.inbox import Inbox
from importer.store import SourceRow
from importer.usecases.sources import password_fits, tenant_of
from kit import context
from kit.service import Runtime

ADDRESSES_MAX = 10_000


class Doors:
    """Looks up sources by the names people sign in with, and counts who guesses."""

    def __init__(self, runtime: Runtime, inbox: Inbox) -> None:
        self.settings = runtime.settings
        self.inbox = inbox
        self._database = runtime.database
        self._failures: OrderedDict[str, list[float]] = OrderedDict()
        self._lock = threading.Lock()

    def source(self, user_name: str, kind: str) -> SourceRow | None:
        """The source behind a name, when it is on."""
        tenant_id = tenant_of(user_name)
        if tenant_id is None:
            return None
        with context.acting_as(context.service_caller(tenant_id, self.settings.service_name)):
            with self._database.transaction() as session:
                row = store.source_by_user_name(session, user_name)
                if row is None or not row.enabled or row.kind != kind:
                    return None
                session.expunge(row)
                return row

    def password_fits(self, source: SourceRow | None, password: str) -> bool:
        """Whether it opens the source; takes as long when there is none."""
        kept = source.password_hash if source is not None and source.access_kind == "password" else ""
        return password_fits(self.settings, kept, password)

    def tree(self, source: SourceRow) -> Tree:
        """The source's folder, made when it is first opened."""
        assert self.inbox.root is not None, "no server runs without a place for folders"
        tree = Tree(self.inbox.root, source.tenant_id, source.source_id)
        tree.make()
        return tree

    def is_guessing(self, address: str) -> bool:
        """Whether an address has failed too often lately."""
        with self._lock:
            return len(self._recent(address)) >= self.settings.sign_in_tries

    def failed(self, address: str) -> None:
        """Counts a failed sign-in."""
        with self._lock:
            self._failures[address] = [*self._recent(address), time.monotonic()]
            self._failures.move_to_end(address)
            while len(self._failures) > ADDRESSES_MAX:
                self._failures.popitem(last=False)

    def _recent(self, address: str) -> list[float]:
        since = time.monotonic() - self.settings.sign_in_window_s
        return [at for at in self._failures.get(address, []) if at > since]
