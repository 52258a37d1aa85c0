"""Slow and late work of portal: what a killed request left, answers that ran out, tokens nobody asks for any more."""

from kit.jobs import Daily, Every, Job
from portal.usecases import DECIDE_JOB, PLACE_JOB, Counter

EXPIRY_EVERY_S = 900


def place_holds(job: Job) -> None:
    """Places the holds of an answer whose own request did not get to it."""
    _counter(job).place_late(job.payload["response_id"])


def decide(job: Job) -> None:
    """Finishes a decision whose own request did not get to it."""
    _counter(job).carry_out_late(job.payload["response_id"])


def expire(job: Job) -> None:
    """Ends answers nobody decided while their holds ran."""
    _counter(job).expire()


def wipe(job: Job) -> None:
    """Wipes tokens of links that were never opened."""
    _counter(job).wipe_tokens()


def _counter(job: Job) -> Counter:
    return Counter(job.database, job.settings)


JOBS = {PLACE_JOB: place_holds, DECIDE_JOB: decide}
SCHEDULES = {"portal.expire": Every(EXPIRY_EVERY_S, expire), "portal.wipe": Daily(wipe)}
