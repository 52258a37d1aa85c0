"""Slow work of notification: handing messages over to the mail server."""

from kit.jobs import Job
from notification.usecases import SEND_JOB, Desk


def send_message(job: Job) -> None:
    """Sends one message that is due, unless it was sent, paid or answered meanwhile. The row decides, not the job."""
    Desk(job.database, job.settings).deliver(job.payload["message_id"])


JOBS = {SEND_JOB: send_message}
