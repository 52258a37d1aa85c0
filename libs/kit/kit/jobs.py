"""Slow work of one service. A row is the truth; Celery only wakes a worker for it.

A job is claimed under lock with a lease and a fresh token; every later write carries the token, so that a worker that
slept through its lease changes nothing. While its handler runs, a thread renews the lease; a worker that is killed takes
its thread with it, and the lease runs out. What was dropped on the way (Redis wiped, worker killed) is found by the sweep.
"""

import json
import logging
import os
import threading
import time as stopwatch
from collections.abc import Callable, Mapping
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.orm import Session

from kit import clock, context, telemetry, tenants
from kit.db import Database, after_commit, database_of, is_connection_failure
from kit.errors import Code, Refused
from kit.ids import new_id

log = logging.getLogger(__name__)

ERROR_MAX_CHARACTERS = 4000
RETENTION_DAYS = 35
SWEEP_BATCH = 500
BACKOFF_MAX_S = 3600.0
AWAY_BACKOFF_MAX_S = 15.0
# A lease is renewed so often within its length; so much patience has the end of a job with a renewal under way.
RENEWALS_PER_LEASE = 3
KEEPER_JOIN_S = 5.0

_INSERT = text(
    "INSERT INTO job (tenant_id, id, kind, dedup_key, payload, run_after, woken_at, traceparent)"
    " VALUES (:tenant, :id, :kind, :dedup_key, CAST(:payload AS jsonb), coalesce(:run_after, now()),"
    "   CASE WHEN CAST(:run_after AS timestamptz) IS NULL THEN now() END, :traceparent)"
    " ON CONFLICT (tenant_id, kind, dedup_key) DO NOTHING RETURNING id"
)


class LeaseLost(Exception):
    """Another worker has this job now: stop without a trace."""


class WorkerDied(Exception):
    """Why a job is parked whose worker ended with it, every time: killed, out of memory, crashed."""


def enqueue(
    session: Session, kind: str, payload: dict[str, Any], dedup_key: str, run_after: datetime | None = None
) -> str:
    """Asks for a job in this transaction; returns its id, or that of the job that has the same kind and key already.

    Args: kind, a key of the service's JOBS; payload, what JSON knows; dedup_key, what makes a second asking the same
        one (for ever: put a version or date into it where the work may come again); run_after, not before this instant.
    """
    tenant_id = context.current_tenant()
    values = {
        "tenant": tenant_id,
        "id": new_id(),
        "kind": kind,
        "dedup_key": dedup_key,
        "payload": json.dumps(payload),
        "run_after": run_after,
        "traceparent": telemetry.traceparent(),
    }
    row = session.execute(_INSERT, values).first()
    if row is None:
        found = session.execute(
            text("SELECT id FROM job WHERE tenant_id = :tenant AND kind = :kind AND dedup_key = :dedup_key"), values
        ).scalar_one()
        return str(found)
    job_id = str(row.id)
    tenants.meet(session, tenant_id)
    if run_after is None:
        database = database_of(session)
        after_commit(session, f"job {job_id}", lambda: wake(database, tenant_id, job_id))
    return job_id


