"""The ledger's own slow work."""

import logging
from datetime import UTC

from kit import files
from kit.clock import business_today, utc_now
from kit.jobs import Every, Job
from kit.telemetry import meter
from ledger import usecases
from ledger.store import checks

log = logging.getLogger(__name__)

SWEEP_EVERY_S = 3600
SEAL_EVERY_S = 300
FORGET_EVERY_S = 86_400
# What one job seals at most: the next one goes on.
SEAL_BLOCKS_MAX = 200
EXPORT_EVERY_S = 86_400
CHECK_EVERY_S = 21_600
QUESTION_TIMEOUT_S = 60.0

wrong_rows = meter.create_gauge(
    "quittance.ledger.consistency.wrong_rows",
    description="Rows that a consistency question finds wrong (up to 1,000), by question and tenant",
)


def sweep_holds(job: Job) -> None:
    """Ends the holds whose last day is past and says so, a bounded number of accounts per transaction."""
    today = business_today()
    while job.database.retrying(lambda session: usecases.sweep_holds(session, today)):
        job.heartbeat()


def forget_images(job: Job) -> None:
    """Drops what is kept of loads that can no longer be taken back."""
    job.database.retrying(usecases.forget_images)


def seal_facts(job: Job) -> None:
    """Seals the facts that are final into blocks of the audit chain, a transaction per block."""
    for _ in range(SEAL_BLOCKS_MAX):
        if job.database.retrying(usecases.audit.seal_block) is None:
            return
        job.heartbeat()


def export_roots(job: Job) -> None:
    """Keeps the roots of the days that are over (UTC) outside the database, where there is a store for files."""
    if not job.settings.file_store_url:
        log.warning("the roots of the audit chain are not exported: file_store_url is not set")
        return
    usecases.audit.export_roots(job.database, files.store(job.settings), utc_now().astimezone(UTC).date())


def check_consistency(job: Job) -> None:
    """Asks every consistency question, measures the wrong rows and logs them."""
    for question in checks.questions():
        answer = checks.answer(job.database, question, QUESTION_TIMEOUT_S)
        if answer.wrong_rows is None:
            log.warning("consistency question %s took longer than %s s", question, QUESTION_TIMEOUT_S)
            continue
        wrong_rows.set(answer.wrong_rows, {"question": question, "tenant": job.tenant_id})
        if answer.wrong_rows:
            log.error(
                "consistency question %s: %d wrong rows, such as %s", question, answer.wrong_rows, answer.examples[0]
            )
        job.heartbeat()


JOBS = {"ledger.sweep_holds": sweep_holds}
SCHEDULES = {
    "ledger.sweep_holds": Every(seconds=SWEEP_EVERY_S, handler=sweep_holds),
    "ledger.forget_images": Every(seconds=FORGET_EVERY_S, handler=forget_images),
    "ledger.seal_facts": Every(seconds=SEAL_EVERY_S, handler=seal_facts),
    "ledger.export_roots": Every(seconds=EXPORT_EVERY_S, handler=export_roots),
    "ledger.check_consistency": Every(seconds=CHECK_EVERY_S, handler=check_consistency),
}
