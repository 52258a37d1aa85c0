"""What this service asks of its neighbours, each call with a limit."""

from typing import Any

from kit import context, grpc_client
from quittance.ledger.v1 import ledger_service_pb2 as ledger_pb
from quittance.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from quittance.notification.v1 import notification_service_pb2 as notification_pb
from quittance.notification.v1.notification_service_pb2_grpc import NotificationServiceStub
from scenario.config import Settings

HOLDS_TIMEOUT_S = 4.0
SEND_TIMEOUT_S = 8.0


def place_holds(settings: Settings, request: ledger_pb.PlaceHoldsRequest) -> ledger_pb.PlaceHoldsResponse:
    """Places holds in the ledger, all or none. Refuses HOLD_EXCEEDS_OPEN, ITEM_CLEARED, ITEM_UNKNOWN."""
    return LedgerServiceStub(grpc_client.channel(settings, "ledger")).PlaceHolds(request, timeout=HOLDS_TIMEOUT_S)


def release_holds(settings: Settings, request: ledger_pb.ReleaseHoldsRequest) -> ledger_pb.ReleaseHoldsResponse:
    """Ends holds in the ledger; ending an ended one changes nothing."""
    return LedgerServiceStub(grpc_client.channel(settings, "ledger")).ReleaseHolds(request, timeout=HOLDS_TIMEOUT_S)


def send_action(settings: Settings, row: dict[str, Any]) -> str:
    """Hands an action with its committed intent to the sender; returns the message's id. A repetition gives the same.

    Refuses CONTACT_MISSING, NOTHING_COLLECTABLE, ITEM_NOT_COLLECTABLE, UNKNOWN_TAG, MESSAGE_EMPTY, MESSAGE_EXISTS,
    TEMPLATE_UNKNOWN.
    """
    intent = row["intent"]
    request = notification_pb.SendMessageRequest(
        request_id=f"attempt:{intent['attempt_id']}",
        purpose_key=f"action:{row['action_id']}",
        account_id=row["account_id"],
        item_ids=intent["item_ids"],
        template_key=row["step"]["template_key"],
        subject=intent["subject"],
        body=intent["body"],
        contact_ids=intent["contact_ids"],
        contact_role=row["step"]["contact_role"],
        action_id=row["action_id"],
        step_number=row["step_number"],
        # Intents of older versions know nothing of ticks.
        exact_items=intent.get("exact_items", False),
    )
    stub = NotificationServiceStub(grpc_client.channel(settings, "notification"))
    # What it refuses with is kept with the action: in English, and said in the reader's language when it is read.
    with context.speaking("en"):
        return stub.SendMessage(request, timeout=SEND_TIMEOUT_S).message.message_id
