"""The two calls this service makes, and the facts they bring: the ledger's look again, the portal's personal link."""

from dataclasses import dataclass
from datetime import date

from kit import grpc_client
from kit.money import Money, from_proto
from kit.settings import ServiceSettings
from notification.domain.rendering import AccountFact, ContactFact, ItemFact
from quittance.ledger.v1 import account_pb2, item_pb2
from quittance.ledger.v1 import ledger_service_pb2 as ledger_pb
from quittance.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from quittance.portal.v1 import portal_service_pb2 as portal_pb
from quittance.portal.v1.portal_service_pb2_grpc import PortalServiceStub

# What LookAgain gives at most; beyond it the items asked for must be asked for by name.
LOOK_MAX_ITEMS = 2000
LOOK_TIMEOUT_S = 5.0
LINK_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Look:
    """An account as the ledger sees it this moment."""

    account: AccountFact
    items: tuple[ItemFact, ...]


@dataclass(frozen=True)
class Link:
    """A personal link; url holds the token and is never stored in clear."""

    link_id: str
    url: str


class Neighbours:
    """Ledger and portal as this service needs them; refusals come out as Refused."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings

    def look_again(self, account_id: str, item_ids: tuple[str, ...] = ()) -> Look:
        """The account with its open items, oldest due date first; those of item_ids in any case."""
        stub = LedgerServiceStub(grpc_client.channel(self._settings, "ledger"))
        answer = stub.LookAgain(ledger_pb.LookAgainRequest(account_id=account_id), timeout=LOOK_TIMEOUT_S)
        items = {item.item_id: item for item in answer.items}
        missing = [item_id for item_id in item_ids if item_id not in items]
        if missing and len(answer.items) >= LOOK_MAX_ITEMS:
            asked = ledger_pb.LookAgainRequest(account_id=account_id, item_ids=missing)
            items.update((item.item_id, item) for item in stub.LookAgain(asked, timeout=LOOK_TIMEOUT_S).items)
        return Look(_account(answer.account, answer.entity), tuple(_item(item) for item in items.values()))

    def create_link(self, message_id: str, account_id: str, contact_id: str, language: str, valid_days: int) -> Link:
        """The personal link of one message; asking again for the same message gives the same link."""
        stub = PortalServiceStub(grpc_client.channel(self._settings, "portal"))
        request = portal_pb.CreateLinkRequest(
            request_id=message_id,
            account_id=account_id,
            contact_id=contact_id,
            language=language,
            valid_days=valid_days,
        )
        answer = stub.CreateLink(request, timeout=LINK_TIMEOUT_S)
        return Link(answer.link.link_id, answer.url)


def _account(account: account_pb2.Account, entity: account_pb2.Entity) -> AccountFact:
    return AccountFact(
        account_id=account.account_id,
        number=account.number,
        name=account.name,
        country=account.country,
        language=account.language,
        payment_terms=account.payment_terms,
        legal_unit_name=account.legal_unit_name,
        registration_number=account.registration_number,
        address=account.custom_fields.get("address", ""),
        collector=account.collector,
        entity_code=account.entity_code or entity.code,
        entity_name=entity.name,
        entity_country=entity.country,
        entity_language=entity.language,
        contacts=tuple(
            ContactFact(
                contact.contact_id,
                contact.name,
                contact.email,
                account_pb2.ContactRole.Name(contact.role).removeprefix("CONTACT_ROLE_"),
                contact.language,
                contact.valid,
            )
            for contact in account.contacts
        ),
    )


def _item(item: item_pb2.Item) -> ItemFact:
    opened = from_proto(item.open)
    zero = Money(opened.currency, 0)
    return ItemFact(
        item_id=item.item_id,
        number=item.number,
        kind=item_pb2.ItemKind.Name(item.kind).removeprefix("ITEM_KIND_"),
        due_on=date.fromisoformat(item.due_on) if item.due_on else None,
        days_late=item.days_late,
        open=opened,
        held=from_proto(item.held) if item.HasField("held") else zero,
        collectable=from_proto(item.collectable) if item.HasField("collectable") else zero,
        order_number=item.order_number,
        hold_kinds=frozenset(
            item_pb2.HoldKind.Name(hold.kind).removeprefix("HOLD_KIND_")
            for hold in item.holds
            if hold.state == item_pb2.HOLD_STATE_ACTIVE
        ),
    )
