"""Jobs: the row is the truth, a lease fences, Celery and Redis may lose what they like."""

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from pathlib import Path

import grpc
import psutil
import psycopg
import pytest
import redis
from grpc_health.v1 import health_pb2, health_pb2_grpc
from sample.__main__ import DEFINITION
from sample.store import NoteRow
from sqlalchemy import select, text

from kit import context, embedded, jobs, outbox, worker
from kit.errors import Code, Refused
from kit.ids import new_id
from kit.jobs import Daily, Every, enqueue
from kit.service import Runtime
from kit.testing import run_jobs

# A process imports a good deal before it serves, and the machine may be busy.
START_S = 90


@pytest.fixture
def quick(make_database, acting, valkey):
    """A database whose jobs are tried again at once; Redis is there and empty."""
    redis.Redis.from_url(valkey.url).flushall()
    return make_database(
        "sample", redis_url=valkey.url, job_backoff_s=0.0, job_lonely_s=0.5, job_sweep_s=0.2, beat_tick_s=0.2,
        work_threads=2, work_pool="threads",
    )  # fmt: skip


def ask(database, payload=None, key="k", kind="sample.do", run_after=None):
    with database.transaction() as session:
        return enqueue(session, kind, payload or {}, key, run_after)


def row_of(database, job_id):
    with database.transaction() as session:
        return session.execute(text("SELECT * FROM job WHERE id = :id"), {"id": job_id}).one()


def notes(database):
    with database.transaction() as session:
        return sorted(session.scalars(select(NoteRow.note_id)))


def until(condition, timeout_s=15.0):
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError(f"not within {timeout_s} s")


def test_a_job_runs_once_for_its_tenant(quick, tenant):
    seen = []

    def do(job):
        seen.append((context.current_tenant(), job.payload, job.attempt))

    first = ask(quick, {"n": 1})
    assert ask(quick, {"n": 2}) == first  # The same key asks for the same job.
    assert run_jobs(quick, {"sample.do": do}) == ["DONE"]
    assert run_jobs(quick, {"sample.do": do}) == []
    assert seen == [(tenant, {"n": 1}, 1)]


def then_fail(_):
    raise ZeroDivisionError


def test_a_job_is_not_asked_for_when_its_cause_rolls_back(quick):
    with pytest.raises(ZeroDivisionError), quick.transaction() as session:
        then_fail(enqueue(session, "sample.do", {}, "k"))
    assert run_jobs(quick, {"sample.do": lambda job: None}) == []


def test_a_job_waits_for_its_time(quick):
    ask(quick, run_after=datetime.now(UTC) + timedelta(hours=1))
    assert run_jobs(quick, {"sample.do": lambda job: None}) == []
    assert jobs.sweep(quick) == []


def test_a_failing_job_is_tried_five_times_then_parked_then_replayed(quick):
    job_id = ask(quick)
    assert run_jobs(quick, {"sample.do": lambda job: 1 / 0}) == ["QUEUED"] * 4 + ["PARKED"]
    assert "ZeroDivisionError" in row_of(quick, job_id).error
    assert jobs.replay_parked(quick, new_id()) == 0
    assert jobs.replay_parked(quick) == 1
    assert run_jobs(quick, {"sample.do": lambda job: None}) == ["DONE"]


def test_back_off_grows(quick):
    quick.settings.job_backoff_s = 10.0
    job_id = ask(quick)
    assert run_jobs(quick, {"sample.do": lambda job: 1 / 0}) == ["QUEUED"]
    wait_s = (row_of(quick, job_id).run_after - datetime.now(UTC)).total_seconds()
    assert 8 < wait_s <= 10


def test_a_lasting_refusal_is_parked_at_once(quick):
    def refuse(job):
        raise Refused(Code.FAILED_PRECONDITION, "NEVER", "it will never do")

    ask(quick)
    assert run_jobs(quick, {"sample.do": refuse}) == ["PARKED"]


