"""Mail to our user's own people: kept, then handed over at most once."""

from __future__ import annotations

import html
from datetime import timedelta

from sqlalchemy.orm import Session

from kit import jobs
from kit.clock import utc_now
from kit.db import Database
from kit.errors import Code, Refused
from notification import mail, store
from notification.config import Settings
from notification.domain.delivery import Addressee, Phase, State, is_address
from notification.domain.hashtags import clean_line
from notification.domain.rendering import Sender

SEND_JOB = "notification.send_internal"
# Reports come from the platform itself; nobody reads replies.
SENDER_NAME = "Quittance"


class InternalMails:
    """Keeps and sends them."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database, self.settings = database, settings

    def keep(
        self, session: Session, *, purpose_key: str, email: str, name: str, subject: str, text: str, language: str
    ) -> store.InternalMailRow:
        """Keeps a mail and asks for its sending; a purpose that has one already gets that one back.

        Refuses: INVALID_ARGUMENT RECIPIENT_WRONG.
        """
        if not is_address(email):
            wrong = f"{email} is no address a mail server takes"
            raise Refused(Code.INVALID_ARGUMENT, "RECIPIENT_WRONG", wrong, {"email": wrong})
        row = store.add_internal_mail(
            session,
            purpose_key=purpose_key,
            email=email,
            name=clean_line(name),
            subject=clean_line(subject),
            text=text,
            language=language or "en",
        )
        if row is None:
            return store.internal_mail_for(session, purpose_key)
        jobs.enqueue(session, SEND_JOB, {"mail_id": row.mail_id}, dedup_key=f"{row.mail_id}:0")
        return row

    def deliver(self, mail_id: str) -> None:
        """Hands a mail over unless that was done or begun: what may have reached the server is never sent again."""
        with self.database.transaction() as session:
            row = store.internal_mail_for_update(session, mail_id)
            if row is None or row.state not in (State.QUEUED, State.SENDING):
                return
            if row.state == State.SENDING and row.phase == Phase.DATA:
                row.state, row.detail = State.UNKNOWN.value, "the sender stopped while it handed the mail over"
                return
            row.state, row.phase = State.SENDING.value, Phase.HANDSHAKE.value
            row.attempt_number += 1
            number = row.attempt_number
            session.flush()
            session.expunge(row)
        content = mail.compose(
            message_id_header=mail.internet_message_id(mail_id, self.settings.mail_from),
            mail_from=self.settings.mail_from,
            entity_name="",
            sender=Sender(SENDER_NAME, ""),
            addressees=[Addressee("", row.name, row.email)],
            subject=row.subject,
            html=as_html(row.text),
            text=row.text,
            language=row.language,
            at=utc_now(),
        )
        outcome = mail.hand_over(
            self.settings, content, [row.email], before_data=lambda: self._enter_data(mail_id, number)
        )
        self._record(mail_id, number, outcome)

    def _enter_data(self, mail_id: str, number: int) -> bool:
        with self.database.transaction() as session:
            row = store.internal_mail_for_update(session, mail_id)
            if row is None or (row.state, row.phase, row.attempt_number) != (State.SENDING, Phase.HANDSHAKE, number):
                return False
            row.phase = Phase.DATA.value
            return True

    def _record(self, mail_id: str, number: int, outcome: mail.Outcome) -> None:
        with self.database.transaction() as session:
            row = store.internal_mail_for_update(session, mail_id)
            if row is None or row.attempt_number != number or row.state not in (State.SENDING, State.UNKNOWN):
                return
            row.detail = outcome.detail
            if outcome.kind == mail.SENT:
                row.state, row.sent_at = State.SENT.value, utc_now()
            elif outcome.kind == mail.UNKNOWN:
                row.state = State.UNKNOWN.value
            elif outcome.kind == mail.REFUSED or number > len(self.settings.mail_retry_delays_s):
                row.state = State.FAILED.value
            elif outcome.kind == mail.DEFERRED:
                row.state, row.phase = State.QUEUED.value, Phase.NONE.value
                jobs.enqueue(
                    session,
                    SEND_JOB,
                    {"mail_id": mail_id},
                    dedup_key=f"{mail_id}:{number}",
                    run_after=utc_now() + timedelta(seconds=self.settings.mail_retry_delays_s[number - 1]),
                )


def as_html(text: str) -> str:
    """Plain text as a page: addresses are links, lines stay lines."""
    lines = []
    for line in text.splitlines():
        words = [
            f'<a href="{html.escape(word)}">{html.escape(word)}</a>'
            if word.startswith(("https://", "http://"))
            else html.escape(word)
            for word in line.split(" ")
        ]
        lines.append(" ".join(words))
    return f'<div style="font-family: sans-serif">{"<br>".join(lines)}</div>'
