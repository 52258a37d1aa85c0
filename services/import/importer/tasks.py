"""The import service's slow work. Both jobs may be killed at any point and run again."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from importer import store, usecases
from importer.usecases import documents
from kit import grpc_client
from kit.jobs import Every, JobTable, Work, WorkerDied


def read_import(job: Any) -> None:
    """Recognises and validates one file."""
    usecases.read_import(job, job.payload["import_id"], job.payload["round"])


def apply_import(job: Any) -> None:
    """Brings one import's accepted rows into the ledger."""
    usecases.apply_import(job, job.payload["import_id"], job.payload["apply_round"], job.payload.get("turn", 0))


def reading_given_up(session: Session, job: Any, error: BaseException) -> None:
    """The import says that it failed, instead of seeming to be read for ever."""
    row = store.batch_for_update(session, job.payload["import_id"])
    if row is not None and row.round == job.payload["round"] and row.state in ("UPLOADED", "READING"):
        code = "WORKER_DIED" if isinstance(error, WorkerDied) else "INTERRUPTED"
        usecases.fail(session, row, code, detail=type(error).__name__)


def applying_given_up(session: Session, job: Any, error: BaseException) -> None:
    """The import says that it failed, instead of seeming to be applied for ever."""
    row = store.batch_for_update(session, job.payload["import_id"])
    if row is not None and row.apply_round == job.payload["apply_round"] and row.state == "APPLYING":
        usecases.fail(session, row, "APPLY_INTERRUPTED", detail=type(error).__name__)


def plan_import(job: Any) -> None:
    """Computes what one import would do."""
    usecases.plan_import(job, job.payload["import_id"], job.payload["plan_round"])


def planning_given_up(session: Session, job: Any, error: BaseException) -> None:
    """The import says that it failed, instead of seeming to be planned for ever."""
    row = store.batch_for_update(session, job.payload["import_id"])
    if row is not None and row.plan_round == job.payload["plan_round"] and row.state == "READING":
        usecases.fail(session, row, "INTERRUPTED", detail=type(error).__name__)


def roll_back(job: Any) -> None:
    """Takes one import back in the ledger."""
    usecases.roll_back(job, job.payload["import_id"])


def rolling_back_given_up(session: Session, job: Any, error: BaseException) -> None:
    """The import stays applied and can be taken back again, instead of seeming to be taken back for ever."""
    row = store.batch_for_update(session, job.payload["import_id"])
    if row is not None and row.state == "APPLIED" and row.stage == "rollBack":
        usecases.give_up_roll_back(session, row, type(error).__name__)


def keep_import(job: Any) -> None:
    """Puts the parts of an upload, or the batches of a stream, together."""
    usecases.keep_import(job, job.payload["import_id"])


def keeping_given_up(session: Session, job: Any, error: BaseException) -> None:
    """The import says that it failed, instead of seeming to arrive for ever."""
    row = store.batch_for_update(session, job.payload["import_id"])
    if row is not None and row.state == "UPLOADED" and not row.sha256:
        usecases.fail(session, row, "INTERRUPTED", detail=type(error).__name__)


def pull_source(job: Any) -> None:
    """Looks at a customer's server and takes what is new."""
    usecases.pull_source(job, job.payload["source_id"])


def report_import(job: Any) -> None:
    """Tells people what became of a source's file."""
    usecases.report_import(job, job.payload["import_id"], job.payload["state"])


def match_document(job: Any) -> None:
    """Looks for the item of a document that waits for one."""
    hints = job.payload.get("item_ids", [])
    documents.match_document(job, lambda: _ledger(job), job.payload["document_id"], hints)


def keep_documents(job: Any) -> None:
    """Keeps the files an import brought with its items."""
    documents.keep_documents_of_import(job, job.payload["import_id"])


def look_at_document(job: Any) -> None:
    """Asks the ledger again about the items of a document."""
    documents.look_again(job, lambda: _ledger(job), job.payload["document_id"])


def scan_document(job: Any) -> None:
    """Has a document scanned."""
    documents.scan_document(job, job.payload["document_id"])


def remove_document_file(job: Any) -> None:
    """Removes the bytes of a document that was deleted."""
    documents.remove_file(job, job.payload["document_id"])


def delete_old_documents(job: Any) -> None:
    """Deletes documents that were kept long enough."""
    documents.delete_kept_long_enough(job, lambda: _ledger(job))


def _ledger(job: Any) -> Any:
    return grpc_client.channel(job.settings, "ledger")


JOBS: JobTable = {
    "import.documents": keep_documents,
    "import.document_match": match_document,
    "import.document_look": look_at_document,
    "import.document_scan": scan_document,
    "import.document_file": remove_document_file,
    "import.keep": Work(keep_import, on_parked=keeping_given_up),
    "import.pull": pull_source,
    "import.report": report_import,
    "import.plan": Work(plan_import, on_parked=planning_given_up),
    "import.rollBack": Work(roll_back, on_parked=rolling_back_given_up),
    "import.read": Work(read_import, on_parked=reading_given_up),
    "import.apply": Work(apply_import, on_parked=applying_given_up),
}

SCHEDULES = {
    "import.document_scans": Every(3600, documents.scan_waiting),
    "import.document_retention": Every(24 * 3600, delete_old_documents),
    "import.pulls": Every(60, usecases.plan_pulls),
    "import.sweep": Every(3600, usecases.sweep_uploads),
}