def test_a_peer_that_is_away_costs_no_try(quick):
    away = [Refused(Code.UNAVAILABLE, "UNAVAILABLE", "no connection")] * 7

    def ask_peer(job):
        assert job.attempt == 1
        if away:
            raise away.pop()

    ask(quick)
    assert run_jobs(quick, {"sample.do": ask_peer}) == ["QUEUED"] * 7 + ["DONE"]


def test_two_workers_never_have_the_same_job(quick, tenant):
    runtime, entered, free, ran = Runtime(quick.settings, quick), threading.Event(), threading.Event(), []

    def do(job):
        ran.append(job.lease_token)
        entered.set()
        free.wait(5)

    job_id = ask(quick)
    other = threading.Thread(target=jobs.run, args=(runtime, {"sample.do": do}, tenant, job_id))
    other.start()
    assert entered.wait(5)
    assert jobs.run(runtime, {"sample.do": do}, tenant, job_id) == "SKIPPED"
    free.set()
    other.join()
    assert len(ran) == 1


def stand_still(monkeypatch):
    """Renewals come to nothing, as in a process that is suspended or cut off from its database."""
    monkeypatch.setattr(jobs.Job, "renew", lambda job: False)


def let_the_lease_run_out(database, job_id):
    with database.transaction() as session:
        session.execute(text("UPDATE job SET lease_until = now() - interval '1 s' WHERE id = :id"), {"id": job_id})


def test_a_worker_that_slept_through_its_lease_changes_nothing(quick, tenant, monkeypatch):
    stand_still(monkeypatch)
    runtime, ended = Runtime(quick.settings, quick), []

    def sleepy(job):
        let_the_lease_run_out(quick, job.id)
        ended.append(jobs.run(runtime, {"sample.do": lambda job: None}, tenant, job.id))
        with quick.transaction() as session:
            session.add(NoteRow(note_id="zombie", amount_minor=1))
            job.fence(session)  # Raises LeaseLost, so nothing of this stays.
        ended.append("came through")

    job_id = ask(quick)
    assert jobs.run(runtime, {"sample.do": sleepy}, tenant, job_id) == "LOST"
    assert ended == ["DONE"]
    assert row_of(quick, job_id).state == "DONE"
    assert row_of(quick, job_id).attempt == 2
    assert notes(quick) == []


def test_a_long_job_keeps_its_lease_without_doing_anything_for_it(quick, tenant):
    """Far longer than its lease, a part of it inside a transaction of its own that holds the row all the while."""
    quick.settings.job_lease_s = 2.0
    runtime, others, leases = Runtime(quick.settings, quick), [], set()

    def others_try(job, condition):
        def look():
            others.append(jobs.run(runtime, {}, tenant, job.id))
            leases.add(row_of(quick, job.id).lease_until)
            return condition()

        until(look)

    def busy(job):
        others_try(job, lambda: len(leases) >= 3)
        with quick.transaction() as session:
            job.fence(session)
            over = time.monotonic() + quick.settings.job_lease_s * 1.2
            others_try(job, lambda: time.monotonic() > over)
            assert not job.is_lost
        seen = len(leases)
        others_try(job, lambda: len(leases) > seen + 1)
        assert not job.is_lost

    job_id = ask(quick)
    assert jobs.run(runtime, {"sample.do": busy}, tenant, job_id) == "DONE"
    assert set(others) == {"SKIPPED"}
    assert row_of(quick, job_id).attempt == 1
    assert not [thread for thread in threading.enumerate() if thread.name == f"lease {job_id}"]


def test_a_handler_sees_that_its_lease_was_lost(quick, tenant):
    """Another worker took the job while this one stood still; the renewals find out by themselves."""
    quick.settings.job_lease_s = 0.6
    runtime, seen = Runtime(quick.settings, quick), []

    def robbed(job):
        assert not job.is_lost
        with quick.transaction() as session:
            session.execute(text("UPDATE job SET lease_token = gen_random_uuid() WHERE id = :id"), {"id": job.id})
        until(lambda: job.is_lost)
        seen.append(True)
        job.heartbeat()
        seen.append("came through")

    job_id = ask(quick)
    assert jobs.run(runtime, {"sample.do": robbed}, tenant, job_id) == "LOST"
    assert seen == [True]
    assert row_of(quick, job_id).state == "RUNNING"  # As the other worker left it.


