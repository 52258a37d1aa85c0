"""What the ledger says of one account, for tests."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa

from kit import bulk
from kit.clock import business_today
from kit.ids import new_id
from quittance.ledger.v1 import ledger_events_pb2

TIMEOUT_S = 5


def changed(account_id, unit, version, *opens, number="C-1", entity="FR01", part=0):
    """One account as the ledger says it; opens are (currency, minor units, days late)."""
    accounts = {
        "account_id": account_id, "version": version, "entity_id": new_id(), "entity_code": entity, "entity_name": entity,
        "entity_currency": "EUR", "entity_country": "FR", "entity_language": "fr", "number": number,
        "name": f"Customer {number}", "country": "FR", "language": "", "payment_terms": "", "legal_unit_id": unit,
        "legal_unit_name": "Unit", "registration_number": "", "parent_number": "", "groups": "[]", "collector": "",
        "custom_fields": "{}", "changed_at": datetime.now(UTC),
    }  # fmt: skip
    schema = pa.schema(
        [(name, pa.int64() if name == "version" else pa.timestamp("us", "UTC") if name == "changed_at" else pa.string())
         for name in accounts]
    )  # fmt: skip
    items = pa.table(
        {
            "account_id": pa.array([account_id] * len(opens), pa.string()),
            "currency": pa.array([one[0] for one in opens], pa.string()),
            "due_on": pa.array([business_today() - timedelta(days=one[2]) for one in opens], pa.date32()),
            "open_minor": pa.array([one[1] for one in opens], pa.int64()),
        }
    )
    return ledger_events_pb2.AccountsChanged(
        accounts=bulk.to_ipc(pa.Table.from_pylist([accounts], schema=schema)), open_items=bulk.to_ipc(items), part=part
    )
