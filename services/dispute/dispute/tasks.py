"""Recovering and daily work: rows are the truth, these only look at them again."""

from dispute import holding, store, usecases
from kit import clock
from kit.errors import Refused
from kit.jobs import Daily, Job

_FIRST_ID = "00000000-0000-0000-0000-000000000000"


def settle_holds(job: Job) -> None:
    """Makes the ledger hold what a case says; finds nothing to do when the request itself got so far."""
    try:
        holding.settle_holds(job.database, job.settings, job.payload["case_id"], clock.business_today())
    except Refused as refusal:
        # What the ledger refuses for good has been noted on the case.
        if refusal.is_transient:
            raise


def follow(job: Job) -> None:
    """Looks at every live case once per business date: clocks that ran out, cases with nothing left to do."""
    after = _FIRST_ID
    while after:
        with job.database.transaction() as session:
            job.fence(session)
            case_ids = store.all_live_cases(session, after, usecases.SWEEP_BATCH_CASES)
            usecases.follow(session, case_ids, job.settings, clock.business_today())
            after = case_ids[-1] if case_ids else ""


JOBS = {usecases.HOLDS_JOB: settle_holds}
SCHEDULES = {"dispute.day": Daily(follow)}