@dataclass
class Job:
    """A claimed job, as its handler sees it."""

    id: str
    kind: str
    payload: dict[str, Any]
    attempt: int
    tenant_id: str
    runtime: Any
    lease_token: str
    lease_s: float
    traceparent: str = ""
    held_until_s: float = 0.0
    _lost: threading.Event = field(default_factory=threading.Event, repr=False, compare=False)

    @property
    def is_lost(self) -> bool:
        """Whether another worker has this job now, or may have it since the lease could not be renewed in time.

        Costs nothing: ask before what cannot be taken back outside the database. It is a hint, `fence` is the proof.
        """
        return self.is_taken or stopwatch.monotonic() > self.held_until_s

    @property
    def database(self) -> Database:
        """The service's database."""
        return self.runtime.database

    @property
    def settings(self) -> Any:
        """The service's settings."""
        return self.runtime.settings

    def heartbeat(self) -> None:
        """Proves that the job is still ours and renews its lease. Raises LeaseLost when another one has it.

        Nobody needs it to stay alive: the lease is renewed by itself. A long computation calls it to end early.
        """
        with self.database.transaction() as session:
            self.fence(session)

    def fence(self, session: Session) -> None:
        """Makes this transaction the job's own: it holds the row until the end, or raises LeaseLost."""
        if not self._renewed(session, "id = :id"):
            self._lost.set()
            raise LeaseLost(f"job {self.id} is no longer ours")
        if session.info.get("fenced") != self.id:
            session.info["fenced"] = self.id
            event.listen(session, "before_commit", self._prolong)

    def _prolong(self, session: Session) -> None:
        """A lease that ran out under the lock of a long transaction would be free at the instant of its commit."""
        if stopwatch.monotonic() > self.held_until_s - self.lease_s * (1 - 1 / RENEWALS_PER_LEASE):
            self._renewed(session, "id = :id")

    def _renewed(self, session: Session, which: str) -> bool:
        begun_s = stopwatch.monotonic()
        row = session.execute(
            text(
                "UPDATE job SET lease_until = clock_timestamp() + make_interval(secs => :lease_s)"
                f" WHERE tenant_id = :tenant AND {which} AND lease_token = :token AND state = 'RUNNING' RETURNING 1"
            ),
            {"tenant": self.tenant_id, "id": self.id, "token": self.lease_token, "lease_s": self.lease_s},
        ).first()
        if row is not None:
            self.held_until_s = max(self.held_until_s, begun_s + self.lease_s)
        return row is not None

    def renew(self) -> bool:
        """Renews the lease unless a transaction has the row locked; False when it did not. Notes a job that is lost.

        A lock is our own fence, which keeps others out as long as it lasts, or the moment of another worker's claim.
        """
        begun_s = stopwatch.monotonic()
        with self.database.transaction() as session:
            unlocked = "id IN (SELECT id FROM job WHERE tenant_id = :tenant AND id = :id FOR UPDATE SKIP LOCKED)"
            if self._renewed(session, unlocked):
                return True
            is_ours = session.execute(
                text(
                    "SELECT 1 FROM job WHERE tenant_id = :tenant AND id = :id AND lease_token = :token"
                    " AND state = 'RUNNING'"
                ),
                {"tenant": self.tenant_id, "id": self.id, "token": self.lease_token},
            ).first()
        if is_ours is None:
            self._lost.set()
        else:
            # Another try comes before this is over.
            self.held_until_s = max(self.held_until_s, begun_s + self.lease_s / RENEWALS_PER_LEASE)
        return False

    @property
    def is_taken(self) -> bool:
        """Whether it is known that the job is no longer ours."""
        return self._lost.is_set()


