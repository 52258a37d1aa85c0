"""What people and jobs do with messages: draft, send, hand over, resolve; and templates."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy.orm import Session

from kit import context, crypto, jobs
from kit.clock import business_today, utc_now
from kit.context import Caller, current_caller
from kit.db import Database
from kit.errors import Code, Refused
from kit.ids import new_id
from kit.money import Money
from kit.outbox import emit
from notification import mail, store, wire
from notification.config import Settings
from notification.domain import delivery, hashtags, rendering, words
from notification.domain.delivery import Addressee, Phase, State
from notification.neighbours import Look, Neighbours
from notification.texts import say

log = logging.getLogger(__name__)

SEND_JOB = "notification.send"


@dataclass(frozen=True)
class Order:
    """What a person or a scenario wants to write."""

    account_id: str
    item_ids: tuple[str, ...] = ()
    template_key: str = ""
    language: str = ""
    subject: str = ""
    body: str = ""
    contact_ids: tuple[str, ...] = ()
    contact_role: str = ""
    action_id: str = ""
    step_number: int = 0
    # What leaves is the same with and without; so it is no part of what tells two orders apart.
    exact_items: bool = field(default=False, repr=False)

    @property
    def key(self) -> str:
        """The template's key; reminder-1 when none was named."""
        return self.template_key or words.DEFAULT_KEY

    def sha256(self) -> bytes:
        """What tells two orders for one purpose apart."""
        return hashlib.sha256(repr(self).encode()).digest()


@dataclass(frozen=True)
class Draft:
    """A message as it would leave now, on the account's real items."""

    look: Look
    language: str
    is_fallback: bool
    addressees: tuple[Addressee, ...]
    sender: rendering.Sender
    items: tuple[rendering.ItemFact, ...]
    subject_source: str
    body_source: str
    subject: hashtags.Rendered
    body: hashtags.Rendered
    wrong_tags: tuple[str, ...]
    empty_tags: tuple[str, ...]
    warnings: tuple[str, ...] = field(default=())


