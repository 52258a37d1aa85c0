"""What the ledger does: each function is one unit of work inside a transaction that the edge opens."""

from ledger.usecases.customers import create_contact, create_entity, mark_contact, update_account
from ledger.usecases.holds import HoldOrder, HoldSource, place_holds, release_holds, sweep_holds
from ledger.usecases.loads import LoadEnd, LoadHeader, finish_load, load_chunk, load_progress, open_load, visible_entity

__all__ = [
    "HoldOrder",
    "HoldSource",
    "LoadEnd",
    "LoadHeader",
    "create_contact",
    "create_entity",
    "finish_load",
    "load_chunk",
    "load_progress",
    "mark_contact",
    "open_load",
    "place_holds",
    "release_holds",
    "sweep_holds",
    "update_account",
    "visible_entity",
]
