"""Each consistency question, broken on purpose: it must say so, in both languages, to those who ask."""

import pytest
from ledger_driver import Ledger, hold, item_row, owner, seal_all

from kit import context
from kit.errors import Code
from kit.ids import new_id
from kit.testing import caller_of, refused, run_jobs
from ledger import tasks
from ledger.__main__ import DEFINITION
from ledger.store import checks
from ledger.usecases import audit
from quittance.ledger.v1 import audit_service_pb2, audit_service_pb2_grpc
from quittance.ledger.v1 import ledger_service_pb2 as pb

ONE_ITEM = "item_id = (SELECT item_id FROM items WHERE tenant_id = %(tenant)s AND number = 'F1')"
MINE = "tenant_id = %(tenant)s"

# An allocation that neither history knows of.
ALLOCATION = (
    "INSERT INTO allocations (tenant_id, allocation_id, account_id, credit_item_id, debit_item_id, currency, amount_minor,"
    " reverses_id, value_on, actor, credit_sequence, debit_sequence, credit_left_minor, debit_left_minor)"
    " SELECT tenant_id, gen_random_uuid(), account_id, item_id, item_id, 'EUR', {minor}, {reverses}, '2024-05-01', 'x', 2, 2,"
    " {left}, {left}"
    f" FROM items WHERE {MINE} AND number = 'F1'"
)

# What a program with a mistake, or a person with a database client, could do; more than one way per question.
BROKEN: dict[str, list[str]] = {
    "allocations_are_taken_back_whole": [ALLOCATION.format(minor=-5, reverses="gen_random_uuid()", left=0)],
    "allocations_equal_their_changes": [ALLOCATION.format(minor=5, reverses="NULL", left=0)],
    "allocations_never_exceed_either_side": [ALLOCATION.format(minor=5, reverses="NULL", left=0)],
    "audit_blocks_follow_one_another": [
        f"UPDATE audit_blocks SET number = 7 WHERE {MINE} AND number = 2",
        f"UPDATE audit_blocks SET previous_hash = sha256('x') WHERE {MINE} AND number = 2",
        f"DELETE FROM audit_leaves WHERE {MINE} AND number = 1",
    ],
    "balances_equal_items": [
        f"UPDATE account_balances SET open_minor = open_minor + 1 WHERE {MINE}",
        f"DELETE FROM account_balances WHERE {MINE}",
    ],
    "cleared_items_stay_cleared": [f"UPDATE items SET settled_on = '2024-04-02' WHERE {MINE} AND number = 'PAID'"],
    "events_are_numbered_without_gaps": [
        f"UPDATE outbox SET number = number + 1 WHERE {MINE} AND number = (SELECT max(number) FROM outbox WHERE {MINE})",
        f"UPDATE outbox_counter SET last_number = 0 WHERE {MINE}",
        f"DELETE FROM outbox WHERE {MINE} AND number = 2",
    ],
    "holds_are_possible": [
        f"UPDATE items SET open_minor = -1 WHERE {MINE} AND {ONE_ITEM}",
        f"UPDATE holds SET account_id = gen_random_uuid() WHERE {MINE}",
    ],
    "holds_equal_their_history": [
        f"UPDATE holds SET amount_minor = amount_minor - 1 WHERE {MINE}",
        f"DELETE FROM hold_changes WHERE {MINE}",
    ],
    "holds_within_open": [f"UPDATE holds SET amount_minor = 10001 WHERE {MINE}"],
    "items_equal_their_changes": [
        f"UPDATE items SET open_minor = open_minor - 1 WHERE {MINE} AND {ONE_ITEM}",
        f"DELETE FROM item_changes WHERE {MINE}",
    ],
    "loads_equal_their_chunks": [
        f"UPDATE load_chunks SET created = created + 1 WHERE {MINE}",
        f"UPDATE load_chunks SET chunk_number = 3 WHERE {MINE}",
        f"UPDATE items SET first_load_id = gen_random_uuid() WHERE {MINE} AND {ONE_ITEM}",
    ],
    "names_equal_items": [f"UPDATE account_names SET item_count = item_count + 1 WHERE {MINE}"],
    "nothing_hangs_in_the_air": [
        f"UPDATE items SET account_id = gen_random_uuid() WHERE {MINE} AND {ONE_ITEM}",
        f"DELETE FROM accounts WHERE {MINE}",
    ],
    "oldest_due_dates_equal_items": [f"UPDATE accounts SET oldest_due_on = '2000-01-01' WHERE {MINE}"],
}
WAYS = [(question, number) for question, ways in BROKEN.items() for number in range(len(ways))]


@pytest.fixture
def books(shared_database, grpc_in_process, tenant):
    """A ledger with everything that questions are asked about. Not the common fixture: these books end up wrong."""
    ledger = Ledger(shared_database, grpc_in_process(DEFINITION, shared_database), tenant)
    ledger.call("CreateEntity", pb.CreateEntityRequest(code="FR01", name="Fournier SA", country="FR", currency="EUR"))
    ledger.load(item_row(), item_row(number="PAID", open_minor=0))
    hold(ledger, 3_000)
    with context.acting_as(caller_of(tenant)):
        assert seal_all(ledger)
        ledger.load(item_row(number="F2"))
        assert seal_all(ledger)
        number_events(ledger)
        with shared_database.transaction() as session:
            assert checks.wrong(session) == {}
        yield ledger