def test_a_lease_that_cannot_be_renewed_counts_as_lost(quick, tenant, monkeypatch):
    """The database is away for longer than the lease: whoever is about to do something outside of it had better not."""
    quick.settings.job_lease_s = 0.3
    tried = []

    def fail(job):
        tried.append(1)
        raise ConnectionError("no way to the database")

    monkeypatch.setattr(jobs.Job, "renew", fail)

    def cut_off(job):
        until(lambda: job.is_lost)
        job.heartbeat()  # Nobody has taken it meanwhile, so it is ours again.
        assert not job.is_lost

    assert jobs.run(Runtime(quick.settings, quick), {"sample.do": cut_off}, tenant, ask(quick)) == "DONE"
    assert len(tried) > 1


def test_a_handler_that_hangs_does_not_keep_its_job_for_ever(quick, tenant):
    quick.settings.job_lease_s, quick.settings.job_longest_s = 0.3, 0.5
    runtime, taken = Runtime(quick.settings, quick), []

    def hang(job):
        until(lambda: jobs.run(runtime, {"sample.do": lambda job: taken.append(job.attempt)}, tenant, job.id) == "DONE")

    assert jobs.run(runtime, {"sample.do": hang}, tenant, ask(quick)) == "LOST"
    assert taken == [2]


def kill_its_workers(database):
    """As a job looks whose worker died with it at each of its five tries."""
    with database.transaction() as session:
        session.execute(
            text("UPDATE job SET state = 'RUNNING', attempt = 5, lease_until = now() - interval '1 s', woken_at = NULL")
        )


def test_a_job_that_kills_its_workers_is_parked(quick, tenant):
    job_id = ask(quick)
    kill_its_workers(quick)
    assert jobs.sweep(quick) == [(tenant, job_id)]
    assert jobs.sweep(quick) == []  # Woken a moment ago.
    assert jobs.run(Runtime(quick.settings, quick), {"sample.do": lambda job: None}, tenant, job_id) == "PARKED"


# ---- what a service hears of a job that is parked for good -----------------------------------------------------------


def tell(session, job, error):
    session.add(NoteRow(note_id=f"{job.payload['n']}: {type(error).__name__}", amount_minor=job.attempt))


def test_a_service_hears_that_its_job_is_parked(quick, tenant):
    table = {"sample.do": jobs.Work(lambda job: 1 / 0, tell)}
    ask(quick, {"n": 1})
    assert run_jobs(quick, table) == ["QUEUED"] * 4 + ["PARKED"]
    assert notes(quick) == ["1: ZeroDivisionError"]


def test_a_service_hears_of_a_job_that_killed_its_workers(quick, tenant):
    job_id = ask(quick, {"n": 1})
    kill_its_workers(quick)
    table = {"sample.do": jobs.Work(lambda job: pytest.fail("not a sixth time"), tell)}
    assert jobs.run(Runtime(quick.settings, quick), table, tenant, job_id) == "PARKED"
    assert notes(quick) == ["1: WorkerDied"]
    assert row_of(quick, job_id).error.startswith("WorkerDied: given up after 5 tries")


def test_parking_and_telling_are_one_transaction(quick, tenant):
    """What tells fails by half: its half is gone, and the job is parked all the same with both errors."""

    def stumble(session, job, error):
        tell(session, job, error)
        session.flush()
        raise LookupError("no such batch")

    job_id = ask(quick, {"n": 1})
    kill_its_workers(quick)
    table = {"sample.do": jobs.Work(lambda job: None, stumble)}
    assert jobs.run(Runtime(quick.settings, quick), table, tenant, job_id) == "PARKED"
    assert notes(quick) == []
    assert "WorkerDied" in row_of(quick, job_id).error
    assert "on_parked: LookupError: no such batch" in row_of(quick, job_id).error


