"""The rows of the import service on a real PostgreSQL."""

from __future__ import annotations

import datetime as dt

import pytest

from importer import store
from importer.consumers import HANDLERS
from importer.store import BatchRow
from kit.ids import new_id
from kit.testing import deliver
from quittance.ledger.v1 import account_pb2, ledger_events_pb2

NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)


def entity_changed(version: int, currency: str) -> ledger_events_pb2.EntityChanged:
    return ledger_events_pb2.EntityChanged(
        entity=account_pb2.Entity(entity_id=new_id(), code="FR01", name="One", currency=currency, version=version)
    )


@pytest.mark.doubled_and_late("quittance.ledger.v1.EntityChanged")
def test_doubled_and_late_entities_change_nothing(database, acting):
    assert deliver(database, HANDLERS, entity_changed(2, "EUR"), times=2) == [True, False]
    deliver(database, HANDLERS, entity_changed(1, "USD"))
    with database.transaction() as session:
        row = store.entity(session, "FR01")
        assert row is not None
        assert (row.currency, row.version) == ("EUR", 2)


def test_a_layout_is_remembered_once_per_object_and_by_hand_as_often_as_wanted(database, acting):
    said = {"fingerprint": "f", "name": "a.csv", "mapping": {"A": "x"}, "answers": {}}
    with database.transaction() as session:
        first = store.add_profile(session, NOW, "A", object="ITEMS", **said)
        assert store.add_profile(session, NOW, "B", object="ITEMS", **said) is None
        other = store.add_profile(session, NOW + dt.timedelta(1), "A", object="ACCOUNTS", **said)
        by_hand = [
            store.add_profile(session, NOW, "A", object="ITEMS", by_hand=True, entity_codes=[code], **said)
            for code in ("FR01", "DE01")
        ]
        assert first is not None and other is not None and all(by_hand)
        store.save_profile(session, first, NOW, "C", mapping={"A": "y"})
        store.count_use(session, first.profile_id, NOW)
    with database.transaction() as session:
        found = store.profile_candidates(session, "f", "ITEMS", "FR01")
        assert [row.profile_id for row in found] == [by_hand[0].profile_id, first.profile_id]
        assert (found[1].used, found[1].version, found[1].mapping, found[1].name) == (1, 2, {"A": "y"}, "a.csv")
        assert [row.object for row in store.profile_candidates(session, "f", "", "US01")] == ["ACCOUNTS", "ITEMS"]
        assert store.profile_candidates(session, "g", "", "FR01") == []
        versions, _, total = store.profile_versions(session, first.profile_id, "", "", 0, "")
        assert [(row.version, row.saved_by, row.definition["mapping"]) for row in versions] == [
            (2, "C", {"A": "y"}),
            (1, "A", {"A": "x"}),
        ]
        assert total == 2


def batch(created_at: dt.datetime, state: str, entity: str = "FR01") -> BatchRow:
    return BatchRow(
        import_id=new_id(),
        state=state,
        file_name="f.csv",
        sha256="0",
        size_bytes=1,
        entity_code=entity,
        entity_currency="EUR",
        mode="delta",
        apply=True,
        version=1,
        file_on=dt.date(2026, 3, 1),
        created_by="Test",
        created_at=created_at,
    )


def test_files_of_an_entity_are_applied_in_order(database, acting):
    older, newer, elsewhere = (
        batch(NOW, "APPLYING"),
        batch(NOW + dt.timedelta(1), "APPLYING"),
        batch(NOW + dt.timedelta(2), "APPLYING", "DE01"),
    )
    with database.transaction() as session:
        session.add_all([older, newer, elsewhere])
    with database.transaction() as session:
        assert [store.older_batch_applying(session, row) for row in (older, newer, elsewhere)] == [False, True, False]
    # One that is still being read and will be applied by itself is waited for as well.
    with database.transaction() as session:
        store.batch_for_update(session, older.import_id).state = "READING"
    with database.transaction() as session:
        assert store.older_batch_applying(session, newer)


def test_other_tenants_rows_do_not_exist(database, as_tenant):
    row = batch(NOW, "PREVIEWED")
    with as_tenant(new_id()), database.transaction() as session:
        session.add(row)
        session.flush()
        store.keep_raw_file(session, "0", 1, NOW)
        store.add_profile(session, NOW, "A", object="ITEMS", fingerprint="f", name="a", mapping={}, answers={})
        store.keep_entity_if_newer(session, "FR01", "One", "EUR", 1)
    with as_tenant(new_id()), database.transaction() as session:
        assert store.batch(session, row.import_id) is None
        assert store.batches(session, "", "", 0, "", None)[2] == 0
        assert store.profiles(session, "", "", 0, "")[2] == 0
        assert store.entity(session, "FR01") is None
