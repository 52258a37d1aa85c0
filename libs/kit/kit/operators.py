"""What an operator can do with a service: look at what was parked, have it tried again or give it up, publish anew.

`python -m ledger parked list | show | replay | discard` and `python -m ledger outbox replay`, each with --help. Nothing
here needs the service's other processes to be up, and nothing is lost by doing it twice.
"""

import argparse
import json
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from sqlalchemy import text

from kit import jobs, outbox
from kit.db import Database
from kit.inbox import Inbox, message_class
from quittance.common.v1 import event_log_service_pb2 as pb

COMMANDS = ("parked", "outbox")
LIST_MAX = 500
ERROR_SHOWN_CHARACTERS = 120
CONTENT_SHOWN_CHARACTERS = 8000

_PARKED = (
    "SELECT * FROM (SELECT 'event' AS what, tenant_id, event_id AS id, producer || ' ' || type AS kind, attempts,"
    " parked_at, error FROM parked_event WHERE replayed_at IS NULL"
    " UNION ALL SELECT 'job', tenant_id, id, kind, attempt, ended_at, error FROM job WHERE state = 'PARKED') p"
    " WHERE (:tenant = '' OR tenant_id = CAST(nullif(:tenant, '') AS uuid))"
    " AND (:id = '' OR id = CAST(nullif(:id, '') AS uuid))"
)


def parser(package: str) -> argparse.ArgumentParser:
    """The command line, below `python -m <package>`."""
    top = argparse.ArgumentParser(prog=f"python -m {package}")
    commands = top.add_subparsers(dest="command", required=True)
    parked = commands.add_parser("parked", help="events and jobs that were put aside after their last try")
    actions = parked.add_subparsers(dest="action", required=True)
    for name, text_ in {
        "list": f"one line for each, oldest first, at most {LIST_MAX}",
        "show": "everything known of one, with its content",
        "replay": "try again: events at once and here, jobs by the workers",
        "discard": "give up for good; the row stays, marked as discarded",
    }.items():
        action = actions.add_parser(name, help=text_, description=text_)
        _tenant(action)
        action.add_argument("--id", default="", required=name == "show", help="only the event or job with this id")
        if name in ("replay", "discard"):
            action.add_argument("--all", action="store_true", help="all of them (of the tenant); needed without --id")
            _dry_run(action)
    replay_help = "publish events again; their readers drop what they have applied"
    again = commands.add_parser("outbox", help="the events this service has said").add_subparsers(
        dest="action", required=True
    )
    replay = again.add_parser("replay", help=replay_help, description=replay_help)
    _tenant(replay)
    replay.add_argument("--from", dest="first", type=int, default=1, help="from this number on (default: 1)")
    replay.add_argument("--to", dest="last", type=int, default=0, help="up to this number (default: the last)")
    replay.add_argument("--all", action="store_true", help="of every tenant; needed without --tenant")
    _dry_run(replay)
    return top


def _tenant(command: argparse.ArgumentParser) -> None:
    command.add_argument("--tenant", default="", help="only this tenant (its id)")


def _dry_run(command: argparse.ArgumentParser) -> None:
    command.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")


def run(inbox: Inbox, package: str, arguments: list[str]) -> int:
    """Does what the command line says; returns the exit status: 0 done, 1 not all of it, 2 wrong arguments."""
    command_line = parser(package)
    asked = command_line.parse_args(arguments)
    if asked.command == "outbox":
        if not (asked.tenant or asked.all):
            command_line.error("outbox replay needs --tenant or --all")
        return _replay_outbox(inbox.database, asked)
    if asked.action == "list":
        return _list(inbox.database, asked)
    if asked.action == "show":
        return _show(inbox.database, asked)
    if not (asked.id or asked.all):
        command_line.error(f"parked {asked.action} needs --id or --all")
    found = _parked(inbox.database, asked)
    counts = {what: sum(row.what == what for row in found) for what in ("event", "job")}
    if asked.dry_run:
        print(f"would {asked.action} {counts['event']} events and {counts['job']} jobs")
        return 0
    if asked.action == "replay":
        applied, left = inbox.replay(asked.id, asked.tenant)
        again = jobs.replay_parked(inbox.database, asked.id, asked.tenant)
        print(f"events: {applied} applied, {left} still parked; jobs: {again} queued again")
        return 1 if left else 0
    discarded = _discard(inbox.database, asked)
    print(f"discarded {discarded} events and jobs")
    return 0 if discarded else 1


