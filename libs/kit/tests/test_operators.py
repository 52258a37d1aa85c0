"""What operators do from the command line, and what the meters tell them."""

import json

import pytest
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from sample.__main__ import DEFINITION
from sample.store import NoteRow
from sqlalchemy import select, text

from kit import operators, process
from kit.bus import Consumer
from kit.ids import new_id
from kit.inbox import Inbox
from kit.jobs import enqueue
from kit.outbox import emit
from kit.relay import Relay
from kit.testing import envelope_for, run_jobs
from quittance.common.v1.money_pb2 import Money

MONEY = "quittance.common.v1.Money"


def keep(session, event, envelope):
    session.add(NoteRow(note_id=envelope.event_id, amount_minor=event.minor_units))


@pytest.fixture
def box(database):
    return Inbox(database, "reader", {("ledger", MONEY): keep})


@pytest.fixture
def parked(box, tenant, as_tenant):
    """An event of each of two tenants and a job of the first: (event, the other tenant's event, job, other tenant)."""
    other = new_id()
    first = envelope_for(Money(currency="EUR", minor_units=5), tenant, "ledger", 1)
    second = envelope_for(Money(currency="EUR", minor_units=7), other, "ledger", 1)
    box.park(first, ValueError("no such\nthing"), 6)
    with as_tenant(other):
        box.park(second, ValueError("neither"), 6)
    box.database.settings.job_attempts = 1
    with box.database.transaction() as session:
        job_id = enqueue(session, "sample.do", {"greeting": "Grüezi"}, "k")
    assert run_jobs(box.database, {"sample.do": lambda job: 1 / 0}) == ["PARKED"]
    return first.event_id, second.event_id, job_id, other


@pytest.fixture
def command(box, capsys):
    """command("parked list") -> (exit status, what was printed)."""

    def run(line):
        status = operators.run(box, "sample", line.split())
        return status, capsys.readouterr().out

    return run


def heard(database):
    with database.transaction() as session:
        return sorted(session.scalars(select(NoteRow.amount_minor)))


def job_state(database):
    with database.transaction() as session:
        return session.execute(text("SELECT state, error FROM job")).one()


def test_parked_things_are_listed_for_one_tenant_or_all(command, parked, tenant):
    event, foreign, job, _ = parked
    status, said = command("parked list")
    lines = said.splitlines()
    assert (status, len(lines)) == (0, 3)
    assert lines[0].startswith(f"event {event} tenant {tenant}")
    assert lines[0].endswith(f"6 tries  ledger {MONEY}  ValueError: no such thing")
    assert lines[2].startswith(f"job   {job}")
    assert foreign not in command(f"parked list --tenant {tenant}")[1]
    assert command(f"parked list --id {job}")[1].count("\n") == 1


def test_one_is_shown_with_its_content(command, parked):
    event, _, job, _ = parked
    status, said = command(f"parked show --id {event}")
    assert status == 0
    assert '"minorUnits": "5"' in said
    assert "no such\\nthing" in said
    assert "Grüezi" in command(f"parked show --id {job}")[1]
    assert command(f"parked show --id {new_id()}")[0] == 1


def test_a_dry_run_does_nothing(command, parked, box):
    assert command("parked replay --all --dry-run") == (0, "would replay 2 events and 1 jobs\n")
    assert command("parked discard --all --dry-run") == (0, "would discard 2 events and 1 jobs\n")
    assert command("parked list")[1].count("\n") == 3
    assert heard(box.database) == []


def test_replay_of_one_tenant_leaves_the_others(command, parked, box, tenant, as_tenant):
    _, foreign, _, other = parked
    status, said = command(f"parked replay --all --tenant {tenant}")
    assert (status, said) == (0, "events: 1 applied, 0 still parked; jobs: 1 queued again\n")
    assert heard(box.database) == [5]
    assert run_jobs(box.database, {"sample.do": lambda job: None}) == ["DONE"]
    assert foreign in command("parked list")[1]
    assert command(f"parked replay --id {foreign}")[0] == 0
    with as_tenant(other):
        assert heard(box.database) == [7]
    assert command("parked list") == (0, "")


