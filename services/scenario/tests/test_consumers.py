"""What other services say, doubled, late and in any order, on a real PostgreSQL."""

import time
from datetime import UTC, date, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import text

from kit.ids import new_id
from kit.testing import deliver, emitted, run_jobs
from quittance.common.v1.money_pb2 import Money
from quittance.ledger.v1 import account_pb2, ledger_events_pb2
from quittance.notification.v1 import notification_events_pb2, notification_service_pb2
from scenario import store
from scenario.consumers import HANDLERS
from scenario.tasks import JOBS, sweep

pytestmark = pytest.mark.usefixtures("acting")

ACCOUNT = "0197f000-0000-7000-8000-000000000001"
ITEM = "0197f000-0000-7000-8000-00000000a001"
OTHER = "0197f000-0000-7000-8000-00000000a002"
TODAY = date(2026, 3, 5)


def pending(database, account_id: str = ACCOUNT):
    with database.transaction() as session:
        return store.pending_action(session, account_id)


def known(database) -> list[tuple]:
    with database.transaction() as session:
        rows = session.execute(
            text(
                "SELECT a.version, i.item_id::text, i.open_minor FROM account a LEFT JOIN open_item i"
                " ON i.account_id = a.account_id ORDER BY 2"
            )
        )
        return [tuple(row) for row in rows]


def message_changed(action, state: str, version: int, message_id: str, failure: str = "", days_ago: int = 0):
    at = Timestamp()
    at.FromDatetime(datetime.now(UTC) - timedelta(days=days_ago))
    message = notification_service_pb2.Message(
        message_id=message_id, state=f"MESSAGE_STATE_{state}", account_id=ACCOUNT, action_id=action["action_id"],
        version=version, failure=failure,
    )  # fmt: skip
    if state in ("SENT", "DELIVERED", "BOUNCED"):
        message.sent_at.CopyFrom(at)
    return notification_events_pb2.MessageChanged(message=message)


def counts(database) -> dict[str, int]:
    with database.transaction() as session:
        rows = session.execute(text("SELECT state, count(*) FROM action GROUP BY state"))
        return {row[0]: row[1] for row in rows}


# ---- accounts --------------------------------------------------------------------------------------------------------


@pytest.mark.doubled_and_late(event="quittance.ledger.v1.AccountsChanged")
def test_doubled_and_late_accounts_change_nothing(database, said):
    newer = said(ACCOUNT, 2, [{"item_id": ITEM, "open_minor": 300_00}])
    assert deliver(database, HANDLERS, newer, times=2) == [True, False]
    before, events = pending(database), len(emitted(database))
    deliver(database, HANDLERS, said(ACCOUNT, 1, [{"item_id": ITEM, "open_minor": 999_00}, {"item_id": OTHER}]))
    # The same state under another event id, as a producer that lost its marks would say it again.
    deliver(database, HANDLERS, said(ACCOUNT, 2, [{"item_id": ITEM, "open_minor": 300_00}]))
    assert known(database) == [(2, ITEM, 300_00)]
    assert pending(database) == before
    assert len(emitted(database)) == events
    assert before["step_key"] == "reminder-1"
    assert before["state"] == "DUE"


@pytest.mark.doubled_and_late(event="quittance.ledger.v1.AccountsChanged")
def test_parts_of_one_version_add_up_in_any_order(database, said):
    second = said(ACCOUNT, 3, [{"item_id": OTHER}], part=1)
    deliver(database, HANDLERS, second, times=2)
    deliver(database, HANDLERS, said(ACCOUNT, 3, [{"item_id": ITEM}]), times=2)
    assert known(database) == [(3, ITEM, 100_00), (3, OTHER, 100_00)]
    assert sorted(pending(database)["item_ids"]) == [ITEM, OTHER]
    deliver(database, HANDLERS, said(ACCOUNT, 4, []))
    assert known(database) == [(4, None, None)]


def test_one_pending_action_lists_all_overdue_items_and_says_why(database, said):
    items = [
        {"item_id": ITEM, "due_on": date(2026, 2, 27), "number": "FA-1"},
        {"item_id": OTHER, "open_minor": 50_00, "number": "FA-2"},
    ]
    deliver(database, HANDLERS, said(ACCOUNT, 1, items))
    row = pending(database)
    assert row["item_ids"] == [ITEM, OTHER]
    assert row["overdue"] == {"EUR": 150_00}
    assert row["reason"]["text"] == "FA-1 is 6 d late; step due at D+3"
    assert row["assignee"] == "collector@example.com"
    (event,) = emitted(database)
    assert event.actions[0].action_id == row["action_id"]
    assert event.actions[0].leader_days_late == 6


