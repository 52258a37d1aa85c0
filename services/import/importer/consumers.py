"""What the import service hears of the ledger: entities, whose code and currency a file needs, and the end of items,
after which their documents are not kept for ever."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from importer import store
from importer.usecases import documents
from kit import bulk
from quittance.common.v1 import event_log_service_pb2 as log_pb


def on_entity_changed(session: Session, event: Any, envelope: log_pb.Envelope) -> None:
    """Keeps code, name and currency; an older version is dropped."""
    entity = event.entity
    store.keep_entity_if_newer(session, entity.code, entity.name, entity.currency, entity.version)


def on_item_facts_recorded(session: Session, event: Any, envelope: log_pb.Envelope) -> None:
    """Keeps whether items with documents are cleared, and finds items that documents wait for."""
    if not any(store.has_documents(session)):
        return
    facts = bulk.from_ipc(event.items)
    if facts.num_rows:
        documents.items_changed(
            session,
            facts["item_id"].to_pylist(),
            facts["version"].to_pylist(),
            facts["account_id"].to_pylist(),
            facts["entity_code"].to_pylist(),
            facts["number"].to_pylist(),
            facts["settled_on"].to_pylist(),
        )


HANDLERS = {
    ("ledger", "quittance.ledger.v1.EntityChanged"): on_entity_changed,
    ("ledger", "quittance.ledger.v1.ItemFactsRecorded"): on_item_facts_recorded,
}
