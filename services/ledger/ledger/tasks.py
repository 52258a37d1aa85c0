"""The ledger's own slow work."""

from kit.clock import business_today
from kit.jobs import Every, Job
from ledger import usecases

SWEEP_EVERY_S = 3600


def sweep_holds(job: Job) -> None:
    """Ends the holds whose last day is past and says so, a bounded number of accounts per transaction."""
    today = business_today()
    while job.database.retrying(lambda session: usecases.sweep_holds(session, today)):
        job.heartbeat()


JOBS = {"ledger.sweep_holds": sweep_holds}
SCHEDULES = {"ledger.sweep_holds": Every(seconds=SWEEP_EVERY_S, handler=sweep_holds)}
