"""Pulling: files of a customer's SFTP server, on a schedule, each taken once."""

from __future__ import annotations

import asyncio
import logging
import stat
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import IO, Any

from importer import store
from importer.store import SourceRow
from importer.usecases.sources import note_error, plan_for, public_address, secret_of
from importer.usecases.uploading import SPOOL_BYTES, Upload, start_import
from kit import clock, context
from kit.errors import Code, Refused
from kit.jobs import enqueue

log = logging.getLogger(__name__)

CONNECT_S = 20
# Files looked at in one folder, and taken in one go; the rest comes at the next look.
LISTED_MAX = 10_000
TAKEN_MAX = 100
READ_BYTES = 1024 * 1024
UNFINISHED = (".part", ".tmp", ".filepart", ".partial", ".temp", ".writing", "~")
# Names the import of a file, so that a job that was killed makes the same one again.
_SPACE = uuid.UUID("2c1d6a57-9f0e-4a53-8d6b-6f1f0b3f9a10")


@dataclass(frozen=True)
class Remote:
    """A file on the customer's server."""

    name: str
    size_bytes: int
    modified_s: int


def plan_pulls(job: Any) -> None:
    """The schedule that asks for a look at each server whose time has come."""
    now = clock.utc_now()
    with job.database.transaction() as session:
        job.fence(session)
        for source in store.pulled_sources(session):
            every = timedelta(minutes=source.pull["every_minutes"])
            if source.last_pull_at is None or source.last_pull_at + every <= now:
                enqueue(session, "import.pull", {"source_id": source.source_id}, f"{source.source_id}:{now:%Y%m%d%H%M}")


def pull_source(job: Any, source_id: str) -> None:
    """The job that looks at one server and takes what is new. Repeatable; one at a time per source."""
    now = clock.utc_now()
    with job.database.transaction() as session:
        source = store.source(session, source_id, lock=True)
        if source is None or not source.enabled or source.kind != "PULL_SFTP":
            return
        source.last_pull_at = now
        session.flush()
        session.expunge(source)
    try:
        with context.acting_as(replace(context.current_caller(), name=source.name)):
            asyncio.run(_pull(job, source))
    except Refused as refusal:
        if refusal.code is not Code.UNAVAILABLE or refusal.reason != "HOST_UNREACHABLE":
            _tell(job, source_id, refusal.message)
            raise
        # The next look is the next try: a server that is away at night must not fill the parked jobs.
        _tell(job, source_id, refusal.message)


def _tell(job: Any, source_id: str, words: str) -> None:
    with job.database.transaction() as session:
        note_error(session, source_id, words, clock.utc_now())


async def _pull(job: Any, source: SourceRow) -> None:
    import asyncssh

    said = source.pull
    try:
        async with asyncio.timeout(job.settings.pull_timeout_s):
            async with await _connect(job.settings, source) as connection, connection.start_sftp_client() as client:
                for remote in await _new_files(job, source, client, said["folder"] or "."):
                    job.heartbeat()
                    await _take(job, source, client, remote)
    except asyncssh.HostKeyNotVerifiable as error:
        text = f"{said['host']} has another host key than the one that was pinned"
        raise Refused(Code.FAILED_PRECONDITION, "HOST_KEY_WRONG", text) from error
    except asyncssh.PermissionDenied as error:
        text = f"{said['host']} did not let us in"
        raise Refused(Code.FAILED_PRECONDITION, "SIGN_IN_REFUSED", text) from error
    except asyncssh.SFTPNoSuchFile as error:
        text = f"{said['host']} has no such folder"
        raise Refused(Code.FAILED_PRECONDITION, "FOLDER_UNKNOWN", text) from error
    except (OSError, asyncssh.Error, TimeoutError) as error:
        log.warning("source %s was not pulled: %s", source.source_id, error)
        raise Refused(Code.UNAVAILABLE, "HOST_UNREACHABLE", f"{said['host']} could not be reached") from error