def test_paid_in_between_ends_the_action_with_a_reason(database, said):
    deliver(database, HANDLERS, said(ACCOUNT, 1, [{"item_id": ITEM}]))
    deliver(database, HANDLERS, said(ACCOUNT, 2, []))
    assert pending(database) is None
    assert counts(database) == {"CANCELLED": 1}
    last = emitted(database)[-1].actions[0]
    assert (last.state, last.outcome) == (6, "Nothing to pay is open")


def test_holds_take_items_off_the_agenda_until_their_last_day(database, said, business_date, acting):
    hold = {"item_id": ITEM, "until_on": TODAY + timedelta(days=2), "kind": "PROMISE"}
    deliver(database, HANDLERS, said(ACCOUNT, 1, [{"item_id": ITEM}], [hold]))
    assert pending(database) is None
    business_date(TODAY + timedelta(days=3))
    run_sweep(database, acting)
    assert pending(database)["state"] == "DUE"


def run_sweep(database, acting):
    class JobOf:
        settings = database.settings
        tenant_id = acting.tenant_id

        def fence(self, session):
            pass

    job = JobOf()
    job.database = database
    sweep(job)


def test_a_sweep_moves_planned_to_due_once_and_two_sweeps_find_nothing_more(database, said, business_date, acting):
    deliver(database, HANDLERS, said(ACCOUNT, 1, [{"item_id": ITEM, "due_on": TODAY + timedelta(days=20)}]))
    row = pending(database)
    assert (row["state"], row["step_key"]) == ("PLANNED", "pre-due")
    business_date(row["due_on"])
    run_sweep(database, acting)
    run_sweep(database, acting)
    after = pending(database)
    assert (after["state"], after["action_id"], after["version"]) == ("DUE", row["action_id"], 2)
    assert counts(database) == {"DUE": 1}


def test_two_tenants_do_not_see_each_other(database, said, as_tenant):
    deliver(database, HANDLERS, said(ACCOUNT, 1, [{"item_id": ITEM}]))
    with as_tenant(new_id()):
        assert pending(database) is None
        assert known(database) == []


def test_a_first_import_of_5000_accounts_is_planned_in_seconds(database, said):
    accounts = []
    for n in range(5000):
        account_id = f"0197f000-0000-7000-8000-{n:012d}"
        items = [
            {"item_id": new_id(), "due_on": TODAY - timedelta(days=(n + k * 13) % 120 - 20), "open_minor": 10_000 + k}
            for k in range(4)
        ]
        accounts.append((account_id, 1, items, [], {"number": f"C-{n}"}))
    events = [said.many(accounts[n : n + 500]) for n in range(0, 5000, 500)]
    started, started_cpu = time.monotonic(), time.process_time()
    for event in events:
        assert len(event.SerializeToString()) < 512 * 1024
        deliver(database, HANDLERS, event)
    took_s, cpu_s = time.monotonic() - started, time.process_time() - started_cpu
    print(f"5,000 accounts planned in {took_s:.1f} s, {cpu_s:.1f} s of processor time of our own")
    assert sum(counts(database).values()) == 5000
    assert all(len(event.actions) <= 200 for event in emitted(database))
    # The clock says as much about the neighbours of a busy machine as about us; our own work is what we answer for.
    assert cpu_s < 8


# ---- messages --------------------------------------------------------------------------------------------------------


@pytest.fixture
def owed(database, said):
    """A reminder that is owed today."""
    deliver(database, HANDLERS, said(ACCOUNT, 1, [{"item_id": ITEM}]))
    return pending(database)


@pytest.mark.doubled_and_late(event="quittance.notification.v1.MessageChanged")
def test_a_confirmed_message_completes_its_step_once(database, owed):
    message_id = new_id()
    sent = message_changed(owed, "SENT", 3, message_id)
    assert deliver(database, HANDLERS, sent, times=2, producer="notification") == [True, False]
    deliver(database, HANDLERS, message_changed(owed, "SENDING", 2, message_id), producer="notification")
    deliver(database, HANDLERS, message_changed(owed, "CANCELLED", 1, message_id), producer="notification")
    with database.transaction() as session:
        row = store.action(session, owed["action_id"])
    assert (row["state"], row["done_on"], row["message_id"]) == ("DONE", TODAY, message_id)
    assert pending(database)["step_key"] == "call"
    assert pending(database)["state"] == "PLANNED"