class Desk:
    """Where messages are written and sent: database, settings and neighbours together."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        self.settings = settings
        self.neighbours = Neighbours(settings)

    # ---- drafting ----------------------------------------------------------------------------------------------------
    def draft(self, order: Order) -> Draft:
        """The proposal; changes nothing but a tenant's first templates. Refuses ACCOUNT_UNKNOWN, TEMPLATE_UNKNOWN."""
        look = self._look(order)
        with self.database.transaction() as session:
            store.seed_templates(session)
            texts = {
                language: (row.subject, row.body) for language, row in store.templates_of(session, order.key).items()
            }
        return _compose(order, look, texts, current_caller())

    def _look(self, order: Order) -> Look:
        look = self.neighbours.look_again(order.account_id, order.item_ids)
        if not current_caller().sees_entity(look.account.entity_code):
            raise Refused(Code.NOT_FOUND, "ACCOUNT_UNKNOWN", "there is no such account")
        return look

    # ---- sending -----------------------------------------------------------------------------------------------------
    def find(self, session: Session, purpose_key: str, order: Order) -> store.MessageRow | None:
        """The message that already holds this purpose. Refuses MESSAGE_EXISTS when it was ordered otherwise."""
        row = store.live_message(session, purpose_key)
        if row is not None and bytes(row.content_sha256) != order.sha256():
            raise Refused(
                Code.ALREADY_EXISTS,
                "MESSAGE_EXISTS",
                "a message with other content was already made for this purpose",
                message_id=row.message_id,
            )
        return row

    def freeze(self, session: Session, purpose_key: str, order: Order, draft: Draft) -> store.MessageRow:
        """Keeps the message as drafted and hands it to the sender, in one transaction.

        Refuses UNKNOWN_TAG, MESSAGE_EMPTY, ITEM_NOT_COLLECTABLE, NOTHING_COLLECTABLE, CONTACT_MISSING.
        """
        if draft.wrong_tags:
            raise Refused(
                Code.FAILED_PRECONDITION,
                "UNKNOWN_TAG",
                "these hashtags cannot be used here: " + ", ".join(draft.wrong_tags),
                tags=", ".join(draft.wrong_tags),
            )
        if not draft.body.text.strip():
            raise Refused(Code.FAILED_PRECONDITION, "MESSAGE_EMPTY", "the message has no text", {"body": "has no text"})
        _refuse_what_cannot_be_chased(order, draft)
        if not draft.items:
            raise Refused(
                Code.FAILED_PRECONDITION, "NOTHING_COLLECTABLE", "nothing of this account is to be chased now"
            )
        if not draft.addressees:
            raise Refused(Code.FAILED_PRECONDITION, "CONTACT_MISSING", "the account has no valid contact to write to")
        message_id = new_id()
        row = store.add_message(
            session,
            message_id=message_id,
            purpose_key=purpose_key,
            content_sha256=order.sha256(),
            state=State.QUEUED.value,
            account_id=order.account_id,
            account_name=draft.look.account.name,
            entity_code=draft.look.account.entity_code,
            action_id=order.action_id,
            step_number=order.step_number,
            template_key=order.key,
            language=draft.language,
            recipients=wire.recipients_to_json(draft.addressees),
            sender={"name": draft.sender.name, "email": draft.sender.email, "phone": draft.sender.phone},
            subject_source=draft.subject_source,
            body_source=draft.body_source,
            subject=draft.subject.text,
            body=draft.body.html,
            text=draft.body.text,
            body_sha256=_sha256(draft.subject, draft.body),
            items=wire.items_to_json(draft.items),
            internet_message_id=mail.internet_message_id(message_id, self.settings.mail_from),
            created_by=current_caller().actor,
        )
        if row is None:
            # Another request for the same purpose came first while we looked at the ledger.
            found = self.find(session, purpose_key, order)
            if found is None:
                raise Refused(
                    Code.ABORTED, "MESSAGE_CONTENDED", "another message for this purpose is being made; try again"
                )
            return found
        jobs.enqueue(session, SEND_JOB, {"message_id": row.message_id}, dedup_key=row.message_id)
        _tell(session, row)
        return row

    # ---- handing over ------------------------------------------------------------------------------------------------
    def deliver(self, message_id: str) -> None:
        """Sends one message unless it was sent, paid, answered or stopped meanwhile. Safe to run twice.

        Each step is committed before the next begins, so that a killed process leaves a state that says what is known:
        QUEUED (nothing happened), SENDING in HANDSHAKE (nothing was offered), SENDING in DATA (only the server knows).
        """
        if not self._may_start(message_id):
            return
        try:
            prepared = self._prepare(message_id)
        except Refused as error:
            if not error.is_transient:
                self._stop(message_id, State.FAILED, error.reason, error.message)
                return
            self._put_off(message_id, f"{error.reason}: {error.message}")
            return
        if prepared is None:
            return
        number, content, addresses = prepared
        outcome = mail.hand_over(
            self.settings, content, addresses, before_data=lambda: self._enter_data(message_id, number)
        )
        self._record(message_id, number, outcome)

    def _may_start(self, message_id: str) -> bool:
        """Whether there is anything to do; settles what a killed process left."""
        with self.database.transaction() as session:
            row = store.message_for_update(session, message_id)
            if row is None or row.state not in (State.QUEUED, State.SENDING):
                return False
            if row.state == State.QUEUED:
                return True
            if row.phase == Phase.DATA:
                text = "The sender stopped after the message was offered; whether the server took it is not known."
                self._close_attempt(session, row, mail.UNKNOWN, text)
                _move(session, row, State.UNKNOWN, failure_code="OUTCOME_UNKNOWN", failure=text)
                return False
            self._close_attempt(session, row, mail.DEFERRED, "The sender stopped before the message was offered.")
            _move(session, row, State.QUEUED, phase=Phase.NONE.value)
            return True

    def _prepare(self, message_id: str):
        """Looks again, renders anew, makes the link and commits SENDING; None when the message may not leave."""
        with self.database.transaction() as session:
            row = store.message(session, message_id)
            assert row is not None
        frozen = {item["item_id"]: Money(item["currency"], item["collectable_minor"]) for item in row.items}
        look = self.neighbours.look_again(row.account_id, tuple(frozen))
        verdict = delivery.look_again(frozen, look.items, row.template_key)
        if verdict.stops:
            self._stop(message_id, State.CANCELLED, verdict.code, verdict.reason)
            return None
        numbers = {item["item_id"]: item["number"] for item in row.items}
        source = f"{row.subject_source}\n{row.body_source}"
        stale = delivery.stale_words(source, frozen, numbers, verdict.items, row.language)
        if stale:
            reason = "Changed in between, and the text names it without a hashtag: " + ", ".join(stale)
            self._stop(message_id, State.CANCELLED, "AMOUNTS_CHANGED", reason)
            return None
        invalid = {contact.contact_id for contact in look.account.contacts if not contact.valid}
        addressees = [a for a in wire.recipients_from_json(row.recipients) if a.contact_id not in invalid]
        if not addressees:
            self._stop(message_id, State.FAILED, "CONTACT_MISSING", "No addressee is valid any more.")
            return None
        sender = rendering.Sender(**row.sender)
        picture = rendering.Picture(
            look.account, look.items, verdict.items, sender, addressees[0].name, row.language, business_today()
        )
        found = rendering.values(picture)
        subject = hashtags.render_subject(row.subject_source, found)
        body = hashtags.render_body(row.body_source, found)
        link = None
        if rendering.LINK_PLACEHOLDER in body.html:
            link = self.neighbours.create_link(
                message_id, row.account_id, addressees[0].contact_id, row.language, self.settings.link_valid_days
            )
            if not link.url:
                raise Refused(
                    Code.FAILED_PRECONDITION, "LINK_SPENT", "the personal link was opened before the message left"
                )
        number = self._claim(message_id, row.version, verdict.items, addressees, subject, body, link)
        if number is None:
            return None
        url = link.url if link else ""
        html = body.html.replace(rendering.LINK_PLACEHOLDER, url)
        content = mail.compose(
            message_id_header=row.internet_message_id,
            mail_from=self.settings.mail_from,
            entity_name=look.account.entity_name,
            sender=sender,
            addressees=addressees,
            subject=subject.text,
            html=rendering.document(html, subject.text, row.language),
            text=body.text.replace(rendering.LINK_PLACEHOLDER, url) + "\n",
            language=row.language,
            at=utc_now(),
        )
        return number, content, [addressee.email for addressee in addressees]

    def _claim(self, message_id, version, items, addressees, subject, body, link) -> int | None:
        """Commits SENDING with what is about to leave; the number of the try, or None when another was faster."""
        with self.database.transaction() as session:
            row = store.message_for_update(session, message_id)
            assert row is not None
            if row.state != State.QUEUED or row.version != version:
                return None
            row.items = wire.items_to_json(items)
            row.recipients = wire.recipients_to_json(addressees)
            row.subject, row.body, row.text = subject.text, body.html, body.text
            row.body_sha256 = _sha256(subject, body)
            row.attempt_number += 1
            if link:
                row.link_id = link.link_id
                row.link_sealed = crypto.encrypt(self.settings, link.url, about=message_id)
            session.add(store.AttemptRow(message_id=message_id, number=row.attempt_number))
            _move(session, row, State.SENDING, phase=Phase.HANDSHAKE.value, failure="", failure_code="")
            return row.attempt_number

    def _enter_data(self, message_id: str, number: int) -> bool:
        """Commits that DATA comes next; only the try that still holds the message may go on."""
        with self.database.transaction() as session:
            row = store.message_for_update(session, message_id)
            if (
                row is None
                or row.state != State.SENDING
                or row.attempt_number != number
                or row.phase != Phase.HANDSHAKE
            ):
                return False
            row.phase = Phase.DATA.value
            return True

    def _record(self, message_id: str, number: int, outcome: mail.Outcome) -> None:
        """Keeps what came of a try: state, attempt and event in one transaction."""
        with self.database.transaction() as session:
            row = store.message_for_update(session, message_id)
            # UNKNOWN may have been written by a worker that took us for dead: the server's own answer is better.
            if row is None or row.attempt_number != number or row.state not in (State.SENDING, State.UNKNOWN):
                log.warning("message %s was settled by another worker", message_id)
                return
            if outcome.kind == mail.OVERTAKEN:
                return
            self._close_attempt(session, row, outcome.kind, outcome.detail)
            if outcome.kind == mail.SENT:
                _move(session, row, State.SENT, sent_at=utc_now(), failure="", failure_code="")
            elif outcome.kind == mail.UNKNOWN:
                _move(session, row, State.UNKNOWN, failure_code="OUTCOME_UNKNOWN", failure=outcome.detail)
            elif outcome.kind == mail.REFUSED:
                _move(session, row, State.FAILED, failure_code="REFUSED", failure=outcome.detail, phase="")
            else:
                self._again_later(session, row, outcome.detail)

    def _put_off(self, message_id: str, detail: str) -> None:
        """A neighbour is away: the message waits."""
        with self.database.transaction() as session:
            row = store.message_for_update(session, message_id)
            if row is None or row.state != State.QUEUED:
                return
            row.attempt_number += 1
            session.add(
                store.AttemptRow(message_id=message_id, number=row.attempt_number, outcome=mail.DEFERRED, detail=detail)
            )
            self._again_later(session, row, detail)

    def _again_later(self, session: Session, row: store.MessageRow, detail: str) -> None:
        """Back to QUEUED with a job of its own for the next try; FAILED after the last."""
        delays = self.settings.mail_retry_delays_s
        if row.attempt_number > len(delays):
            _move(session, row, State.FAILED, failure_code="NOT_HANDED_OVER", failure=detail, phase="")
            return
        _move(session, row, State.QUEUED, phase="", failure=detail, failure_code="DEFERRED")
        jobs.enqueue(
            session,
            SEND_JOB,
            {"message_id": row.message_id},
            dedup_key=f"{row.message_id}:{row.attempt_number}",
            run_after=utc_now() + timedelta(seconds=delays[row.attempt_number - 1]),
        )

    def _stop(self, message_id: str, state: State, code: str, reason: str) -> None:
        with self.database.transaction() as session:
            row = store.message_for_update(session, message_id)
            if row is not None and row.state == State.QUEUED:
                _move(session, row, state, failure_code=code, failure=reason, phase="")

    def _close_attempt(self, session: Session, row: store.MessageRow, outcome: str, detail: str) -> None:
        attempt = store.attempt(session, row.message_id, row.attempt_number)
        assert attempt is not None, "a message is never SENDING without a try"
        attempt.outcome, attempt.detail, attempt.at = outcome, detail, utc_now()

    # ---- reading and deciding ----------------------------------------------------------------------------------------
    def message(self, session: Session, message_id: str) -> store.MessageRow:
        """One message the caller may see. Refuses MESSAGE_UNKNOWN."""
        return _seen(store.message(session, message_id), current_caller())

    def resolve(self, session: Session, message_id: str, sent: bool, comment: str) -> store.MessageRow:
        """A person's word on an UNKNOWN message. Not sent: FAILED, and its purpose is free for a new message."""
        row = _seen(store.message_for_update(session, message_id), current_caller())
        if row.state != State.UNKNOWN:
            raise Refused(
                Code.FAILED_PRECONDITION, "MESSAGE_NOT_UNKNOWN", "only a message with an unknown outcome is resolved"
            )
        row.attempt_number += 1
        outcome = mail.SENT if sent else mail.REFUSED
        detail = f"{current_caller().name or current_caller().actor}: {comment}"
        session.add(store.AttemptRow(message_id=message_id, number=row.attempt_number, outcome=outcome, detail=detail))
        if sent:
            _move(session, row, State.SENT, sent_at=utc_now(), failure="", failure_code="")
        else:
            _move(session, row, State.FAILED, failure_code="NOT_SENT", failure=comment)
        return row

    def change_template(self, session: Session, template_id: str, subject: str, body: str) -> store.TemplateRow:
        """A new version of a text. Refuses TEMPLATE_UNKNOWN, UNKNOWN_TAG."""
        row = store.template_for_update(session, template_id)
        if row is None:
            raise Refused(Code.NOT_FOUND, "TEMPLATE_UNKNOWN", "there is no such template")
        wrong = hashtags.wrong_tags(subject, body)
        if wrong:
            listed = ", ".join(wrong)
            fields = {
                name: f"these hashtags cannot be used here: {listed}"
                for name, text in (("subject", subject), ("body", body))
                if any(tag.lower() in text.lower() for tag in wrong)
            }
            raise Refused(Code.INVALID_ARGUMENT, "UNKNOWN_TAG", f"unknown hashtags: {listed}", fields, tags=listed)
        row.subject, row.body, row.version = hashtags.clean_line(subject), hashtags.sanitise(body), row.version + 1
        return row

    def portal_link(self, row: store.MessageRow, caller: Caller) -> str:
        """The personal link in a message, for those who may read links; empty for everybody else."""
        if not row.link_sealed or not caller.can("links:read"):
            return ""
        return crypto.decrypt(self.settings, row.link_sealed, about=row.message_id)


