"""Celery: the hands of a service. A message is a job's id and nothing else; losing or doubling it is harmless."""

import logging
import threading
import time
from typing import Any

from celery import Celery, signals

from kit import jobs
from kit.settings import ServiceSettings

log = logging.getLogger(__name__)

TASK = "kit.run_job"
# Redis gives an unacknowledged message to another worker after this long. The lease decides, not this.
VISIBILITY_S = 600

_apps: dict[tuple[str, str], Celery] = {}
_lock = threading.Lock()


def queue_of(settings: ServiceSettings) -> str:
    """The queue of a service's jobs."""
    return f"quittance.{settings.service_name}"


def app_for(settings: ServiceSettings) -> Celery:
    """The Celery application of a service."""
    key = (settings.service_name, settings.redis_url)
    with _lock:
        app = _apps.get(key)
        if app is None:
            app = _apps[key] = Celery(
                f"quittance-{settings.service_name}", broker=settings.redis_url, set_as_current=False
            )
            app.conf.update(
                task_default_queue=queue_of(settings),
                task_acks_late=True,
                task_reject_on_worker_lost=True,
                task_ignore_result=True,
                worker_prefetch_multiplier=1,
                worker_cancel_long_running_tasks_on_connection_loss=True,
                worker_hijack_root_logger=False,
                worker_enable_remote_control=False,
                worker_send_task_events=False,
                worker_soft_shutdown_timeout=10.0,
                broker_connection_retry_on_startup=True,
                broker_connection_max_retries=None,
                broker_transport_options={
                    "visibility_timeout": VISIBILITY_S,
                    "socket_connect_timeout": 2.0,
                    "socket_keepalive": True,
                    "max_retries": 0,
                },
                task_serializer="json",
                accept_content=["json"],
                enable_utc=True,
            )
    return app


def send(settings: ServiceSettings, ids: list[tuple[str, str]]) -> None:
    """Wakes workers for these jobs; raises what kombu raises when Redis cannot be reached."""
    app = app_for(settings)
    with app.connection_for_write(transport_options={"max_retries": 0, "socket_connect_timeout": 2.0}) as connection:
        producer = app.amqp.Producer(connection)
        for tenant_id, job_id in ids:
            app.send_task(TASK, args=[tenant_id, job_id], producer=producer, queue=queue_of(settings), retry=False)


def register(app: Celery, runtime: Any, handlers: jobs.JobTable) -> None:
    """Makes the application able to run this service's jobs."""

    @app.task(name=TASK, acks_late=True, reject_on_worker_lost=True, ignore_result=True)
    def run_job(tenant_id: str, job_id: str) -> None:
        """Does the job with this id, unless it is done, taken or not yet due."""
        jobs.run(runtime, handlers, tenant_id, job_id)


class ThreadWorker:
    """A worker inside this process, with a pool of threads."""

    def __init__(self, runtime: Any, handlers: jobs.JobTable) -> None:
        self._app = app_for(runtime.settings)
        register(self._app, runtime, handlers)
        self._app.finalize()
        self._settings = runtime.settings
        self._worker: Any = None

    def run(self, stop: threading.Event) -> None:
        """Works until stop is set; then takes nothing more and finishes what it has."""
        threading.Thread(target=self._stop_after, args=(stop,), name="work-stop", daemon=True).start()
        self._worker = self._app.WorkController(
            hostname=f"{self._settings.service_name}@thread",
            pool="threads",
            concurrency=self._settings.work_threads,
            without_heartbeat=True,
            without_mingle=True,
            without_gossip=True,
            queues=[queue_of(self._settings)],
        )
        self._worker.start()

    def _stop_after(self, stop: threading.Event) -> None:
        stop.wait()
        if self._worker is not None:
            from celery.worker import state

            state.should_stop = 0
            self._worker.stop()


def run_process(runtime: Any, handlers: jobs.JobTable) -> None:
    """The worker as this whole process; SIGTERM lets running jobs end.

    With the prefork pool each child sweeps too, from a thread begun after the fork: a thread of the parent could hold a
    lock at the moment of forking, and the child would wait for it for ever.
    """
    settings = runtime.settings
    app = app_for(settings)
    register(app, runtime, handlers)
    if settings.work_pool == "prefork":
        signals.worker_process_init.connect(lambda **_: _start_sweep(runtime), weak=False)
    else:
        _start_sweep(runtime)
    app.worker_main(
        [
            "worker", f"--pool={settings.work_pool}", f"--concurrency={settings.work_threads}",
            f"--queues={queue_of(settings)}", f"--hostname={settings.service_name}@%h",
            "--without-heartbeat", "--without-mingle", "--without-gossip", f"--loglevel={settings.log_level}",
        ]
    )  # fmt: skip


def _start_sweep(runtime: Any) -> None:
    threading.Thread(target=_sweep_for_ever, args=(runtime,), name="sweep", daemon=True).start()


def _sweep_for_ever(runtime: Any) -> None:
    while True:
        try:
            for tenant_id, job_id in jobs.sweep(runtime.database):
                jobs.wake(runtime.database, tenant_id, job_id)
        except Exception as error:  # noqa: BLE001 - the next round tries again
            log.warning("sweep failed; going on: %s", error)
        time.sleep(runtime.settings.job_sweep_s)
