"""What happens to links and answers. Calls to neighbours are committed as intentions first and can be repeated."""

import hashlib
import hmac
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy.orm import Session

from kit import crypto, jobs
from kit.clock import add_working_days, business_today, utc_now
from kit.context import current_caller, current_tenant
from kit.db import Database
from kit.errors import Code, Refused
from kit.ids import new_id
from kit.money import Money
from kit.outbox import emit
from portal import domain, store, wire
from portal.config import Settings
from portal.domain import AccountFact, Amendment, Answer, Kind, Stage, State
from portal.neighbours import Neighbours

log = logging.getLogger(__name__)

PLACE_JOB = "portal.place_holds"
DECIDE_JOB = "portal.decide"
# A request finishes its own work; the job behind it only takes over what a killed process left.
JOB_DELAY_S = 20.0
TOKEN_KEPT_DAYS = 7


@dataclass(frozen=True)
class Decision:
    """A collector's word, as it is kept before anybody else hears of it."""

    accept: bool
    promised_on: date | None = None
    reason_code: str = ""
    amounts: Mapping[str, Money] | None = None
    owner: str = ""
    comment: str = ""

    def to_json(self) -> dict[str, Any]:
        """As it is stored; also what tells two decisions apart."""
        return {
            "accept": self.accept,
            "promised_on": self.promised_on.isoformat() if self.promised_on else "",
            "reason_code": self.reason_code,
            "amounts": {key: [m.currency, m.minor_units] for key, m in sorted((self.amounts or {}).items())},
            "owner": self.owner,
            "comment": self.comment,
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "Decision":
        """As it was stored."""
        return cls(
            kept["accept"],
            date.fromisoformat(kept["promised_on"]) if kept["promised_on"] else None,
            kept["reason_code"],
            {key: Money(*value) for key, value in kept["amounts"].items()},
            kept["owner"],
            kept["comment"],
        )


class Counter:
    """Links and answers: database, settings and neighbours together."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        self.settings = settings
        self.neighbours = Neighbours(settings)

    # ---- links -------------------------------------------------------------------------------------------------------
    def create_link(
        self, request_id: str, account_id: str, contact_id: str, language: str, valid_days: int
    ) -> tuple[store.LinkRow, str]:
        """A link and its address. A repetition gives the same, with the address until the link is first opened.

        The reply is not kept as other replies are: it holds the token. Refuses ACCOUNT_UNKNOWN, REQUEST_ID_REUSED.
        """
        days = valid_days or self.settings.link_valid_days
        wanted = hashlib.sha256(repr((account_id, contact_id, language, days)).encode()).digest()
        with self.database.transaction() as session:
            known = store.link_by_request(session, request_id)
        if known is None:
            account = self.neighbours.look(account_id)
            if not current_caller().sees_entity(account.entity_code):
                raise Refused(Code.NOT_FOUND, "ACCOUNT_UNKNOWN", "there is no such account")
            known = self._new_link(request_id, wanted, account, contact_id, language, days)
        if bytes(known.request_sha256) != wanted:
            raise Refused(
                Code.ALREADY_EXISTS,
                "REQUEST_ID_REUSED",
                "this request id was used for a request with other content",
                request_id=request_id,
            )
        return known, self._address(known)

    def _new_link(self, request_id, wanted, account: AccountFact, contact_id, language, days) -> store.LinkRow:
        token = domain.make_token(current_tenant(), secrets.token_bytes(domain.SECRET_BYTES))
        link_id, now = new_id(), utc_now()
        with self.database.transaction() as session:
            row = store.add_link(
                session,
                link_id=link_id,
                token_sha256=domain.token_sha256(token),
                sealed_token=crypto.encrypt(self.settings, token, about=link_id),
                request_id=request_id,
                request_sha256=wanted,
                account_id=account.account_id,
                account_name=account.name,
                entity_code=account.entity_code,
                contact_id=contact_id,
                language=language,
                created_by=current_caller().actor,
                created_at=now,
                expires_at=now + timedelta(days=days),
            )
            # Another request with the same id came first: its link is the link.
            found = row or store.link_by_request(session, request_id)
            assert found is not None, "a link that stood in the way can be read"
            return found

    def _address(self, row: store.LinkRow) -> str:
        if not row.sealed_token:
            return ""
        token = crypto.decrypt(self.settings, row.sealed_token, about=row.link_id)
        return f"{self.settings.public_url}/l/{token}"

    def revoke(self, session: Session, link_id: str) -> store.LinkRow:
        """Ends a link at once; one that has ended stays as it is. Refuses LINK_UNKNOWN."""
        row = store.link_for_update(session, link_id)
        if row is None or not current_caller().sees_entity(row.entity_code):
            raise Refused(Code.NOT_FOUND, "LINK_UNKNOWN", "there is no such link")
        if row.revoked_at is None:
            row.revoked_at, row.sealed_token = utc_now(), ""
        return row

    def open_link(self, token_sha256: bytes) -> store.LinkRow | None:
        """The link a token opens and the note that it was opened; None for what opens nothing (any more).

        Nothing a business would notice changes: scanners open links before people do.
        """
        with self.database.transaction() as session:
            row = self._valid(store.link_by_token(session, token_sha256))
            if row is None or not hmac.compare_digest(bytes(row.token_sha256), token_sha256):
                return None
            store.count_use(session, row.link_id, utc_now())
            return row

    def peek_link(self, token_sha256: bytes) -> bool:
        """Whether a token opens something; notes nothing."""
        with self.database.transaction() as session:
            return self._valid(store.link_by_token(session, token_sha256)) is not None

    def live_link(self, link_id: str) -> store.LinkRow | None:
        """The link of a session while it works; asked with every page, so that a revocation counts at once."""
        with self.database.transaction() as session:
            return self._valid(store.link(session, link_id))

    def _valid(self, row: store.LinkRow | None) -> store.LinkRow | None:
        if row is None or row.revoked_at is not None or row.expires_at <= utc_now():
            return None
        return row

    # ---- answers -----------------------------------------------------------------------------------------------------
    def answer(self, link: store.LinkRow, nonce: str, account: AccountFact, answer: Answer) -> store.ResponseRow:
        """Takes a customer's answer; its items leave collection at once. The same form twice is one answer.

        Refuses what the ledger refuses (ITEM_CLEARED, HOLD_EXCEEDS_OPEN): then nothing was taken. When the ledger is
        away the answer is kept and a job places the holds.
        """
        with self.database.transaction() as session:
            row = store.add_response(
                session,
                link_id=link.link_id,
                form_nonce=nonce,
                account_id=account.account_id,
                account_name=account.name,
                entity_code=account.entity_code,
                kind=answer.kind.value,
                lines=wire.lines_to_json(answer.lines),
                promised_on=answer.promised_on,
                paid_on=answer.paid_on,
                payment_reference=answer.payment_reference,
                reason_code=answer.reason_code,
                comment=answer.comment,
                contact_name=account.contact_name(link.contact_id),
                hold_until_on=add_working_days(business_today(), self.settings.answer_hold_working_days),
            )
            if row is None:
                known = store.response_by_nonce(session, link.link_id, nonce)
                assert known is not None, "an answer that stood in the way can be read"
                return known
            self._later(session, PLACE_JOB, row, dedup_key=row.response_id)
        try:
            self.place(row.response_id)
        except Refused as error:
            if not error.is_transient:
                with self.database.transaction() as session:
                    current = store.response_for_update(session, row.response_id)
                    if current is not None and current.stage == Stage.PLACING:
                        store.remove_response(session, current)
                raise
            log.warning("holds of answer %s wait for the ledger: %s", row.response_id, error)
        return row

    def sent_before(self, link_id: str, nonce: str) -> store.ResponseRow | None:
        """The answer a form brought already, if it did."""
        with self.database.transaction() as session:
            return store.response_by_nonce(session, link_id, nonce)

    def place(self, response_id: str) -> None:
        """Places the holds of an answer and says that it came; what is done already is not done again."""
        with self.database.transaction() as session:
            row = store.response(session, response_id)
        if row is None or row.stage != Stage.PLACING:
            return
        lines = wire.lines_from_json(row.lines)
        self.neighbours.hold_answer(response_id, row.account_id, row.kind, lines, row.hold_until_on)
        with self.database.transaction() as session:
            row = store.response_for_update(session, response_id)
            if row is not None and row.stage == Stage.PLACING:
                row.stage = Stage.PLACED.value
                _tell(session, row)

    def place_late(self, response_id: str) -> None:
        """The job behind an answer whose request died or whose ledger was away.

        When the ledger refuses by then, the customer has been thanked already: the answer is kept as EXPIRED with the
        reason, for the collector to see.
        """
        try:
            self.place(response_id)
        except Refused as error:
            if error.is_transient:
                raise
            with self.database.transaction() as session:
                row = store.response_for_update(session, response_id)
                if row is not None and row.stage == Stage.PLACING:
                    row.stage, row.state = Stage.DONE.value, State.EXPIRED.value
                    row.decision_comment = f"The items had changed before the answer could be taken: {error.reason}"
                    _tell(session, row)

    # ---- decisions ---------------------------------------------------------------------------------------------------
    def decide(self, response_id: str, decision: Decision) -> store.ResponseRow:
        """Carries out a collector's word: intention, the neighbour's part, result. Repeating it changes nothing more.

        Refuses RESPONSE_UNKNOWN, RESPONSE_ENDED, DATE_PAST and what the neighbour refuses; then it is undecided again.
        """
        with self.database.transaction() as session:
            row = _seen(store.response_for_update(session, response_id))
            kept = row.decision
            if row.state != State.RECEIVED or (row.stage == Stage.DECIDING and kept != decision.to_json()):
                raise Refused(
                    Code.FAILED_PRECONDITION, "RESPONSE_ENDED", "this answer is decided or has run out", state=row.state
                )
            if row.stage != Stage.DECIDING:
                today = business_today()
                if decision.accept:
                    domain.amended(wire.answer_of(row), _amendment(decision), today)
                row.stage, row.decision = Stage.DECIDING.value, decision.to_json()
                # Kept with the intention: a repetition on another day must ask the neighbours for the same thing.
                row.decided_on, row.check_on = today, self._check_day(row, decision, today)
                row.decision_number += 1
                row.decided_by = current_caller().actor
                self._later(session, DECIDE_JOB, row, dedup_key=f"{response_id}:{row.decision_number}")
        return self.carry_out(response_id)

    def carry_out(self, response_id: str) -> store.ResponseRow:
        """The neighbour's part of a decision that was kept, and its result. Calls repeat under the same request ids."""
        with self.database.transaction() as session:
            row = store.response(session, response_id)
        assert row is not None
        if row.stage != Stage.DECIDING or row.decision is None:
            return row
        decision = Decision.from_json(row.decision)
        said = wire.answer_of(row)
        promise_id = case_id = ""
        final = said
        try:
            if not decision.accept:
                self.neighbours.release(response_id, decision.comment or "Rejected", f"response:{response_id}:reject")
            else:
                assert row.decided_on is not None
                final = domain.amended(said, _amendment(decision), row.decided_on)
                promise_id, case_id = self._carry_out_acceptance(row, final, decision)
        except Refused as error:
            if not error.is_transient:
                self._undecide(response_id, row.decision_number)
            raise
        with self.database.transaction() as session:
            row = store.response_for_update(session, response_id)
            assert row is not None
            if row.stage != Stage.DECIDING:
                return row
            row.stage = Stage.DONE.value
            row.state = State.REJECTED.value
            if decision.accept:
                row.state = (State.ACCEPTED if final == said else State.AMENDED).value
            row.lines = wire.lines_to_json(final.lines)
            row.promised_on, row.reason_code = final.promised_on, final.reason_code
            row.promise_id, row.case_id = promise_id, case_id
            row.decision_comment, row.decided_at = decision.comment, utc_now()
            _tell(session, row)
            return row

    def _carry_out_acceptance(self, row: store.ResponseRow, final: Answer, decision: Decision) -> tuple[str, str]:
        if final.kind is Kind.PROMISE:
            return self.neighbours.create_promise(row.response_id, row.account_id, final), ""
        if final.kind is Kind.DISPUTE:
            return "", self.neighbours.open_case(row.response_id, row.account_id, final, decision.owner)
        assert row.check_on is not None
        self.neighbours.announce_payment(row.response_id, row.account_id, final, row.check_on)
        return "", ""

    def _check_day(self, row: store.ResponseRow, decision: Decision, today: date) -> date | None:
        """The day on which announced cash should have been seen; None for other answers and for a rejection."""
        if not decision.accept or row.kind != Kind.ALREADY_PAID or row.paid_on is None:
            return None
        after_payment = add_working_days(row.paid_on, self.settings.paid_check_working_days)
        return max(after_payment, add_working_days(today, 1))

    def carry_out_late(self, response_id: str) -> None:
        """The job behind a decision whose request died; a refusal leaves the answer undecided."""
        try:
            self.carry_out(response_id)
        except Refused as error:
            if error.is_transient:
                raise
            log.warning("the decision on answer %s was refused: %s", response_id, error)

    def _undecide(self, response_id: str, decision_number: int) -> None:
        with self.database.transaction() as session:
            row = store.response_for_update(session, response_id)
            if row is not None and row.stage == Stage.DECIDING and row.decision_number == decision_number:
                row.stage, row.decision, row.decided_by = Stage.PLACED.value, None, ""
                row.decided_on = row.check_on = None

    def expire(self) -> int:
        """Answers nobody decided in time: their holds have run out by themselves. Gives how many."""
        with self.database.transaction() as session:
            due = store.run_out(session, business_today())
        count = 0
        for response_id in due:
            with self.database.transaction() as session:
                row = store.response_for_update(session, response_id)
                if row is not None and row.state == State.RECEIVED and row.stage == Stage.PLACED:
                    row.state, row.stage = State.EXPIRED.value, Stage.DONE.value
                    _tell(session, row)
                    count += 1
        return count

    def wipe_tokens(self) -> None:
        """Wipes the tokens of links that were made a week ago and never opened: nobody will ask for them again."""
        with self.database.transaction() as session:
            store.wipe_tokens(session, utc_now() - timedelta(days=TOKEN_KEPT_DAYS))

    def response(self, session: Session, response_id: str) -> store.ResponseRow:
        """One answer the caller may see. Refuses RESPONSE_UNKNOWN."""
        return _seen(store.response(session, response_id))

    def _later(self, session: Session, kind: str, row: store.ResponseRow, dedup_key: str) -> None:
        jobs.enqueue(
            session,
            kind,
            {"response_id": row.response_id},
            dedup_key,
            run_after=utc_now() + timedelta(seconds=JOB_DELAY_S),
        )


def _amendment(decision: Decision) -> Amendment:
    return Amendment(decision.promised_on, decision.reason_code, decision.amounts or {})


def _seen(row: store.ResponseRow | None) -> store.ResponseRow:
    if row is None or row.stage == Stage.PLACING or not current_caller().sees_entity(row.entity_code):
        raise Refused(Code.NOT_FOUND, "RESPONSE_UNKNOWN", "there is no such answer")
    return row


def _tell(session: Session, row: store.ResponseRow) -> None:
    row.version += 1
    session.flush()
    emit(session, wire.response_changed(row), key=row.response_id)