def _refuse_what_cannot_be_chased(order: Order, draft: Draft) -> None:
    """Refuses ITEM_NOT_COLLECTABLE, naming the items a person ticked that are paid, held, answered or not this account's."""
    if not order.exact_items:
        return
    inside = {item.item_id for item in draft.items}
    lost = [item_id for item_id in order.item_ids if item_id not in inside]
    if lost:
        numbers = {item.item_id: item.number for item in draft.look.items}
        named = ", ".join(numbers.get(item_id, item_id) for item_id in lost)
        raise Refused(
            Code.FAILED_PRECONDITION,
            "ITEM_NOT_COLLECTABLE",
            f"paid, held, answered or not of this account: {named}",
            {"item_ids": f"cannot be chased: {named}"},
            items=named,
        )


def _compose(order: Order, look: Look, texts: dict[str, tuple[str, str]], caller: Caller) -> Draft:
    account = look.account
    addressees = delivery.recipients(account.contacts, order.contact_ids, order.contact_role, order.key)
    wanted = delivery.language_for(order.language, addressees, account)
    edited = bool(order.subject and order.body)
    if not texts and not edited:
        raise Refused(Code.NOT_FOUND, "TEMPLATE_UNKNOWN", f"there is no template {order.key!r}")
    language = delivery.taken_language(wanted, texts or words.LANGUAGES, account)
    subject_source, body_source = texts.get(language, ("", ""))
    subject_source = hashtags.clean_line(order.subject or subject_source)
    body_source = hashtags.sanitise(order.body or body_source)
    selected = rendering.selection(look.items, order.item_ids, order.key)
    email = caller.subject.removeprefix("user:")
    sender = delivery.sender_of(account, "" if caller.is_service else caller.name, email)
    name = addressees[0].name if addressees else ""
    found = rendering.values(rendering.Picture(account, look.items, selected, sender, name, language, business_today()))
    subject = hashtags.render_subject(subject_source, found)
    body = hashtags.render_body(body_source, found)
    empty = tuple(dict.fromkeys((*subject.empty, *body.empty)))
    wrong = tuple(hashtags.wrong_tags(subject_source, body_source))
    warnings = _warnings(order, look, selected)
    return Draft(
        look,
        language,
        language != wanted,
        tuple(addressees),
        sender,
        selected,
        subject_source,
        body_source,
        subject,
        body,
        wrong,
        empty,
        warnings,
    )