async def _connect(settings: Any, source: SourceRow) -> Any:
    import asyncssh

    said = source.pull
    # Looked up once: what was allowed is what is connected to.
    address = await asyncio.to_thread(public_address, settings, said["host"])
    secret = secret_of(settings, source)
    keys = [asyncssh.import_private_key(secret)] if source.access_kind == "key" else None
    pinned = asyncssh.import_public_key(said["host_key"])
    return await asyncssh.connect(
        address,
        said["port"],
        username=said["user_name"],
        password=secret if keys is None else None,
        client_keys=keys or (),
        # The one pinned key, no certificates, nothing of this machine's own configuration.
        known_hosts=([pinned], [], []),
        server_host_key_algs=_algorithms(pinned),
        config=(),
        agent_path=None,
        connect_timeout=CONNECT_S,
        login_timeout=CONNECT_S,
    )


def _algorithms(key: Any) -> list[str]:
    kind = key.get_algorithm()
    return ["rsa-sha2-512", "rsa-sha2-256"] if kind == "ssh-rsa" else [kind]


async def _new_files(job: Any, source: SourceRow, client: Any, folder: str) -> list[Remote]:
    """Whole files whose names fit, oldest first; those taken before only where they still have to be moved."""
    found: list[Remote] = []
    now_s = clock.utc_now().timestamp()
    seen = 0
    async for entry in client.scandir(folder):
        seen += 1
        if seen > LISTED_MAX:
            break
        name, state = str(entry.filename), entry.attrs
        is_file = stat.S_ISREG(state.permissions) if state.permissions is not None else state.type == 1
        if not is_file or "/" in name or name.startswith(".") or name.lower().endswith(UNFINISHED):
            continue
        if not state.size or plan_for(source, name) is None:
            continue
        if now_s - (state.mtime or 0) < job.settings.quiet_s:
            continue
        found.append(Remote(name, int(state.size), int(state.mtime or 0)))
    found.sort(key=lambda remote: (remote.modified_s, remote.name))
    with job.database.transaction() as session:
        if source.pull["after"] != "MOVE":
            found = [
                remote
                for remote in found
                if store.pulled(session, source.source_id, remote.name, remote.size_bytes, remote.modified_s) is None
            ]
    return found[:TAKEN_MAX]


async def _take(job: Any, source: SourceRow, client: Any, remote: Remote) -> None:
    """Fetches one file, makes its import, remembers it, moves it; killed anywhere in between, it is done again."""
    said = source.pull
    path = f"{said['folder'].rstrip('/')}/{remote.name}" if said["folder"] else remote.name
    with job.database.transaction() as session:
        known = store.pulled(session, source.source_id, remote.name, remote.size_bytes, remote.modified_s)
    if known is None:
        import_id = str(uuid.uuid5(_SPACE, f"{source.source_id}/{remote.name}/{remote.size_bytes}/{remote.modified_s}"))
        import_id = await _import(job, source, client, path, remote, import_id)
        with job.database.transaction() as session:
            job.fence(session)
            store.remember_pulled(
                session,
                source.source_id,
                remote.name,
                remote.size_bytes,
                remote.modified_s,
                import_id or None,
                clock.utc_now(),
            )
    if said["after"] == "MOVE":
        stamp = clock.utc_now().strftime("%Y%m%dT%H%M%SZ")
        target = f"{said['done_folder'].rstrip('/')}/{remote.name}"
        if await client.exists(target):
            target = f"{said['done_folder'].rstrip('/')}/{stamp}-{remote.name}"
        await client.rename(path, target)


async def _import(job: Any, source: SourceRow, client: Any, path: str, remote: Remote, import_id: str) -> str:
    """The import of one remote file; empty when it was refused for good, which the source then says."""
    with tempfile.SpooledTemporaryFile(SPOOL_BYTES) as spool:
        size = 0
        async with client.open(path, "rb") as file:
            while piece := await file.read(READ_BYTES):
                size += len(piece)
                if size > job.settings.upload_limit_bytes:
                    break
                spool.write(piece)
        spool.seek(0)
        upload = Upload(
            file_name=remote.name,
            entity_code=source.entity_code,
            size_bytes=size,
            source_id=source.source_id,
            channel="PULL_SFTP",
        )
        try:
            return await asyncio.to_thread(
                start_import,
                job.database,
                job.settings,
                lambda: job.runtime.channel("ledger"),
                upload,
                _pieces(spool),
                import_id,
            )
        except Refused as refusal:
            if refusal.is_transient:
                raise
            _tell(job, source.source_id, f"{remote.name}: {refusal.message}")
            return ""


def _pieces(spool: IO[bytes]) -> Iterator[bytes]:
    while piece := spool.read(READ_BYTES):
        yield piece
