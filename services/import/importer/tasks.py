"""The import service's slow work. Both jobs may be killed at any point and run again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from importer import store, usecases
from kit.jobs import LeaseLost

log = logging.getLogger(__name__)


def read_import(job: Any) -> None:
    """Recognises and validates one file."""
    _guarded(job, lambda: usecases.read_import(job, job.payload["import_id"], job.payload["round"]))


def apply_import(job: Any) -> None:
    """Brings one import's accepted rows into the ledger."""
    _guarded(
        job,
        lambda: usecases.apply_import(
            job, job.payload["import_id"], job.payload["apply_round"], job.payload.get("turn", 0)
        ),
    )


def _guarded(job: Any, work: Callable[[], None]) -> None:
    """After the last attempt the import says that it failed, instead of seeming to run for ever."""
    try:
        work()
    except LeaseLost:
        raise
    except Exception as error:
        if job.attempt < job.settings.job_attempts:
            raise
        log.exception("import %s gave up", job.payload["import_id"])
        with job.database.transaction() as session:
            row = store.batch_for_update(session, job.payload["import_id"])
            if row is not None and row.state in ("UPLOADED", "READING", "APPLYING"):
                usecases.fail(session, row, "INTERRUPTED", detail=type(error).__name__)
        raise


JOBS = {"import.read": read_import, "import.apply": apply_import}