@pytest.mark.doubled_and_late(event="quittance.notification.v1.MessageChanged")
@pytest.mark.parametrize("state", ["BOUNCED", "FAILED", "UNKNOWN"])
def test_a_message_that_did_not_arrive_never_counts_as_done(database, owed, state):
    message_id = new_id()
    deliver(database, HANDLERS, message_changed(owed, "SENT", 2, message_id), producer="notification")
    bounced = message_changed(owed, state, 3, message_id, failure="mailbox unknown")
    deliver(database, HANDLERS, bounced, times=2, producer="notification")
    deliver(database, HANDLERS, message_changed(owed, "SENT", 2, message_id), producer="notification")
    row = pending(database)
    assert (row["action_id"], row["state"]) == (owed["action_id"], "NEEDS_ATTENTION")
    assert (row["outcome"], row["done_on"]) == ("mailbox unknown", None)
    # The call planned after the confirmation made room.
    assert counts(database) == {"NEEDS_ATTENTION": 1, "CANCELLED": 1}
    with database.transaction() as session:
        assert store.facts(session, [ACCOUNT], TODAY)[ACCOUNT].last_contact_on is None


def test_a_stopped_message_ends_its_action_and_plans_anew(database, owed):
    event = message_changed(owed, "CANCELLED", 2, new_id(), failure="Paid in between.")
    deliver(database, HANDLERS, event, producer="notification")
    with database.transaction() as session:
        assert store.action(session, owed["action_id"])["outcome"] == "Paid in between."
    assert pending(database)["step_key"] == "reminder-1"
    assert pending(database)["action_id"] != owed["action_id"]


def test_a_message_out_of_scenario_counts_for_the_distance_between_contacts(database, said):
    deliver(database, HANDLERS, said(ACCOUNT, 1, [{"item_id": ITEM, "due_on": date(2026, 3, 3)}]))
    deliver(database, HANDLERS, message_changed({"action_id": ""}, "SENT", 2, new_id()), producer="notification")
    assert pending(database)["due_on"] == TODAY + timedelta(days=4)


def test_a_confirmation_that_comes_late_counts_on_the_day_of_sending(database, owed):
    deliver(database, HANDLERS, message_changed(owed, "SENT", 2, new_id(), days_ago=2), producer="notification")
    with database.transaction() as session:
        assert store.action(session, owed["action_id"])["done_on"] == TODAY - timedelta(days=2)


# ---- accounts that belong together -----------------------------------------------------------------------------------

MASTER = "0190b000-0000-7000-8000-0000000000aa"
SURVIVOR = "0190b000-0000-7000-8000-0000000000bb"


def reason_of(database, account_id):
    with database.transaction() as session:
        found = session.execute(text("SELECT reason FROM account WHERE account_id = :id"), {"id": account_id})
        return found.scalar_one()


def pending_of(database, account_id):
    with database.transaction() as session:
        rows = session.execute(
            text("SELECT item_ids, leader_number FROM action WHERE account_id = :id AND state IN ('DUE', 'PLANNED')"),
            {"id": account_id},
        )
        return rows.mappings().one_or_none()


def test_a_grouped_account_is_collected_through_its_master_until_it_stands_alone_again(database, said, acting):
    deliver(
        database, HANDLERS, said(MASTER, 1, [{"item_id": ITEM, "number": "M-1", "due_on": TODAY - timedelta(days=5)}])
    )
    older = {"item_id": OTHER, "number": "G-1", "due_on": TODAY - timedelta(days=9)}
    deliver(database, HANDLERS, said(ACCOUNT, 1, [older]))
    assert pending_of(database, ACCOUNT)["leader_number"] == "G-1"
    deliver(database, HANDLERS, said(ACCOUNT, 2, [older], master_account_id=MASTER))
    assert pending_of(database, ACCOUNT) is None
    assert reason_of(database, ACCOUNT)["code"] == "GROUPED"
    assert sorted(pending_of(database, MASTER)["item_ids"]) == [ITEM, OTHER]
    assert pending_of(database, MASTER)["leader_number"] == "G-1"
    deliver(database, HANDLERS, said(ACCOUNT, 3, [], master_account_id=MASTER))
    assert pending_of(database, MASTER)["item_ids"] == [ITEM]
    deliver(database, HANDLERS, said(ACCOUNT, 4, [older]))
    assert pending_of(database, ACCOUNT)["leader_number"] == "G-1"
    assert pending_of(database, MASTER)["item_ids"] == [ITEM]