def test_what_is_discarded_is_never_tried_again_and_stays_on_record(command, parked, box):
    event, _, job, _ = parked
    for one in (event, job):
        assert command(f"parked discard --id {one}") == (0, "discarded 1 events and jobs\n")
        assert command(f"parked discard --id {one}")[0] == 1
    assert command("parked replay --all")[1] == "events: 1 applied, 0 still parked; jobs: 0 queued again\n"
    assert heard(box.database) == []
    state, error = job_state(box.database)
    assert state == "DONE"
    assert error.startswith("discarded by an operator; ZeroDivisionError")
    with box.database.transaction() as session:
        row = session.execute(text("SELECT error FROM parked_event WHERE event_id = :id"), {"id": event}).one()
    assert row.error.startswith("discarded by an operator; ValueError")


@pytest.mark.parametrize(
    "line",
    ["parked replay", "parked discard --tenant x", "outbox replay", "parked show", "parked", "outbox", "parked x"],
)
def test_nothing_large_is_done_by_a_short_command(box, line, capsys):
    with pytest.raises(SystemExit) as ended:
        operators.run(box, "sample", line.split())
    assert ended.value.code == 2


@pytest.mark.parametrize("line", ["parked --help", "parked replay --help", "outbox replay --help", "--help"])
def test_help_needs_no_settings(line, capsys):
    with pytest.raises(SystemExit) as ended:
        process.main(DEFINITION, line.split())
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "parked" in said if line == "--help" else "--help" in said


def test_the_command_line_reaches_the_service(database, parked, monkeypatch, capsys):
    monkeypatch.setenv("QUITTANCE_DATABASE_URL", database.settings.database_url)
    with pytest.raises(SystemExit) as ended:
        process.main(DEFINITION, ["parked", "list"])
    assert ended.value.code == 0
    assert parked[0] in capsys.readouterr().out


def test_events_are_published_again(command, box, tenant, as_tenant):
    for who in (tenant, new_id()):
        with as_tenant(who), box.database.transaction() as session:
            for amount in range(5):
                emit(session, Money(minor_units=amount), "k")
    Relay(box.database, "sample-one").number_all()
    with box.database.system_transaction() as session:
        session.execute(text("UPDATE outbox SET published_at = now() WHERE number <= 4"))
    line = f"outbox replay --tenant {tenant} --from 2 --to 3"
    assert command(f"{line} --dry-run") == (0, "would publish 2 events again\n")
    assert command(line)[1].startswith("2 events leave again")
    with box.database.system_transaction() as session:
        waiting = session.execute(
            text("SELECT number, tenant_id::text = :tenant FROM outbox WHERE published_at IS NULL ORDER BY 2, 1"),
            {"tenant": tenant},
        ).all()
    assert [tuple(row) for row in waiting] == [(5, False), (2, True), (3, True), (5, True)]
    assert command("outbox replay --all")[1].startswith("6 events leave again")


# ---- meters ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reader():
    """What is measured in this process."""
    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader]))
    return reader


def measured(reader, name):
    data = json.loads(reader.get_metrics_data().to_json())
    return {
        tuple(sorted(point["attributes"].items())): point["value"]
        for resource in data["resource_metrics"]
        for scope in resource["scope_metrics"]
        for metric in scope["metrics"]
        if metric["name"] == name
        for point in metric["data"]["data_points"]
    }


def test_the_lag_of_a_relay_is_the_age_of_what_waits_longest(database, reader):
    relay, key = Relay(database, "sample-one"), (("service", "sample-one"),)
    assert relay.measure_lag() == 0
    assert measured(reader, "quittance.relay.lag")[key] == 0
    with database.transaction() as session:
        emit(session, Money(), "k")
        emit(session, Money(), "k")
    with database.system_transaction() as session:
        session.execute(text("UPDATE outbox SET recorded_at = now() - interval '90 s' WHERE sequence = 1"))
    relay.measure_lag()
    assert 90 <= measured(reader, "quittance.relay.lag")[key] < 150
    with database.system_transaction() as session:
        session.execute(text("UPDATE outbox SET published_at = now() WHERE sequence = 1"))
    assert relay.measure_lag() < 60


def test_the_lag_of_a_consumer_is_what_it_has_not_applied(box, tenant, reader):
    key = (("producer", "ledger"), ("service", box.database.settings.service_name))
    consumer = Consumer(box, lambda _: pytest.fail("nobody is asked"))
    for number in (1, 2):
        box.apply(envelope_for(Money(minor_units=number), tenant, "ledger", number))
    consumer._tell_lag(consumer._holes({("ledger", tenant): 5, ("ledger", new_id()): 4}))
    assert measured(reader, "quittance.consumer.lag")[key] == 7
    consumer._tell_lag(consumer._holes({("ledger", tenant): 2}))
    assert measured(reader, "quittance.consumer.lag")[key] == 0
