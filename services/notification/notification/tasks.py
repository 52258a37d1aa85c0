"""Slow work of notification: handing messages over to the mail server."""

from kit.jobs import Job
from notification import internal_mails
from notification.internal_mails import InternalMails
from notification.usecases import SEND_JOB, Desk


def send_message(job: Job) -> None:
    """Sends one message that is due, unless it was sent, paid or answered meanwhile. The row decides, not the job."""
    Desk(job.database, job.settings).deliver(job.payload["message_id"])


def send_internal_mail(job: Job) -> None:
    """Sends one mail to our user's own people, unless it was sent or may have been."""
    InternalMails(job.database, job.settings).deliver(job.payload["mail_id"])


JOBS = {SEND_JOB: send_message, internal_mails.SEND_JOB: send_internal_mail}
