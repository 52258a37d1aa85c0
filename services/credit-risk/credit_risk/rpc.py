"""Translates between the contract and the use cases."""

from collections.abc import Callable, Iterator
from datetime import date

from google.protobuf.timestamp_pb2 import Timestamp

from credit_risk import domain, loads, store, usecases
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
from quittance.credit_risk.v1 import risk_load_service_pb2 as load_pb
from quittance.credit_risk.v1.credit_risk_service_pb2_grpc import CreditRiskServiceServicer
from quittance.credit_risk.v1.risk_load_service_pb2_grpc import RiskLoadServiceServicer

_EXPLANATION = (
    "Open items net of credits, disputed ones included, of {count} account(s) of this legal unit in {currency} on {as_of}."
    " Orders count as the rules of exposure say; guarantees and insurance stand beside it."
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

    def GetExposureRules(self, request: pb.GetExposureRulesRequest, context: object) -> pb.GetExposureRulesResponse:
        with self._database.transaction() as session:
            return pb.GetExposureRulesResponse(rules=_rules(store.exposure_rules(session)))

    def SetExposureRules(self, request: pb.SetExposureRulesRequest, context: object) -> pb.SetExposureRulesResponse:
        rules = domain.ExposureRules(request.rules.with_orders, request.rules.with_delivered)
        with self._database.transaction() as session:
            store.set_exposure_rules(session, rules)
            usecases.say_risk(session, store.all_units_with_limits(session), business_today(), credit_to_proto)
        return pb.SetExposureRulesResponse(rules=_rules(rules))

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


class RiskLoadRpc(RiskLoadServiceServicer):
    """Loads of cover and credit information."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database

    def LoadRisk(
        self, request_iterator: Iterator[load_pb.LoadRiskRequest], context: object
    ) -> Iterator[load_pb.LoadRiskResponse]:
        first = next(request_iterator, None)
        if first is None or not first.HasField("header"):
            raise Refused(Code.INVALID_ARGUMENT, "LOAD_SCHEMA", "the first message is the header")
        header = first.header
        merge = {
            load_pb.RISK_OBJECT_COVER: loads.merge_cover,
            load_pb.RISK_OBJECT_CREDIT_INFORMATION: loads.merge_information,
        }.get(header.object)
        if merge is None:
            raise Refused(Code.INVALID_ARGUMENT, "LOAD_SCHEMA", "the header names no object")
        if not current_caller().sees_entity(header.entity_code):
            raise Refused(Code.NOT_FOUND, "ENTITY_UNKNOWN", "there is no such entity")
        # Customers of a file that was loaded a moment ago must be known.
        wait_until_seen(self._database, None, "ledger", timeout_s=self._settings.freshness_timeout_s)
        for request in request_iterator:
            if not request.HasField("chunk"):
                raise Refused(Code.INVALID_ARGUMENT, "LOAD_SCHEMA", "every message after the first is a chunk")
            yield self._chunk(header, merge, request.chunk)

    def _chunk(
        self, header: load_pb.RiskLoadHeader, merge: Callable[..., loads.Outcome], chunk: load_pb.RiskChunk
    ) -> load_pb.LoadRiskResponse:
        with self._database.transaction() as session:
            store.lock_load(session, header.load_id)
            known = None if header.plan_only else store.chunk_answer(session, header.load_id, chunk.chunk_number)
            if known is not None:
                return load_pb.LoadRiskResponse.FromString(known)
            outcome = merge(session, header.load_id, header.entity_code, chunk.rows, plan_only=header.plan_only)
            answer = load_pb.LoadRiskResponse(
                chunk_number=chunk.chunk_number,
                created=outcome.created,
                updated=outcome.updated,
                unchanged=outcome.unchanged,
                rejected=outcome.rejected,
                rejects=[
                    load_pb.RiskReject(line=line, field=column, reason=reason)
                    for line, column, reason in outcome.rejects
                ],
            )
            if not header.plan_only:
                store.keep_chunk_answer(session, header.load_id, chunk.chunk_number, answer.SerializeToString())
        return answer


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
        orders=money.to_proto(stands.orders),
        delivered=money.to_proto(stands.delivered),
        exposure_rules=_rules(stands.rules),
    )
    for cover in sorted(unit.covers, key=lambda one: not one.holds_on(today)):
        message.covers.add(
            kind=cover.kind,
            insurer=cover.insurer,
            policy=cover.policy,
            amount=money.to_proto(cover.amount),
            valid_from=cover.valid_from.isoformat() if cover.valid_from else "",
            valid_until=cover.valid_until.isoformat() if cover.valid_until else "",
            is_in_force=cover.holds_on(today),
        )
    covered = domain.insured(unit.covers, stands.exposure.currency, today)
    if covered is not None:
        message.insured.CopyFrom(money.to_proto(covered))
    for one in unit.information:
        message.information.add(
            provider=one.provider,
            score=one.score,
            rating=one.rating,
            informed_on=one.informed_on.isoformat(),
            facts=one.facts,
        )
    if stands.limit is not None:
        message.limit.CopyFrom(_limit(stands.limit))
    if stands.available is not None:
        message.available.CopyFrom(money.to_proto(stands.available))
    if stands.over_limit is not None:
        message.over_limit.CopyFrom(money.to_proto(stands.over_limit))
    return message


def _rules(rules: domain.ExposureRules) -> pb.ExposureRules:
    return pb.ExposureRules(with_orders=rules.with_orders, with_delivered=rules.with_delivered)


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
