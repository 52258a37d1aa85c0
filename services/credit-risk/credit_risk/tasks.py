"""What time changes: limits that start and end."""

from credit_risk import store, usecases
from credit_risk.rpc import credit_to_proto
from kit.clock import business_today
from kit.jobs import Daily, Job

SWEEP_UNITS_MAX = 200


def sweep_limits(job: Job) -> None:
    """Says anew the legal units whose limit started or ended since they were last said."""
    with job.database.transaction() as session:
        units = store.all_units_with_limits(session)
    for first in range(0, len(units), SWEEP_UNITS_MAX):
        job.heartbeat()
        with job.database.transaction() as session:
            usecases.say_risk(session, units[first : first + SWEEP_UNITS_MAX], business_today(), credit_to_proto)


SCHEDULES = {"credit-risk.sweep-limits": Daily(sweep_limits)}
