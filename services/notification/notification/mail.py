"""SMTP: composing a message, and handing it over so that it is always known what is known."""

import logging
import smtplib
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime

from notification.config import Settings
from notification.domain.delivery import Addressee, is_address
from notification.domain.hashtags import clean_line
from notification.domain.rendering import Sender

log = logging.getLogger(__name__)

SENT = "sent"
REFUSED = "refused"
DEFERRED = "deferred"
UNKNOWN = "unknown"
OVERTAKEN = "overtaken"
_DETAIL_MAX_CHARACTERS = 500


@dataclass(frozen=True)
class Outcome:
    """What came of one try: sent, refused (for good), deferred (for later), unknown, overtaken (not our turn)."""

    kind: str
    detail: str


def internet_message_id(message_id: str, mail_from: str) -> str:
    """The Message-ID header: the same for every try of a message."""
    return f"<{message_id}@{mail_from.rpartition('@')[2]}>"


def compose(
    *,
    message_id_header: str,
    mail_from: str,
    entity_name: str,
    sender: Sender,
    addressees: Sequence[Addressee],
    subject: str,
    html: str,
    text: str,
    language: str,
    at: datetime,
) -> EmailMessage:
    """The whole mail: text and HTML, replies to the collector. Names and subject become one line each."""
    mail = EmailMessage(policy=SMTP_POLICY)
    shown = ", ".join(part for part in (clean_line(sender.name), clean_line(entity_name)) if part)
    mail["Message-ID"] = message_id_header
    mail["Date"] = format_datetime(at)
    mail["From"] = Address(shown, addr_spec=mail_from)
    for header, kind in (("To", "TO"), ("Cc", "CC")):
        listed = [Address(clean_line(a.name), addr_spec=a.email) for a in addressees if a.kind == kind]
        if listed:
            mail[header] = listed
    if is_address(sender.email):
        mail["Reply-To"] = Address(clean_line(sender.name), addr_spec=sender.email)
    mail["Subject"] = clean_line(subject)
    mail.set_content(text, subtype="plain", charset="utf-8", cte="quoted-printable")
    mail.add_alternative(html, subtype="html", charset="utf-8", cte="quoted-printable")
    # Last: setting a content drops every header that starts with Content.
    mail["Content-Language"] = language
    return mail


def hand_over(
    settings: Settings, mail: EmailMessage, addresses: Sequence[str], before_data: Callable[[], bool]
) -> Outcome:
    """Gives a mail to the server, once.

    before_data is called when the server has taken sender and recipients and nothing of the message was offered yet;
    it records that DATA comes next, durably, and says False when somebody else has taken over. What happens before it
    can be tried again; after it only an answer of the server is proof: without one the outcome is unknown.
    """
    try:
        connection = _connect(settings)
    except (OSError, smtplib.SMTPException) as error:
        return _before_data(error)
    try:
        try:
            _envelope(connection, settings.mail_from, addresses)
        except (OSError, smtplib.SMTPException) as error:
            return _before_data(error)
        if not before_data():
            return Outcome(OVERTAKEN, "another worker has taken over")
        return _data(connection, mail.as_bytes())
    finally:
        # The answer is known by now; a server that does not say goodbye changes nothing.
        try:
            connection.quit()
        except (OSError, smtplib.SMTPException) as error:
            log.debug("the mail server did not say goodbye: %s", error)
            connection.close()


def _connect(settings: Settings) -> smtplib.SMTP:
    own_name = settings.mail_from.rpartition("@")[2] or "localhost"
    context = ssl.create_default_context()
    if settings.smtp_security == "tls":
        connection: smtplib.SMTP = smtplib.SMTP_SSL(
            settings.smtp_host, settings.smtp_port, own_name, timeout=settings.smtp_timeout_s, context=context
        )
    else:
        connection = smtplib.SMTP(settings.smtp_host, settings.smtp_port, own_name, timeout=settings.smtp_timeout_s)
    try:
        connection.ehlo_or_helo_if_needed()
        if settings.smtp_security == "starttls":
            connection.starttls(context=context)
            connection.ehlo()
        if settings.smtp_user:
            connection.login(settings.smtp_user, settings.smtp_password)
    except (OSError, smtplib.SMTPException):
        connection.close()
        raise
    return connection


def _envelope(connection: smtplib.SMTP, mail_from: str, addresses: Sequence[str]) -> None:
    code, answer = connection.mail(mail_from)
    if code != 250:
        raise smtplib.SMTPSenderRefused(code, answer, mail_from)
    refusals = {}
    for address in addresses:
        code, answer = connection.rcpt(address)
        if code not in (250, 251):
            refusals[address] = (code, answer)
    # One refused address must not hide that the others were written to: all or none.
    if refusals:
        raise smtplib.SMTPRecipientsRefused(refusals)


def _data(connection: smtplib.SMTP, content: bytes) -> Outcome:
    try:
        code, answer = connection.data(content)
    except smtplib.SMTPDataError as error:
        # The server answered DATA itself with a no: the message was never offered.
        return _by_code(error.smtp_code, error.smtp_error)
    except (OSError, smtplib.SMTPException) as error:
        return Outcome(UNKNOWN, f"no answer after the message was handed over: {error}"[:_DETAIL_MAX_CHARACTERS])
    if code == 250:
        return Outcome(SENT, _words(code, answer))
    return _by_code(code, answer)


def _before_data(error: Exception) -> Outcome:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, answer = max(error.recipients.values(), key=lambda refusal: refusal[0])
        return _by_code(code, answer)
    if isinstance(error, smtplib.SMTPResponseException):
        return _by_code(error.smtp_code, error.smtp_error)
    return Outcome(DEFERRED, f"the mail server could not be reached: {error}"[:_DETAIL_MAX_CHARACTERS])


def _by_code(code: int, answer: bytes | str) -> Outcome:
    """5yz is a no for good; 4yz, and the 421 and -1 of a server that went away, may be tried again."""
    return Outcome(REFUSED if 500 <= code < 600 else DEFERRED, _words(code, answer))


def _words(code: int, answer: bytes | str) -> str:
    words = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else str(answer)
    return f"{code} {clean_line(words)}"[:_DETAIL_MAX_CHARACTERS]