def test_who_lost_his_job_tells_nobody(quick, tenant, monkeypatch):
    stand_still(monkeypatch)
    runtime = Runtime(quick.settings, quick)
    quick.settings.job_attempts = 1

    def too_late(job):
        with quick.transaction() as session:
            session.execute(text("UPDATE job SET lease_token = gen_random_uuid() WHERE id = :id"), {"id": job.id})
        raise ZeroDivisionError

    assert jobs.run(runtime, {"sample.do": jobs.Work(too_late, tell)}, tenant, ask(quick, {"n": 1})) == "LOST"
    assert notes(quick) == []


def test_a_schedule_asks_once_per_slot_and_tenant(quick, as_tenant):
    from kit.outbox import emit
    from quittance.common.v1.money_pb2 import Money

    with quick.transaction() as session:
        emit(session, Money(), "this tenant becomes known")
    with as_tenant(new_id()), quick.transaction() as session:
        emit(session, Money(), "and another")
    slots = []
    table = {"sample.sweep": Every(3600, lambda job: slots.append((context.current_tenant(), job.payload["slot"])))}
    at = datetime(2026, 1, 1, 10, 20, tzinfo=UTC)
    asked = [jobs.tick(quick, table, at + timedelta(minutes=minutes)) for minutes in (0, 10, 39, 40)]
    assert asked == [2, 0, 0, 2]
    assert run_jobs(quick, {}, table) == ["DONE"] * 4
    assert len(set(slots)) == 4


def test_a_daily_schedule_follows_the_business_date(monkeypatch):
    monkeypatch.setenv("QUITTANCE_TODAY", "2013-12-31")
    schedule = Daily(lambda job: None, at=time_of_day(6))
    assert schedule.slot(datetime(2026, 1, 1, 7, tzinfo=UTC)) == "2013-12-31"
    assert schedule.slot(datetime(2026, 1, 1, 5, tzinfo=UTC)) == "2013-12-30"


# ---- with Celery and a real Redis protocol ---------------------------------------------------------------------------


def test_a_wiped_redis_loses_no_job(quick, valkey):
    """The message is gone before any worker saw it; the sweep of `run` finds the row."""
    runtime = Runtime(quick.settings, quick)
    client = redis.Redis.from_url(valkey.url)
    job_id = ask(quick, {"note": "a"}, kind="sample.note")
    until(lambda: client.llen(worker.queue_of(quick.settings)) == 1)
    client.flushall()
    stop = threading.Event()
    handlers = jobs.all_handlers(DEFINITION.jobs, {})
    thread = threading.Thread(target=worker.ThreadWorker(runtime, handlers).run, args=(stop,), daemon=True)
    thread.start()
    try:
        time.sleep(0.6)
        for tenant_id, found in jobs.sweep(quick):
            jobs.wake(quick, tenant_id, found)
        until(lambda: row_of(quick, job_id).state == "DONE")
        second = ask(quick, {"note": "b"}, key="b", kind="sample.note")
        until(lambda: row_of(quick, second).state == "DONE", 3)
    finally:
        stop.set()
        thread.join(15)
    assert not thread.is_alive()
    assert notes(quick) == ["a", "b"]


def environment(database, nats_url, **more):
    settings = database.settings
    return {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parent),
        "QUITTANCE_DATABASE_URL": settings.database_url,
        "QUITTANCE_MIGRATION_DATABASE_URL": settings.migration_database_url,
        "QUITTANCE_NATS_URL": nats_url,
        "QUITTANCE_REDIS_URL": settings.redis_url,
        "QUITTANCE_JWKS_URL": settings.jwks_url,
        "QUITTANCE_SIGNING_KEY_PATH": settings.signing_key_path,
        "QUITTANCE_JOB_SWEEP_S": "0.3",
        "QUITTANCE_JOB_LONELY_S": "1",
        "QUITTANCE_JOB_LEASE_S": "2",
        "QUITTANCE_BEAT_TICK_S": "0.3",
        **more,
    }