def _warnings(order: Order, look: Look, selected: Sequence[rendering.ItemFact]) -> tuple[str, ...]:
    """What a person should see before sending and no other field of the draft says, in his own language."""
    said: list[str] = []
    if not selected:
        said.append(say("nothing is to be chased now"))
    left_out = len(order.item_ids) - len(selected)
    if order.item_ids and selected and left_out == 1:
        said.append(say("one of the chosen items is paid, answered or on hold"))
    elif order.item_ids and selected and left_out > 0:
        said.append(say(f"{left_out} of the chosen items are paid, answered or on hold"))
    credits = rendering.sums(item.open for item in look.items if item.is_credit)
    if credits:
        said.append(say(f"open credits: {rendering.amounts_text(credits, context.language())}"))
    return tuple(sentence[:1].upper() + sentence[1:] for sentence in said)


def _seen(row: store.MessageRow | None, caller: Caller) -> store.MessageRow:
    if row is None or not caller.sees_entity(row.entity_code):
        raise Refused(Code.NOT_FOUND, "MESSAGE_UNKNOWN", "there is no such message")
    return row


def _sha256(subject: hashtags.Rendered, body: hashtags.Rendered) -> bytes:
    return hashlib.sha256(f"{subject.text}\0{body.html}\0{body.text}".encode()).digest()


def _move(session: Session, row: store.MessageRow, state: State, **columns) -> None:
    """Another state, another version, one event."""
    row.state = state.value
    for name, value in columns.items():
        setattr(row, name, value)
    row.version += 1
    _tell(session, row)


def _tell(session: Session, row: store.MessageRow) -> None:
    session.flush()
    attempts: Sequence[store.AttemptRow] = store.attempts_of(session, [row.message_id]).get(row.message_id, [])
    emit(session, wire.message_changed(row, attempts), key=row.message_id)