class _Keeper:
    """Renews a job's lease from a thread of its own while the handler runs.

    A handler that hangs must not keep its job for ever: after job_longest_s the lease is left to run out.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._done = threading.Event()
        self._thread = threading.Thread(
            target=copy_context().run, args=(self._keep,), name=f"lease {job.id}", daemon=True
        )

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        # One that is stuck in a database that is away is left alone: after the end its statement finds nothing.
        self._thread.join(KEEPER_JOIN_S)

    def _keep(self) -> None:
        job = self._job
        interval_s = job.lease_s / RENEWALS_PER_LEASE
        until = stopwatch.monotonic() + job.settings.job_longest_s
        wait_s = interval_s
        while not self._done.wait(wait_s):
            if stopwatch.monotonic() > until:
                log.error("job %s (%s) runs for too long; its lease is left to run out", job.id, job.kind)
                return
            try:
                wait_s = interval_s if job.renew() else interval_s / 4
            except Exception as error:  # noqa: BLE001 - tried again at once; the fence decides whether the work counts
                log.warning("lease of job %s not renewed: %s", job.id, str(error).splitlines()[0])
                wait_s = interval_s / 4
            if job.is_taken:
                log.warning("job %s (%s) was lost to another worker while it ran", job.id, job.kind)
                return


Handler = Callable[[Job], None]
OnParked = Callable[[Session, Job, BaseException], None]


@dataclass(frozen=True)
class Work:
    """A kind of job with more than a handler: a value of JOBS, where a plain handler does not do.

    on_parked(session, job, error): says in the service's own rows that this job will not be done, in the transaction
    that parks it. error is what the last try raised, or WorkerDied when no worker lived to tell. It must not call
    anybody. Should it fail itself, the job is parked without it and both errors are kept.
    """

    handler: Handler
    on_parked: OnParked | None = None

    def __call__(self, job: Job) -> None:
        """Does the job: wherever a handler is wanted, this is one."""
        self.handler(job)


JobTable = Mapping[str, Handler | Work]


def claim(runtime: Any, tenant_id: str, job_id: str) -> Job | None:
    """Takes a job that is due and free; None when it is neither (done, taken, parked, or not yet)."""
    settings = runtime.settings
    claimed_s = stopwatch.monotonic()
    with runtime.database.transaction() as session:
        row = session.execute(
            text(
                "UPDATE job SET state = 'RUNNING', attempt = attempt + 1, lease_token = :token,"
                "   lease_until = clock_timestamp() + make_interval(secs => :lease_s)"
                " WHERE (tenant_id, id) IN (SELECT tenant_id, id FROM job WHERE tenant_id = :tenant AND id = :id"
                "   AND ((state = 'QUEUED' AND run_after <= clock_timestamp())"
                "     OR (state = 'RUNNING' AND lease_until < clock_timestamp())) FOR UPDATE SKIP LOCKED)"
                " RETURNING kind, payload, attempt, lease_token, traceparent"
            ),
            {"tenant": tenant_id, "id": job_id, "token": new_id(), "lease_s": settings.job_lease_s},
        ).first()
    if row is None:
        return None
    return Job(
        id=job_id,
        kind=row.kind,
        payload=row.payload,
        attempt=row.attempt,
        tenant_id=tenant_id,
        runtime=runtime,
        lease_token=str(row.lease_token),
        lease_s=settings.job_lease_s,
        held_until_s=claimed_s + settings.job_lease_s,
        traceparent=row.traceparent,
    )


def run(runtime: Any, handlers: JobTable, tenant_id: str, job_id: str) -> str:
    """Claims a job and does it; returns what became of it: DONE, QUEUED (again), PARKED, LOST or SKIPPED."""
    settings = runtime.settings
    with context.acting_as(context.service_caller(tenant_id, settings.service_name)):
        job = claim(runtime, tenant_id, job_id)
        if job is None:
            return "SKIPPED"
        known = handlers.get(job.kind)
        work = known if isinstance(known, Work) else Work(known or _no_handler)
        if job.attempt > settings.job_attempts:
            # It took its workers with it each time, or they would have parked it.
            return _park(job, work, WorkerDied(f"given up after {settings.job_attempts} tries; the last worker died"))
        carrier = {"traceparent": job.traceparent} if job.traceparent else None
        try:
            with telemetry.span(f"job {job.kind}", carrier=carrier), _Keeper(job):
                work(job)
        except LeaseLost:
            log.warning("job %s (%s) was taken over by another worker", job.id, job.kind)
            return "LOST"
        except Exception as error:
            message = _message(error)
            if isinstance(error, Refused) and error.code is Code.UNAVAILABLE:
                # A peer that is away says nothing about the job: it waits, and no try is spent.
                log.warning("job %s (%s) waits: %s", job.id, job.kind, message)
                delay_s = min(settings.job_backoff_s * 2 ** (job.attempt - 1), AWAY_BACKOFF_MAX_S)
                return _end(job, "QUEUED", message, delay_s, is_spent=False)
            hopeless = (isinstance(error, Refused) and not error.is_transient) or known is None
            if job.attempt >= settings.job_attempts or hopeless:
                log.exception("job %s (%s) parked after %d tries", job.id, job.kind, job.attempt)
                return _park(job, work, error)
            log.warning("job %s (%s), try %d: %s", job.id, job.kind, job.attempt, message)
            delay_s = min(settings.job_backoff_s * 2 ** (job.attempt - 1), BACKOFF_MAX_S)
            return _end(job, "QUEUED", message, delay_s)
        return _end(job, "DONE", "")


def _no_handler(job: Job) -> None:
    raise LookupError(f"no handler for jobs of the kind {job.kind}")


def _message(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:ERROR_MAX_CHARACTERS]


def _park(job: Job, work: Work, error: BaseException) -> str:
    """Ends a job for good and tells its service, in one transaction."""
    message = _message(error)
    if work.on_parked is None:
        return _end(job, "PARKED", message)
    on_parked = work.on_parked
    try:
        return _end(job, "PARKED", message, tell=lambda session: on_parked(session, job, error))
    except Exception as telling:
        if is_connection_failure(telling):
            raise  # The lease runs out, and the next worker parks it.
        log.exception("job %s (%s): its service could not be told that it is parked", job.id, job.kind)
        return _end(job, "PARKED", f"{message}; and on_parked: {_message(telling)}"[:ERROR_MAX_CHARACTERS])


def _end(
    job: Job,
    state: str,
    error: str,
    delay_s: float = 0.0,
    *,
    is_spent: bool = True,
    tell: Callable[[Session], None] | None = None,
) -> str:
    def write(session: Session) -> str:
        row = session.execute(
            text(
                "UPDATE job SET state = :state, error = :error, lease_token = NULL, lease_until = NULL,"
                "   woken_at = NULL, run_after = clock_timestamp() + make_interval(secs => :delay_s),"
                "   attempt = attempt - :unspent,"
                "   ended_at = CASE WHEN :state IN ('DONE', 'PARKED') THEN clock_timestamp() END"
                " WHERE tenant_id = :tenant AND id = :id AND lease_token = :token AND state = 'RUNNING' RETURNING 1"
            ),
            {
                "state": state,
                "error": error,
                "delay_s": delay_s,
                "unspent": 0 if is_spent else 1,
                "tenant": job.tenant_id,
                "id": job.id,
                "token": job.lease_token,
            },
        ).first()
        if row is not None and tell is not None:
            tell(session)
        return state if row is not None else "LOST"

    ended = job.database.retrying(write)
    telemetry.jobs_ended.add(1, {"kind": job.kind, "state": ended})
    return ended


def sweep(database: Database) -> list[tuple[str, str]]:
    """Jobs to wake: due and not woken lately, or run by a worker whose lease is over; (tenant, id) of each."""
    with database.system_transaction() as session:
        session.execute(
            text(
                "INSERT INTO tenant (tenant_id) SELECT DISTINCT tenant_id FROM job WHERE state = 'QUEUED'"
                " ON CONFLICT DO NOTHING"
            )
        )
        rows = session.execute(
            text(
                "UPDATE job SET woken_at = clock_timestamp() WHERE (tenant_id, id) IN ("
                "   SELECT tenant_id, id FROM job WHERE"
                "     ((state = 'QUEUED' AND run_after <= clock_timestamp())"
                "       OR (state = 'RUNNING' AND lease_until < clock_timestamp()))"
                "     AND (woken_at IS NULL OR woken_at < clock_timestamp() - make_interval(secs => :lonely_s))"
                "   ORDER BY run_after LIMIT :most FOR UPDATE SKIP LOCKED)"
                " RETURNING tenant_id, id"
            ),
            {"lonely_s": database.settings.job_lonely_s, "most": SWEEP_BATCH},
        ).all()
    return [(str(row.tenant_id), str(row.id)) for row in rows]


def replay_parked(database: Database, job_id: str = "", tenant_id: str = "") -> int:
    """Gives parked jobs (all, a tenant's, or one) another five tries; returns how many."""
    with database.system_transaction() as session:
        rows = session.execute(
            text(
                "UPDATE job SET state = 'QUEUED', attempt = 0, run_after = clock_timestamp(), woken_at = NULL,"
                " ended_at = NULL WHERE state = 'PARKED'"
                " AND (:id = '' OR id = CAST(nullif(:id, '') AS uuid))"
                " AND (:tenant = '' OR tenant_id = CAST(nullif(:tenant, '') AS uuid)) RETURNING 1"
            ),
            {"id": job_id, "tenant": tenant_id},
        ).all()
    return len(rows)


# ---- schedules -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Every:
    """A job for each tenant once per slot of so many seconds."""

    seconds: int
    handler: Handler

    def slot(self, now: datetime) -> str:
        """The name of the slot an instant falls into."""
        return datetime.fromtimestamp(now.timestamp() // self.seconds * self.seconds, UTC).isoformat()


@dataclass(frozen=True)
class Daily:
    """A job for each tenant once per business date, not before a time of day (UTC)."""

    handler: Handler
    at: time = field(default=time(0, 0))

    def slot(self, now: datetime) -> str | None:
        """The business date, or yesterday's while it is too early."""
        day = clock.business_today()
        return (day if now.timetz().replace(tzinfo=None) >= self.at else day - timedelta(days=1)).isoformat()


Schedule = Every | Daily
_KIND = "schedule:"


def tick(database: Database, schedules: Mapping[str, Schedule], now: datetime | None = None) -> int:
    """Asks for the jobs whose slot has come; however often and by however many it is called, one job per slot."""
    asked = 0
    now = now or clock.utc_now()
    with database.system_transaction() as session:
        known = tenants.all_tenants(session)
    for name, schedule in schedules.items():
        slot = schedule.slot(now)
        for tenant_id in known:
            with context.acting_as(context.service_caller(tenant_id, database.settings.service_name)):
                with database.transaction() as session:
                    first = session.execute(
                        text(
                            "INSERT INTO schedule (tenant_id, name, slot) VALUES (:tenant, :name, :slot)"
                            " ON CONFLICT DO NOTHING RETURNING 1"
                        ),
                        {"tenant": tenant_id, "name": name, "slot": slot},
                    ).first()
                    if first is not None:
                        enqueue(session, _KIND + name, {"slot": slot}, f"{name}@{slot}")
                        asked += 1
    return asked


def all_handlers(jobs: JobTable, schedules: Mapping[str, Schedule]) -> dict[str, Handler | Work]:
    """What to do with jobs and with schedules, by kind."""
    return {**jobs, **{_KIND + name: schedule.handler for name, schedule in schedules.items()}}


# ---- waking ----------------------------------------------------------------------------------------------------------


class _Waker(threading.Thread):
    """Hands job ids to Celery, apart from the request that asked for them: Redis may be slow or gone."""

    def __init__(self, database: Database) -> None:
        super().__init__(name="wake", daemon=True)
        self._database = database
        self._asked = threading.Condition()
        self._ids: list[tuple[str, str]] = []

    def ask(self, tenant_id: str, job_id: str) -> None:
        with self._asked:
            self._ids.append((tenant_id, job_id))
            self._asked.notify()

    def run(self) -> None:
        from kit import worker  # Celery is heavy, and only those who have jobs need it.

        while True:
            with self._asked:
                while not self._ids:
                    self._asked.wait()
                ids, self._ids = self._ids, []
            try:
                worker.send(self._database.settings, ids)
            except Exception as error:  # noqa: BLE001 - the sweep finds what this could not wake
                log.warning("could not wake a worker for %d jobs: %s", len(ids), error)


_wakers: dict[tuple[int, int], _Waker] = {}
_wakers_lock = threading.Lock()


def wake(database: Database, tenant_id: str, job_id: str) -> None:
    """Wakes a worker for a job, soon and without waiting for it."""
    if not database.settings.redis_url:
        return
    with _wakers_lock:
        waker = _wakers.get((os.getpid(), id(database)))
        if waker is None:
            waker = _wakers[(os.getpid(), id(database))] = _Waker(database)
            waker.start()
    waker.ask(tenant_id, job_id)
