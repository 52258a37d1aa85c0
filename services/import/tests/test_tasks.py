"""Jobs that will never end well: the import says so."""

from __future__ import annotations

import pytest
from import_driver import state
from sqlalchemy import text

from importer import usecases
from importer.tasks import JOBS
from kit import jobs
from kit.errors import Code, Refused

FILE = "Account;Invoice;Amount;Currency;Issue date;Due date\n" + "\n".join(
    f"C{number};F{number};{number * 10 + 1},50;EUR;2026-03-{number + 1:02d};2026-04-{number + 13:02d}"
    for number in range(4)
)


def workers_died(service, kind):
    """The job of this kind as it is left by a worker that was killed at each of its five tries; runs it once more."""
    with service.database.system_transaction() as session:
        row = session.execute(
            text(
                "UPDATE job SET state = 'RUNNING', attempt = 5, lease_token = gen_random_uuid(),"
                " lease_until = now() - interval '1 s' WHERE kind = :kind AND state IN ('QUEUED', 'RUNNING')"
                " RETURNING tenant_id, id"
            ),
            {"kind": kind},
        ).one()
    return jobs.run(service.runtime, JOBS, str(row.tenant_id), str(row.id))


def broken(monkeypatch, name, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(usecases, name, fail)


def test_a_file_that_kills_each_of_its_workers_fails_with_a_reason(service):
    import_id = service.send(FILE)
    assert workers_died(service, "import.read") == "PARKED"
    run = service.get(import_id)
    assert (state(run), run.failure_code) == ("FAILED", "WORKER_DIED")
    assert "Split it" in run.failure


def test_applying_that_kills_each_of_its_workers_fails_with_a_reason(service, monkeypatch):
    import_id = service.send(FILE, apply=True)
    broken(monkeypatch, "apply_import", SystemExit("killed"))
    with pytest.raises(SystemExit):
        service.work()
    assert state(service.get(import_id)) == "APPLYING"
    assert workers_died(service, "import.apply") == "PARKED"
    run = service.get(import_id)
    assert (state(run), run.failure_code) == ("FAILED", "APPLY_INTERRUPTED")


def test_reading_that_fails_five_times_fails_with_a_reason(service, monkeypatch):
    broken(monkeypatch, "read_import", ZeroDivisionError())
    import_id = service.send(FILE)
    assert service.work() == ["QUEUED"] * 4 + ["PARKED"]
    run = service.get(import_id)
    assert (state(run), run.failure_code) == ("FAILED", "INTERRUPTED")
    assert "ZeroDivisionError" in run.failure


def test_a_file_that_is_gone_fails_at_once(service, monkeypatch):
    broken(monkeypatch, "read_import", Refused(Code.NOT_FOUND, "FILE_UNKNOWN", "there is no such file"))
    import_id = service.send(FILE)
    assert service.work() == ["PARKED"]
    assert state(service.get(import_id)) == "FAILED"


def test_a_job_of_an_earlier_round_that_is_given_up_changes_nothing(service):
    import_id = service.send(FILE)
    with service.acting(), service.database.transaction() as session:
        session.execute(text("UPDATE batch SET round = 2 WHERE import_id = :id"), {"id": import_id})
    assert workers_died(service, "import.read") == "PARKED"
    assert state(service.get(import_id)) == "UPLOADED"