def number_events(ledger):
    """What the relay does: the events of the tenant get their numbers."""
    from kit.relay import Relay

    Relay(ledger.database, "ledger").number_all()


def test_every_question_is_broken_by_some_test():
    assert set(BROKEN) == set(checks.questions())


@pytest.mark.parametrize("question, way", WAYS)
def test_a_broken_invariant_is_reported(books, question, way):
    with owner(books) as connection:
        assert connection.execute(BROKEN[question][way], {"tenant": books.tenant}).rowcount > 0
    with books.database.transaction() as session:
        assert question in checks.wrong(session)
    answer = checks.answer(books.database, question, 10.0)
    assert answer.wrong_rows
    assert answer.examples


@pytest.mark.parametrize("question", sorted(checks.questions()))
def test_every_question_has_a_meaning_in_both_languages(question):
    english, french = checks.meaning(question, "en"), checks.meaning(question, "fr")
    assert english.endswith(".")
    assert french.endswith(".")
    assert english != french
    assert "fr:" not in english


def test_people_with_the_right_see_the_answers_in_their_language(books, grpc_in_process):
    stub = audit_service_pb2_grpc.AuditServiceStub(grpc_in_process(DEFINITION, books.database))
    request = audit_service_pb2.CheckConsistencyRequest()
    answers = {a.question: a for a in stub.CheckConsistency(request, timeout=30).answers}
    assert set(answers) == set(checks.questions())
    assert {a.state for a in answers.values()} == {audit_service_pb2.CONSISTENCY_STATE_WELL}
    with owner(books) as connection:
        connection.execute(BROKEN["holds_within_open"][0], {"tenant": books.tenant})
    with context.speaking("fr-FR"):
        answers = {a.question: a for a in stub.CheckConsistency(request, timeout=30).answers}
    broken = answers["holds_within_open"]
    assert (broken.state, broken.wrong_rows) == (audit_service_pb2.CONSISTENCY_STATE_WRONG, 1)
    assert broken.meaning == "Les blocages actifs d'une pièce ne dépassent jamais ce qui en est ouvert."
    assert "held_minor=10001" in broken.examples[0]
    without = grpc_in_process(DEFINITION, books.database, caller_of(books.tenant, "items:read"))
    with refused(Code.PERMISSION_DENIED, "PERMISSION_MISSING"):
        audit_service_pb2_grpc.AuditServiceStub(without).CheckConsistency(request, timeout=30)


def test_a_question_that_takes_too_long_is_not_answered(books, monkeypatch):
    monkeypatch.setattr(checks, "questions", lambda: {"slow": "-- Slow.\nSELECT pg_sleep(20)"})
    assert checks.answer(books.database, "slow", 0.05) == checks.Answer("slow", None, ())


def test_a_question_cannot_write(books, monkeypatch):
    writes = "WITH w AS (INSERT INTO account_names VALUES (gen_random_uuid(), gen_random_uuid(), 'x', 0) RETURNING 1) SELECT 1"
    monkeypatch.setattr(checks, "questions", lambda: {"bad": writes})
    with pytest.raises(Exception, match=r"read-only|WITH clause"):
        checks.answer(books.database, "bad", 5.0)


def test_the_job_measures_wrong_rows(books, monkeypatch):
    measured = {}
    monkeypatch.setattr(
        tasks.wrong_rows, "set", lambda rows, attributes: measured.__setitem__(attributes["question"], rows)
    )
    with owner(books) as connection:
        connection.execute(BROKEN["holds_within_open"][0], {"tenant": books.tenant})
    with books.database.transaction() as session:
        from kit.jobs import enqueue

        enqueue(session, "check", {}, new_id())
    assert run_jobs(books.database, {"check": tasks.check_consistency, "ledger.sweep_holds": tasks.sweep_holds})
    assert measured["holds_within_open"] == 1
    assert set(measured) == set(checks.questions())


def test_the_jobs_seal_and_export(books):
    from datetime import UTC, datetime, timedelta

    from kit import files
    from kit.jobs import enqueue

    with books.database.transaction() as session:
        audit.note(session, "test.act", "account", new_id(), None, {"n": 1})
        before = len(audit_blocks(session))
    with books.database.transaction() as session:
        enqueue(session, "seal", {}, new_id())
        enqueue(session, "export", {}, new_id())
    seal_all(books)
    run_jobs(books.database, {"seal": tasks.seal_facts, "export": tasks.export_roots})
    with books.database.transaction() as session:
        assert len(audit_blocks(session)) > before
    # Today is not over: nothing is exported of it.
    store = files.store(books.database.settings)
    assert not store.exists(audit.roots_key(books.tenant, datetime.now(UTC).date()))
    assert audit.export_roots(books.database, store, datetime.now(UTC).date() + timedelta(days=1))


def audit_blocks(session):
    from ledger.store import audit as store

    return store.list_blocks(session, store.Page())[0]
