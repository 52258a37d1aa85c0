"""What the import service hears: the entities of the ledger, whose code and currency a file needs."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from importer import store
from quittance.common.v1 import event_log_service_pb2 as log_pb


def on_entity_changed(session: Session, event: Any, envelope: log_pb.Envelope) -> None:
    """Keeps code, name and currency; an older version is dropped."""
    entity = event.entity
    store.keep_entity_if_newer(session, entity.code, entity.name, entity.currency, entity.version)


HANDLERS = {("ledger", "quittance.ledger.v1.EntityChanged"): on_entity_changed}