def _parked(database: Database, asked: Any, most: int | None = None) -> list[Any]:
    with database.system_transaction() as session:
        return list(
            session.execute(
                text(f"{_PARKED} ORDER BY parked_at, id LIMIT :most"),
                {"tenant": asked.tenant, "id": asked.id, "most": most},
            )
        )


def _list(database: Database, asked: Any) -> int:
    for row in _parked(database, asked, LIST_MAX):
        error = " ".join(row.error.split())[:ERROR_SHOWN_CHARACTERS]
        at = f"{row.parked_at:%Y-%m-%d %H:%M:%S}"
        print(f"{row.what:5} {row.id} tenant {row.tenant_id} {at} {row.attempts} tries  {row.kind}  {error}")
    return 0


def _show(database: Database, asked: Any) -> int:
    found = _parked(database, asked)
    for row in found:
        print(json.dumps({key: str(value) for key, value in row._mapping.items()}, indent=2, ensure_ascii=False))
        print(_content(database, row)[:CONTENT_SHOWN_CHARACTERS])
    if not found:
        print(f"nothing parked has the id {asked.id}")
    return 0 if found else 1


def _content(database: Database, row: Any) -> str:
    key = {"tenant": row.tenant_id, "id": row.id}
    with database.system_transaction() as session:
        if row.what == "job":
            payload = session.execute(
                text("SELECT payload FROM job WHERE tenant_id = :tenant AND id = :id"), key
            ).scalar_one()
            return json.dumps(payload, indent=2, ensure_ascii=False)
        data = session.execute(
            text("SELECT envelope FROM parked_event WHERE tenant_id = :tenant AND event_id = :id"), key
        ).scalar_one()
    envelope = pb.Envelope.FromString(bytes(data))
    try:
        event = message_class(envelope.type).FromString(envelope.payload)
    except (DecodeError, LookupError, ImportError) as error:
        return f"{len(envelope.payload)} bytes that cannot be read as {envelope.type}: {error}"
    return json_format.MessageToJson(event, ensure_ascii=False)


def _discard(database: Database, asked: Any) -> int:
    narrowed = (
        " AND (:tenant = '' OR tenant_id = CAST(nullif(:tenant, '') AS uuid))"
        " AND (:id = '' OR {id} = CAST(nullif(:id, '') AS uuid)) RETURNING 1"
    )
    marked = "error = 'discarded by an operator; ' || error"
    with database.system_transaction() as session:
        events = session.execute(
            text(
                f"UPDATE parked_event SET replayed_at = clock_timestamp(), {marked} WHERE replayed_at IS NULL"
                + narrowed.format(id="event_id")
            ),
            {"tenant": asked.tenant, "id": asked.id},
        ).all()
        given_up = session.execute(
            text(f"UPDATE job SET state = 'DONE', {marked} WHERE state = 'PARKED'" + narrowed.format(id="id")),
            {"tenant": asked.tenant, "id": asked.id},
        ).all()
    return len(events) + len(given_up)


def _replay_outbox(database: Database, asked: Any) -> int:
    chosen = (
        "published_at IS NOT NULL AND number >= :first AND (:last = 0 OR number <= :last)"
        " AND (:tenant = '' OR tenant_id = CAST(nullif(:tenant, '') AS uuid))"
    )
    values = {"first": asked.first, "last": asked.last, "tenant": asked.tenant}
    with database.system_transaction() as session:
        if asked.dry_run:
            count = session.execute(text(f"SELECT count(*) FROM outbox WHERE {chosen}"), values).scalar_one()
            print(f"would publish {count} events again")
            return 0
        rows = session.execute(text(f"UPDATE outbox SET published_at = NULL WHERE {chosen} RETURNING 1"), values).all()
        session.execute(text("SELECT pg_notify(:channel, '')"), {"channel": outbox.CHANNEL})
    print(f"{len(rows)} events leave again with the next round of the relay")
    return 0