def start(role, env):
    return subprocess.Popen([sys.executable, "-m", "sample", role], env=env, start_new_session=True)


def stop(process):
    process.send_signal(signal.SIGTERM)
    assert process.wait(40) == 0


def serving(port):
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=2)
        except grpc.RpcError:
            return False
        return reply.status == health_pb2.HealthCheckResponse.SERVING


def test_all_roles_in_one_process(quick, nats_server, tenant):
    """run: migrated, ready, publishes, works, keeps schedules, and ends in order on SIGTERM."""
    from quittance.common.v1.money_pb2 import Money

    port = embedded.free_port()
    env = environment(quick, nats_server.url, QUITTANCE_GRPC_PORT=str(port))
    assert start("migrate", env).wait(START_S) == 0
    process = start("run", env)
    try:
        until(lambda: serving(port), START_S)
        with quick.transaction() as session:
            outbox.emit(session, Money(), "a")
            job_id = enqueue(session, "sample.note", {"note": "done in the other process"}, "k")
        until(lambda: row_of(quick, job_id).state == "DONE")
        until(lambda: any(note.startswith("slot ") for note in notes(quick)))

        def published():
            with quick.transaction() as session:
                return session.execute(text("SELECT published_at FROM outbox")).scalar() is not None

        until(published)
        stop(process)
    finally:
        process.kill()


def test_a_killed_worker_loses_no_job(quick, nats_server):
    """kill -9 in the middle of a job, with the prefork pool: another worker takes it once the lease is over."""
    env = environment(quick, nats_server.url, QUITTANCE_WORK_POOL="prefork", QUITTANCE_WORK_THREADS="1")
    blocker = psycopg.connect(quick.settings.migration_database_url)
    blocker.execute("LOCK TABLE notes IN EXCLUSIVE MODE")  # The job gets stuck at its effect.
    first = start("work", env)
    second = None
    try:
        job_id = ask(quick, {"note": "a"}, kind="sample.note")
        until(lambda: row_of(quick, job_id).state == "RUNNING", START_S)
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
        blocker.rollback()
        assert notes(quick) == []
        second = start("work", env)
        until(lambda: row_of(quick, job_id).state == "DONE", START_S)
        assert row_of(quick, job_id).attempt == 2
        assert notes(quick) == ["a"]
        stop(second)
    finally:
        blocker.close()
        for process in (first, second):
            if process is not None and process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def test_several_servers_share_one_port(quick, nats_server):
    port = embedded.free_port()
    env = environment(quick, nats_server.url, QUITTANCE_GRPC_PORT=str(port), QUITTANCE_GRPC_PROCESSES="2")
    process = start("serve", env)
    try:
        until(lambda: serving(port), START_S)
        until(lambda: len(psutil.Process(process.pid).children()) == 2)
        os.kill(process.pid, signal.SIGKILL)  # Even then nobody goes on serving.
        until(lambda: not serving(port))
    finally:
        process.kill()


def test_a_fork_makes_its_own_connections(quick, tenant):
    """Engines and channels belong to a process: a child that used its parent's would break both."""
    with quick.transaction() as session:
        session.execute(text("SELECT 1"))
    code = (
        "import os, sys\n"
        "from sample.config import Settings\n"
        "from kit import context\n"
        "from kit.db import Database\n"
        "from sqlalchemy import text\n"
        "database = Database(Settings())\n"
        f"with context.acting_as(context.service_caller('{tenant}', 'sample-one')):\n"
        "    def backend():\n"
        "        with database.transaction() as session:\n"
        "            return session.execute(text('SELECT pg_backend_pid()')).scalar()\n"
        "    mine = backend()\n"
        "    reading, writing = os.pipe()\n"
        "    if os.fork() == 0:\n"
        "        os.write(writing, str(backend()).encode())\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
        "    theirs = int(os.read(reading, 20))\n"
        "    sys.exit(0 if mine == backend() and theirs != mine else 1)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], env=environment(quick, ""), timeout=START_S, check=False)
    assert ended.returncode == 0