def test_an_item_that_moves_with_a_merge_leaves_the_old_account_and_its_promise_lives_on(database, said, acting):
    deliver(database, HANDLERS, said(ACCOUNT, 1, [{"item_id": ITEM}]))
    with database.transaction() as session:
        session.execute(
            text(
                "INSERT INTO promise (tenant_id, promise_id, request_hash, account_id, account_name, entity_code, state,"
                " is_placed, promised_on, tolerance_days, source, source_id, comment, created_by, created_at, version)"
                " VALUES (current_setting('quittance.tenant')::uuid, :id, '', :account, '', 'FR01', 'OPEN', true, :on, 0,"
                " 'CALL', '', '', '', now(), 1)"
            ),
            {"id": MASTER, "account": ACCOUNT, "on": TODAY + timedelta(days=10)},
        )
        session.execute(
            text(
                "INSERT INTO promise_line (tenant_id, promise_id, item_id, item_number, currency, promised_minor,"
                " baseline_minor, received_minor, is_replaced) VALUES (current_setting('quittance.tenant')::uuid, :id,"
                " :item, 'FA-1', 'EUR', NULL, 10000, 0, false)"
            ),
            {"id": MASTER, "item": ITEM},
        )
    deliver(database, HANDLERS, said(SURVIVOR, 1, [{"item_id": ITEM}]))
    deliver(database, HANDLERS, said(ACCOUNT, 2, [], merged_into_id=SURVIVOR))
    assert pending_of(database, ACCOUNT) is None
    assert pending_of(database, SURVIVOR)["item_ids"] == [ITEM]

    def state():
        with database.transaction() as session:
            return session.execute(text("SELECT state FROM promise")).scalar_one()

    assert state() == "OPEN"
    deliver(database, HANDLERS, said(SURVIVOR, 2, []))
    assert state() == "KEPT"


@pytest.mark.doubled_and_late(event="quittance.ledger.v1.EntityChanged")
def test_an_entity_s_small_amount_rules_decide_and_are_shown(database, said, acting):
    def entity(version, below, minimum=None):
        message = account_pb2.Entity(entity_id=MASTER, code="FR01", currency="EUR", version=version)
        message.ignore_item_below.CopyFrom(Money(currency="EUR", minor_units=below))
        if minimum is not None:
            message.min_account_amount.CopyFrom(Money(currency="EUR", minor_units=minimum))
        return ledger_events_pb2.EntityChanged(entity=message)

    items = [
        {"item_id": ITEM, "open_minor": 4_00, "due_on": TODAY - timedelta(days=9)},
        {"item_id": OTHER, "open_minor": 50_00, "due_on": TODAY - timedelta(days=6)},
    ]
    deliver(database, HANDLERS, said(ACCOUNT, 1, items, entity_code="FR01"))
    assert pending_of(database, ACCOUNT)["item_ids"] == [ITEM, OTHER]
    deliver(database, HANDLERS, entity(2, 5_00), times=2)
    run_jobs(database, JOBS)
    assert pending_of(database, ACCOUNT)["item_ids"] == [OTHER]
    inputs = {given["name"]: given["value"] for given in reason_of(database, ACCOUNT)["inputs"]}
    assert inputs["ignore_item_below"] == "5.00 EUR"
    deliver(database, HANDLERS, entity(3, 60_00))
    run_jobs(database, JOBS)
    assert reason_of(database, ACCOUNT)["code"] == "ITEMS_TOO_SMALL"
    deliver(database, HANDLERS, entity(4, 0, 100_00))
    run_jobs(database, JOBS)
    assert reason_of(database, ACCOUNT)["code"] == "BELOW_MINIMUM"
    deliver(database, HANDLERS, entity(2, 5_00))
    run_jobs(database, JOBS)
    assert reason_of(database, ACCOUNT)["code"] == "BELOW_MINIMUM"
