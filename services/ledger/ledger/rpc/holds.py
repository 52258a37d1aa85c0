"""HoldService: what becomes of holds, and what each kind suspends."""

from kit.clock import business_today
from kit.db import Database
from ledger import domain, usecases
from ledger.rpc.translate import hold_to_proto, iso_day, money
from ledger.store import holds
from quittance.ledger.v1 import hold_service_pb2 as pb
from quittance.ledger.v1 import hold_service_pb2_grpc as pb_grpc
from quittance.ledger.v1 import item_pb2


class HoldRpc(pb_grpc.HoldServiceServicer):
    """HoldService."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def GetHold(self, request, context):
        """One hold with its history."""
        with self._database.transaction() as session:
            hold, currency = usecases.visible_hold(session, request.hold_id.lower())
            reply = pb.GetHoldResponse(hold=hold_to_proto(hold, currency, business_today()))
            for change in holds.history(session, hold.hold_id):
                entry = reply.changes.add(
                    sequence=change.sequence,
                    what=change.what,
                    amount=money(currency, change.amount_minor),
                    reason=change.reason,
                    actor=change.actor,
                    until_on=iso_day(change.until_on),
                    review_on=iso_day(change.review_on),
                )
                entry.recorded_at.FromDatetime(change.recorded_at)
        return reply

    def UpdateHold(self, request, context):
        """Changes last day, day of review or reason."""
        today = business_today()
        wanted = {
            name: getattr(request, name) for name in ("until_on", "review_on", "reason") if request.HasField(name)
        }

        def work(session):
            hold, currency = usecases.update_hold(session, request.hold_id.lower(), wanted, today)
            return pb.UpdateHoldResponse(hold=hold_to_proto(hold, currency, today))

        return self._database.retrying(work)

    def ListHoldKinds(self, request, context):
        """What each kind suspends."""
        rules = [
            pb.HoldKindRule(
                kind=item_pb2.HoldKind.Value(f"HOLD_KIND_{kind}"),
                suspends_reminders=rule.reminders,
                suspends_penalties=rule.penalties,
                suspends_credit=rule.credit,
            )
            for kind, rule in domain.SUSPENDS.items()
        ]
        return pb.ListHoldKindsResponse(rules=rules, total_size=len(rules))
