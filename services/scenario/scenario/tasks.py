"""Slow and recovering work: rows are the truth, these only look at them again."""

from kit import clock
from kit.errors import Refused
from kit.jobs import Daily, Every, Job
from scenario import sending, store, usecases

SWEEP_INTERVAL_S = 3600
_FIRST_ID = "00000000-0000-0000-0000-000000000000"


def sweep(job: Job) -> None:
    """Decides anew about every account whose decision is not of the business date; one transaction per 500."""
    after = _FIRST_ID
    policy = usecases.policy_of(job.settings)
    while after:
        with job.database.transaction() as session:
            job.fence(session)
            after = usecases.sweep(session, after, clock.business_today(), policy)


def send(job: Job) -> None:
    """Finishes a send that was cut short; finds nothing to do in the usual case."""
    sending.recover_send(job.database, job.settings, job.payload["action_id"], clock.business_today())


def place_promise(job: Job) -> None:
    """Finishes a promise that was cut short between its intent and the ledger's answer."""
    promise_id = job.payload["promise_id"]
    with job.database.transaction() as session:
        row = store.promises(session, [promise_id]).get(promise_id)
    if row is None or row.is_placed:
        return
    try:
        sending.place_promise(job.database, job.settings, promise_id, clock.business_today())
    except Refused as refusal:
        if refusal.is_transient:
            raise


def release_promise(job: Job) -> None:
    """Ends the holds of a cancelled promise, whether or not the request that cancelled it got so far."""
    sending.release_promise(job.database, job.settings, job.payload["promise_id"])


JOBS = {
    "scenario.replan": sweep,
    "scenario.send": send,
    "scenario.place_promise": place_promise,
    "scenario.release_promise": release_promise,
}
SCHEDULES = {
    # The day's slot is the business date: it comes at once when that date is set to another one.
    "scenario.day": Daily(sweep),
    "scenario.sweep": Every(seconds=SWEEP_INTERVAL_S, handler=sweep),
}
