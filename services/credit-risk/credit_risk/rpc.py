"""Translates between the contract and the use cases."""

from datetime import date

from google.protobuf.timestamp_pb2 import Timestamp

from credit_risk import domain, store, usecases
from credit_risk.config import Settings
from kit import listing, money
from kit.bus import wait_until_seen
from kit.clock import business_today, utc_now
from kit.context import current_caller
from kit.db import Database
from kit.errors import Code, Refused
from kit.idempotency import once
from kit.ids import new_id
from quittance.credit_risk.v1 import credit_risk_service_pb2 as pb
from quittance.credit_risk.v1.credit_risk_service_pb2_grpc import CreditRiskServiceServicer

_EXPLANATION = (
    "Open items net of credits, disputed ones included, of {count} account(s) of this legal unit in {currency} on {as_of}."
    " Orders and guarantees are not known yet."
)


class CreditRiskRpc(CreditRiskServiceServicer):
    """Limits and exposure per legal unit."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database

    def _wait(self) -> None:
        wait_until_seen(self._database, None, "ledger", timeout_s=self._settings.freshness_timeout_s)

    def GetAccountCredit(self, request: pb.GetAccountCreditRequest, context: object) -> pb.GetAccountCreditResponse:
        self._wait()
        today = business_today()
        with self._database.transaction() as session:
            [credit] = usecases.credits(session, [usecases.unit_of(session, request.account_id)], today)
            return pb.GetAccountCreditResponse(credit=visible(credit_to_proto(credit, today)))

    def SetLimit(self, request: pb.SetLimitRequest, context: object) -> pb.SetLimitResponse:
        self._wait()
        today = business_today()
        reply = pb.SetLimitResponse()
        request_id = request.request_id or new_id()
        with self._database.transaction() as session, once(session, request_id, request, reply) as first:
            if first:
                unit = usecases.set_limit(
                    session,
                    request.account_id,
                    money.from_proto(request.amount),
                    date.fromisoformat(request.valid_from) if request.valid_from else today,
                    date.fromisoformat(request.valid_until) if request.valid_until else None,
                    request.reason,
                    utc_now(),
                )
                usecases.say_risk(session, [unit], today, credit_to_proto)
                [credit] = usecases.credits(session, [unit], today)
                reply.credit.CopyFrom(visible(credit_to_proto(credit, today)))
        return reply

    def ListCredits(self, request: pb.ListCreditsRequest, context: object) -> pb.ListCreditsResponse:
        self._wait()
        today = business_today()
        with self._database.transaction() as session:
            units = store.units_page(session, current_caller().entity_codes)
            found = [credit_to_proto(credit, today) for credit in usecases.credits(session, units, today)]
        found = [one for one in found if _matches(one, request.filter)]
        # The unit with most used of its limit first, then by exposure; the id makes the order total.
        found.sort(key=lambda one: (-one.utilisation_percent, -one.exposure.minor_units, one.legal_unit_id))
        limit, offset = listing.page_size(request.page_size), listing.offset_of(request.page_token)
        page = [visible(one) for one in found[offset : offset + limit]]
        return pb.ListCreditsResponse(
            credits=page,
            next_page_token=listing.next_offset_token(offset, len(page), len(found)),
            total_size=len(found),
        )


def _matches(credit: pb.Credit, text: str) -> bool:
    value_by_name = {
        "over_limit": str(credit.is_over_limit).lower(),
        "currency": credit.exposure.currency,
        "legal_unit_name": credit.legal_unit_name,
        "utilisation_percent": str(credit.utilisation_percent),
    }
    for term in listing.filter_terms(text, frozenset(value_by_name)):
        have = value_by_name[term.name]
        if term.name == "utilisation_percent":
            try:
                difference = float(have) - float(term.value)
            except ValueError as error:
                raise Refused(
                    Code.INVALID_ARGUMENT, "INVALID_FIELDS", f"{term.value!r} is no number", {"filter": "a number"}
                ) from error
            holds = {
                "=": difference == 0, "!=": difference != 0, "<": difference < 0, "<=": difference <= 0,
                ">": difference > 0, ">=": difference >= 0, ":": term.value in have,
            }[term.op]  # fmt: skip
        else:
            equal = have.lower() == term.value.lower()
            holds = {"=": equal, "!=": not equal, ":": term.value.lower() in have.lower()}.get(term.op, False)
        if not holds:
            return False
    return True


def visible(credit: pb.Credit) -> pb.Credit:
    """The credit without the accounts of entities the caller may not see; the unit's sums stay whole."""
    kept = [part for part in credit.parts if current_caller().sees_entity(part.entity_code)]
    del credit.parts[:]
    credit.parts.extend(kept)
    return credit


def credit_to_proto(unit: usecases.UnitCredit, today: date) -> pb.Credit:
    """A legal unit as the contract says it."""
    stands = unit.exposure
    message = pb.Credit(
        legal_unit_id=unit.legal_unit_id,
        legal_unit_name=unit.name,
        registration_number=unit.registration_number,
        exposure=money.to_proto(stands.exposure),
        utilisation_percent=stands.utilisation_percent,
        is_over_limit=stands.is_over_limit,
        other_currencies=[money.to_proto(one) for one in stands.other_currencies],
        parts=[
            pb.ExposurePart(
                account_id=row["account_id"],
                account_number=row["number"],
                account_name=row["name"],
                entity_code=row["entity_code"],
                open=_in(stands, stands.open_by_account.get(row["account_id"], 0)),
                overdue=_in(stands, stands.overdue_by_account.get(row["account_id"], 0)),
            )
            for row in unit.accounts
        ],
        ages=[pb.AgePart(label=label, amount=_in(stands, minor)) for label, minor in stands.ages],
        history=[_limit(limit) for limit in unit.limits],
        as_of=today.isoformat(),
        explanation=_EXPLANATION.format(count=len(unit.accounts), currency=stands.exposure.currency, as_of=today),
    )
    if stands.limit is not None:
        message.limit.CopyFrom(_limit(stands.limit))
    if stands.available is not None:
        message.available.CopyFrom(money.to_proto(stands.available))
    if stands.over_limit is not None:
        message.over_limit.CopyFrom(money.to_proto(stands.over_limit))
    return message


def _in(stands: domain.Exposure, minor: int):
    return money.to_proto(money.Money(stands.exposure.currency, minor))


def _limit(limit: domain.Limit) -> pb.Limit:
    decided_at = Timestamp()
    decided_at.FromDatetime(limit.decided_at)
    return pb.Limit(
        amount=money.to_proto(limit.amount),
        valid_from=limit.valid_from.isoformat(),
        valid_until=limit.valid_until.isoformat() if limit.valid_until else "",
        reason=limit.reason,
        decided_by=limit.decided_by,
        decided_at=decided_at,
    )
