"""Doors for files with real clients on both sides: SFTP, FTPS, pulling, parts, streams, reports."""

from __future__ import annotations

import asyncio
import ftplib
import hashlib
import io
import os
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncssh
import grpc
import pyarrow as pa
import pytest
from import_channels import (
    TIMEOUT_S,
    Desk,
    add_source,
    ftps_server,
    neighbours,
    rows,
    sftp_server,
)
from import_driver import counts, state
from sqlalchemy import text

from importer import usecases
from importer.channels.folders import Forbidden, Missing, place_of
from importer.usecases import pulling
from kit import clock
from kit.context import acting_as
from kit.errors import Refused
from kit.testing import caller_of, refused
from quittance.gateway.v1 import identity_service_pb2 as identity_pb
from quittance.importer.v1 import import_service_pb2 as import_pb
from quittance.importer.v1 import source_service_pb2 as pb
from quittance.importer.v1 import source_service_pb2_grpc as source_grpc
from quittance.importer.v1 import upload_service_pb2 as upload_pb
from quittance.importer.v1 import upload_service_pb2_grpc as upload_grpc


@pytest.fixture
def database(make_database: Callable[..., Any], tmp_path: Path) -> Any:
    from kit.crypto import generate_key

    generate_key(tmp_path / "encryption.key")
    return make_database(
        "importer",
        chunk_rows=50,
        ledger_patience_s=5,
        progress_every_s=0.01,
        upload_limit_bytes=2 * 1024 * 1024,
        upload_part_bytes=64 * 1024,
        job_backoff_s=0,
        channels_folder=str(tmp_path / "channels"),
        encryption_key_path=str(tmp_path / "encryption.key"),
        quiet_s=0.0,
        sftp_port=0,
        ftps_port=0,
        ftps_enabled=True,
        pull_private_hosts=True,
        public_url="https://app.example",
    )


@pytest.fixture
def office(service: Any, grpc_in_process: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The service, its neighbours, its folders, and stubs for sources and uploads."""
    from importer.__main__ import SERVICE

    with neighbours(monkeypatch) as others:
        channel = grpc_in_process(SERVICE, service.database)
        yield SimpleNamespace(
            service=service,
            others=others,
            desk=Desk(service.runtime),
            sources=source_grpc.SourceServiceStub(channel),
            uploads=upload_grpc.UploadServiceStub(channel),
            imports=service.stub,
        )


def until(is_so: Callable[[], bool], patience_s: float = 10) -> None:
    """Waits for what another thread is about to do."""
    end = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def all_imports(office: Any) -> list[Any]:
    """Imports, oldest first."""
    reply = office.imports.ListImports(import_pb.ListImportsRequest(order_by="created_at"), timeout=TIMEOUT_S)
    return list(reply.imports)


def settle(office: Any) -> None:
    """Looks, works, looks again: what a few seconds would do."""
    office.desk.look()
    office.service.work(rounds=20)
    office.desk.look()


def folder_of(office: Any, source: Any) -> Path:
    return Path(office.desk.inbox.root) / office.service.tenant / source.source_id


def sftp(port: int, source: Any, work: Callable[[Any], Any], known: str = "", **secrets: Any) -> Any:
    """Signs in with asyncssh's own client and does the work."""

    async def go() -> Any:
        options: dict[str, Any] = {"client_keys": (), "config": (), "agent_path": None, **secrets}
        hosts = ([asyncssh.import_public_key(known)], [], []) if known else None
        async with asyncssh.connect(
            "127.0.0.1", port, username=source.user_name, known_hosts=hosts, **options
        ) as connection:
            async with connection.start_sftp_client() as client:
                return await work(client)

    return asyncio.run(go())


async def put(client: Any, name: str, content: str | bytes) -> None:
    async with client.open(name, "wb") as file:
        await file.write(content.encode() if isinstance(content, str) else content)


def test_a_file_dropped_by_sftp_is_imported_and_answered(office):
    answer = add_source(office.sources, "ERP", "SFTP", recipients=["books@brindle.example"], language="fr")
    office.others.users = [
        identity_pb.User(email="up@brindle.example", active=True, can_upload=True, language="en"),
        identity_pb.User(email="other@brindle.example", active=True, can_upload=True, entity_codes=["DE01"]),
        identity_pb.User(email="gone@brindle.example", active=False, can_upload=True),
        identity_pb.User(email="reader@brindle.example", active=True),
    ]
    with sftp_server(office.desk) as port:
        told = office.sources.GetChannels(pb.GetChannelsRequest(), timeout=TIMEOUT_S)
        assert told.sftp_fingerprint.startswith("SHA256:")

        async def drop(client: Any) -> list[str]:
            names = sorted(await client.listdir("."))
            await put(client, "in/items.csv.part", rows(10) + "C1;A;R77;31/02/2026;;EUR;1,00;\n")
            assert office.desk.look() == 0
            await client.rename("in/items.csv.part", "in/items.csv")
            return names

        names = sftp(port, answer.source, drop, known=told.sftp_host_key, password=answer.password)
        assert names == ["done", "error", "in", "reports"]
        settle(office)
        [run] = all_imports(office)
        assert (state(run), run.channel, run.source_id) == ("APPLIED", "SFTP", answer.source.source_id)
        assert counts(run) == (10, 0, 0, 0, 1)
        assert run.created_by == "ERP"

        async def look(client: Any) -> dict[str, str]:
            found = {}
            for folder in ("in", "done", "error", "reports"):
                for name in await client.listdir(folder):
                    async with client.open(f"{folder}/{name}", "rb") as file:
                        found[f"{folder}/{name}"] = (await file.read()).decode("utf-8-sig")
            return found

        seen = sftp(port, answer.source, look, password=answer.password)
    done = [name for name in seen if name.startswith("done/")]
    assert sorted(name.partition("items.csv")[2] for name in done) == ["", ".report.txt"]
    report = seen[next(name for name in done if name.endswith(".report.txt"))]
    assert "Nouvelles: 10" in report
    assert "Rejetées: 1" in report
    assert f"https://app.example/imports/{run.import_id}" in report
    assert any(name.endswith(".rejects.csv") and "31/02/2026" in text_ for name, text_ in seen.items())
    assert any('"created": 10' in text_ for name, text_ in seen.items() if name.endswith(".report.json"))
    assert not [name for name in seen if name.startswith(("in/", "error/"))]
    mails = {mail.email: mail for mail in office.others.mails.values()}
    assert set(mails) == {"books@brindle.example", "up@brindle.example"}
    assert mails["books@brindle.example"].subject == "ERP: items.csv a été importé (rejetées: 1)"
    assert mails["up@brindle.example"].subject == "ERP: items.csv was imported (rejected: 1)"
    source = office.sources.GetSource(pb.GetSourceRequest(source_id=answer.source.source_id)).source
    assert (source.last_file_name, source.last_import_id, source.last_error) == ("items.csv", run.import_id, "")
    assert source.HasField("last_success_at")


def test_a_key_opens_its_own_folder_and_nothing_else_does(office):
    key = asyncssh.generate_private_key("ssh-ed25519")
    public = key.export_public_key().decode()
    mine = add_source(office.sources, "mine", "SFTP", {"public_key": public})
    theirs = add_source(office.sources, "theirs", "SFTP")
    assert (mine.password, mine.source.access) == ("", "key")
    assert mine.source.key_fingerprint == key.get_fingerprint()
    with sftp_server(office.desk) as port:

        async def nothing(client: Any) -> str:
            return str(await client.realpath("."))

        assert sftp(port, mine.source, nothing, client_keys=[key]) == "/"
        for secrets in (
            {"password": "guess"},
            {"client_keys": [asyncssh.generate_private_key("ssh-ed25519")]},
            {"password": theirs.password},
        ):
            with pytest.raises(asyncssh.PermissionDenied):
                sftp(port, mine.source, nothing, **secrets)
        with pytest.raises(asyncssh.PermissionDenied):
            sftp(port, SimpleNamespace(user_name="root"), nothing, password="x")

        # Another password: the old one ends at once. Switched off: nobody comes in.
        new = office.sources.ReplaceAccess(pb.ReplaceAccessRequest(source_id=theirs.source.source_id))
        with pytest.raises(asyncssh.PermissionDenied):
            sftp(port, theirs.source, nothing, password=theirs.password)
        assert sftp(port, theirs.source, nothing, password=new.password) == "/"
        draft = new.source.draft
        draft.enabled = False
        office.sources.UpdateSource(pb.UpdateSourceRequest(source_id=theirs.source.source_id, source=draft))
        with pytest.raises(asyncssh.PermissionDenied):
            sftp(port, theirs.source, nothing, password=new.password)


def test_who_guesses_is_sent_away(office):
    office.service.database.settings.sign_in_tries = 3
    answer = add_source(office.sources, "ERP", "SFTP")
    with sftp_server(office.desk) as port:

        async def nothing(client: Any) -> None:
            return None

        for _ in range(3):
            with pytest.raises(asyncssh.PermissionDenied):
                sftp(port, answer.source, nothing, password="guess")
        with pytest.raises(asyncssh.Error):
            sftp(port, answer.source, nothing, password=answer.password)


BAD_PLACES = ["etc/passwd", ".work/x", "in/a/b", "other", "in/..\\x", "/.lock", "in/\x00", "in/" + "n" * 4096]


@pytest.mark.parametrize("path", BAD_PLACES)
def test_a_path_outside_the_four_folders_is_nowhere(path):
    with pytest.raises((Forbidden, Missing)):
        place = place_of(path.encode())
        assert place.folder == ""


def test_a_path_never_leaves_the_root():
    assert place_of(b"../../../in/x.csv") == place_of(b"/in/x.csv")
    assert place_of(b"in/%2e%2e") == place_of(b"/in/./%2e%2e")
    assert place_of(b"in/../..").folder == ""
    with pytest.raises(Forbidden):
        place_of(b"in/\xff\xfe")


def test_only_uploads_renames_and_lists_in_the_own_tree(office):
    answer = add_source(office.sources, "ERP", "SFTP")
    with sftp_server(office.desk) as port:

        async def misuse(client: Any) -> None:
            await put(client, "in/a.csv.tmp", "x")
            refusals: list[Any] = [
                client.mkdir("in/new"),
                client.symlink("/etc/passwd", "in/link.csv"),
                client.rename("in/a.csv.tmp", "done/a.csv"),
                client.open("done/a.csv", "wb"),
                client.open("../../../../etc/passwd", "rb"),
                client.open("in/no.csv", "rb"),
                client.listdir(".work"),
                client.rmdir("in"),
                client.remove("done/none"),
                client.statvfs("."),
            ]
            for refusal in refusals:
                with pytest.raises((asyncssh.SFTPError, OSError)):
                    await refusal
            limit = office.service.database.settings.upload_limit_bytes
            async with client.open("in/big.csv.tmp", "wb") as file:
                with pytest.raises(asyncssh.SFTPFailure):
                    await file.write(b"x", limit)
            with pytest.raises(asyncssh.SFTPFailure):
                await client.open("in/" + "n" * 300, "wb")

        async def names(client: Any) -> None:
            for name in ("ümläut €.csv.tmp", "%2e%2e.tmp", " blank .tmp"):
                await put(client, f"in/{name}", "x")
            assert {"ümläut €.csv.tmp", "%2e%2e.tmp", " blank .tmp"} <= set(await client.listdir("in"))
            await client.remove("in/%2e%2e.tmp")

        with pytest.raises(asyncssh.SFTPError):
            sftp(port, answer.source, lambda client: client.open("in/" + "n" * 300, "wb"), password=answer.password)
        try:
            sftp(port, answer.source, misuse, password=answer.password)
        except asyncssh.SFTPPermissionDenied as error:
            assert "name" in str(error)
        sftp(port, answer.source, names, password=answer.password)
        # A shell, a command, a tunnel: none of them.

        async def shell() -> None:
            async with asyncssh.connect(
                "127.0.0.1", port, username=answer.source.user_name, password=answer.password, known_hosts=None,
                client_keys=(), config=(), agent_path=None,
            ) as connection:  # fmt: skip
                with pytest.raises(asyncssh.Error):
                    await connection.run("id", check=True)
                with pytest.raises(asyncssh.Error):
                    await connection.open_connection("127.0.0.1", 22)

        asyncio.run(shell())
    inside = {
        str(path.relative_to(folder_of(office, answer.source))) for path in folder_of(office, answer.source).rglob("*")
    }
    assert not [name for name in inside if name.startswith("done/")]
    assert not any(path.is_symlink() for path in folder_of(office, answer.source).rglob("*"))


def test_a_file_that_is_being_written_is_left_alone(office):
    answer = add_source(office.sources, "ERP", "SFTP")
    with sftp_server(office.desk) as port:

        async def slowly(client: Any) -> None:
            async with client.open("in/items.csv", "wb") as file:
                await file.write(rows(5).encode()[:40])
                assert office.desk.look() == 0
                await file.write(rows(5).encode()[40:], 40)

        sftp(port, answer.source, slowly, password=answer.password)
        # Closed under its last name, which a broken connection does too: only rest makes it whole.
        office.service.database.settings.quiet_s = 3600
        assert office.desk.look() == 0
        office.service.database.settings.quiet_s = 0
        settle(office)
    [run] = all_imports(office)
    assert counts(run) == (5, 0, 0, 0, 0)


def test_the_same_file_again_is_no_second_import_and_a_bad_one_goes_to_error(office):
    answer = add_source(
        office.sources, "ERP", "SFTP", patterns=[pb.FilePattern(pattern="items*.csv"), pb.FilePattern(pattern="*.txt")]
    )
    office.desk.doors.tree(office.desk.doors.source(answer.source.user_name, "SFTP"))
    inside = folder_of(office, answer.source)
    for _ in range(2):
        (inside / "in" / "items_1.csv").write_text(rows(3))
        settle(office)
    assert [state(run) for run in all_imports(office)] == ["APPLIED"]
    reports = sorted((inside / "done").glob("*.report.txt"))
    assert "imported before" in reports[-1].read_text() + reports[0].read_text()
    # Something came in between under that name: the old content is news again.
    for content in (rows(4), rows(3)):
        (inside / "in" / "items_1.csv").write_text(content)
        settle(office)
    assert len(all_imports(office)) == 3

    (inside / "in" / "unasked.csv").write_text(rows(3))
    (inside / "in" / "broken.txt").write_bytes(b"\x00\x01\x02\x03" * 100)
    (inside / "in" / "empty.txt").write_bytes(b"")
    settle(office)
    errors = {path.name[24:]: path.read_text() for path in (inside / "error").glob("*.report.txt")}
    assert set(errors) == {"unasked.csv.report.txt", "broken.txt.report.txt", "empty.txt.report.txt"}
    assert "fits none of the source's patterns" in errors["unasked.csv.report.txt"]
    source = office.sources.GetSource(pb.GetSourceRequest(source_id=answer.source.source_id)).source
    assert source.last_error
    failed = [mail for mail in office.others.mails.values() if "was not imported" in mail.subject]
    assert failed == []


def test_what_was_long_enough_in_done_is_removed(office):
    answer = add_source(office.sources, "ERP", "SFTP")
    office.desk.doors.tree(office.desk.doors.source(answer.source.user_name, "SFTP"))
    inside = folder_of(office, answer.source)
    (inside / "in" / "items.csv").write_text(rows(3))
    settle(office)
    (inside / "in" / "waiting.csv.part").write_text(rows(3))
    now_s = time.time()
    assert office.desk.inbox.forget(now_s + 29 * 86_400) == 0
    assert office.desk.inbox.forget(now_s + 31 * 86_400) == 3
    assert [path.name for path in inside.rglob("*.*") if path.is_file() and path.name != ".lock"] == [
        "waiting.csv.part"
    ]


def test_a_link_in_the_folder_is_not_followed(office):
    answer = add_source(office.sources, "ERP", "SFTP")
    office.desk.doors.tree(office.desk.doors.source(answer.source.user_name, "SFTP"))
    inside = folder_of(office, answer.source)
    (inside / "in" / "link.csv").symlink_to("/etc/passwd")
    settle(office)
    assert all_imports(office) == []
    with sftp_server(office.desk) as port:

        async def read(client: Any) -> None:
            with pytest.raises(asyncssh.SFTPError):
                async with client.open("in/link.csv", "rb") as file:
                    await file.read()

        sftp(port, answer.source, read, password=answer.password)


def test_killed_after_taking_a_file_it_is_imported_once(office, monkeypatch):
    answer = add_source(office.sources, "ERP", "SFTP")
    office.desk.doors.tree(office.desk.doors.source(answer.source.user_name, "SFTP"))
    inside = folder_of(office, answer.source)
    (inside / "in" / "items.csv").write_text(rows(3))

    class Killed(BaseException):
        pass

    real = usecases.start_import

    def before(*_: Any) -> None:
        raise Killed

    def after(*arguments: Any) -> None:
        real(*arguments)
        raise Killed

    for kill in (before, after):
        monkeypatch.setattr(usecases, "start_import", kill)
        with pytest.raises(Killed):
            office.desk.look()
    monkeypatch.setattr(usecases, "start_import", real)
    settle(office)
    [run] = all_imports(office)
    assert state(run) == "APPLIED"
    assert len(list((inside / "done").glob("*items.csv"))) == 1
    assert list((inside / ".work").iterdir()) == []


def test_files_of_one_entity_over_several_channels_are_applied_in_their_order(office):
    first = add_source(office.sources, "by SFTP", "SFTP")
    second = add_source(office.sources, "by FTPS", "FTPS")
    trees = [
        office.desk.doors.tree(office.desk.doors.source(answer.source.user_name, kind))
        for answer, kind in ((first, "SFTP"), (second, "FTPS"))
    ]
    (trees[0].root / "in" / "a.csv").write_text(rows(120))
    os.utime(trees[0].root / "in" / "a.csv", (1, 1))
    (trees[0].root / "in" / "b.csv").write_text(rows(60).replace("0,50", "0,60"))
    (trees[1].root / "in" / "c.csv").write_text(rows(120).replace("0,50", "0,70"))
    office.desk.look()
    # The newest is read and would be applied first: it waits for the older ones.
    database, tenant = office.service.database, office.service.tenant
    with acting_as(caller_of(tenant)), database.transaction() as session:
        session.execute(text("UPDATE job SET made_at = made_at - make_interval(mins => 5) WHERE dedup_key LIKE :last"),
            {"last": f"{all_imports(office)[-1].import_id}%"})  # fmt: skip
    for _ in range(40):
        office.service.work(rounds=3)
        runs = all_imports(office)
        if all(state(run) == "APPLIED" for run in runs):
            break
        with acting_as(caller_of(tenant)), database.transaction() as session:
            session.execute(text("UPDATE job SET run_after = now() WHERE state = 'QUEUED'"))
    assert [state(run) for run in all_imports(office)] == ["APPLIED"] * 3
    by_name = {run.file_name: run.import_id for run in all_imports(office)}
    order = list(dict.fromkeys(load for load, _ in office.service.ledger.commits))
    assert order == [run.import_id for run in all_imports(office)]
    assert set(order) == set(by_name.values())


def test_ftps_takes_files_like_sftp_and_nothing_without_tls(office):
    answer = add_source(office.sources, "old ERP", "FTPS")
    with ftps_server(office.desk) as port:
        plain = ftplib.FTP()
        plain.connect("127.0.0.1", port, timeout=10)
        with pytest.raises(ftplib.error_perm):
            plain.login(answer.source.user_name, answer.password)
        plain.close()

        context = ssl.create_default_context()
        told = office.sources.GetChannels(pb.GetChannelsRequest(), timeout=TIMEOUT_S)
        certificate = Path(office.desk.inbox.root) / "ftps_certificate.pem"
        context.load_verify_locations(certificate)
        client = ftplib.FTP_TLS(context=context)
        client.connect("127.0.0.1", port, timeout=10)
        client.login(answer.source.user_name, answer.password)
        der = client.sock.getpeercert(binary_form=True)
        assert told.ftps_fingerprint.replace(":", "").lower() == hashlib.sha256(der).hexdigest()
        client.prot_p()
        assert sorted(client.nlst()) == ["done", "error", "in", "reports"]
        client.cwd("in")
        client.storbinary("STOR items.csv.part", io.BytesIO(rows(6).encode()))
        assert office.desk.look() == 0
        client.rename("items.csv.part", "items.csv")
        for command in (
            lambda: client.mkd("new"),
            lambda: client.storbinary("STOR ../done/x.csv", io.BytesIO(b"x")),
            lambda: client.retrbinary("RETR ../../../etc/passwd", lambda data: None),
            lambda: client.cwd("/.work"),
        ):
            with pytest.raises(ftplib.Error):
                command()
        client.quit()
    settle(office)
    [run] = all_imports(office)
    assert (state(run), run.channel) == ("APPLIED", "FTPS")


@pytest.fixture
def customer(tmp_path: Path) -> Iterator[Any]:
    """A customer's own SFTP server with a folder of files."""
    import threading

    home = tmp_path / "customer"
    (home / "out").mkdir(parents=True)
    (home / "taken").mkdir()
    host_key, client_key = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")
    loop = asyncio.new_event_loop()

    class Server(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return True

        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            return (username, password) == ("quittance", "let me in")

        def public_key_auth_supported(self) -> bool:
            return True

        def validate_public_key(self, username: str, key: Any) -> bool:
            return key.public_data == client_key.convert_to_public().public_data

    async def start() -> Any:
        return await asyncssh.create_server(
            Server, "127.0.0.1", 0, server_host_keys=[host_key],
            sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=str(home)),
        )  # fmt: skip

    acceptor = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield SimpleNamespace(
        home=home,
        port=acceptor.get_port(),
        host_key=" ".join(host_key.export_public_key().decode().split()[:2]),
        client_key=client_key,
    )
    loop.call_soon_threadsafe(acceptor.close)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


def pull_from(customer: Any, **said: Any) -> pb.PullSettings:
    return pb.PullSettings(
        **{
            "host": "127.0.0.1", "port": customer.port, "user_name": "quittance", "host_key": customer.host_key,
            "folder": "/out", **said,
        }
    )  # fmt: skip


def pull(office: Any, source: Any) -> list[str]:
    office.sources.PullNow(pb.PullNowRequest(source_id=source.source_id), timeout=TIMEOUT_S)
    return office.service.work(rounds=20)


def test_files_are_pulled_once_and_left_or_moved(office, customer):
    found = office.sources.LookUpHostKey(pb.LookUpHostKeyRequest(host="127.0.0.1", port=customer.port))
    assert found.host_key == customer.host_key
    leaving = add_source(
        office.sources, "leaving", "PULL_SFTP", {"password": "let me in"}, pull=pull_from(customer),
        patterns=[pb.FilePattern(pattern="*.csv")],
    ).source  # fmt: skip
    (customer.home / "out" / "a.csv").write_text(rows(3))
    (customer.home / "out" / "b.csv.part").write_text(rows(3))
    (customer.home / "out" / "notes.txt").write_text("not ours")
    pull(office, leaving)
    pull(office, leaving)
    [run] = all_imports(office)
    assert (state(run), run.channel, run.file_name) == ("APPLIED", "PULL_SFTP", "a.csv")
    # A file that was written anew is a new file.
    (customer.home / "out" / "a.csv").write_text(rows(4))
    os.utime(customer.home / "out" / "a.csv", (1_700_000_000, 1_700_000_000))
    pull(office, leaving)
    assert len(all_imports(office)) == 2
    assert (customer.home / "out" / "a.csv").exists()

    private = customer.client_key.export_private_key().decode()
    moving = add_source(
        office.sources, "moving", "PULL_SFTP", {"private_key": private},
        pull=pull_from(customer, after=pb.AFTER_PULL_MOVE, done_folder="/taken"),
        patterns=[pb.FilePattern(pattern="*.csv")],
    ).source  # fmt: skip
    pull(office, moving)
    assert len(all_imports(office)) == 3
    assert [path.name for path in (customer.home / "taken").iterdir()] == ["a.csv"]
    assert not (customer.home / "out" / "a.csv").exists()
    source = office.sources.GetSource(pb.GetSourceRequest(source_id=moving.source_id)).source
    assert source.access == "key"
    assert source.HasField("last_pull_at")


def test_a_server_with_another_key_or_a_wrong_password_is_not_talked_to(office, customer):
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    (customer.home / "out" / "a.csv").write_text(rows(3))
    pinned = add_source(
        office.sources, "pinned", "PULL_SFTP", {"password": "let me in"}, pull=pull_from(customer, host_key=other)
    ).source
    assert "PARKED" in pull(office, pinned)
    source = office.sources.GetSource(pb.GetSourceRequest(source_id=pinned.source_id)).source
    assert "another host key" in source.last_error
    wrong = add_source(office.sources, "wrong", "PULL_SFTP", {"password": "no"}, pull=pull_from(customer)).source
    pull(office, wrong)
    source = office.sources.GetSource(pb.GetSourceRequest(source_id=wrong.source_id)).source
    assert "did not let us in" in source.last_error
    away = add_source(office.sources, "away", "PULL_SFTP", {"password": "x"}, pull=pull_from(customer, port=1)).source
    assert pull(office, away) == ["DONE"]
    assert all_imports(office) == []


def test_a_pull_killed_before_it_remembered_makes_one_import(office, customer, monkeypatch):
    source = add_source(
        office.sources, "killed", "PULL_SFTP", {"password": "let me in"}, pull=pull_from(customer)
    ).source
    (customer.home / "out" / "a.csv").write_text(rows(3))

    class Killed(BaseException):
        pass

    def killed(*_: Any) -> None:
        raise Killed

    real = pulling.store.remember_pulled
    monkeypatch.setattr(pulling.store, "remember_pulled", killed)
    office.sources.PullNow(pb.PullNowRequest(source_id=source.source_id))
    with pytest.raises(Killed):
        office.service.work(rounds=1)
    monkeypatch.setattr(pulling.store, "remember_pulled", real)
    pull(office, source)
    assert [state(run) for run in all_imports(office)] == ["APPLIED"]


def test_the_schedule_asks_each_server_when_its_time_has_come(office, customer):
    source = add_source(
        office.sources, "often", "PULL_SFTP", {"password": "let me in"}, pull=pull_from(customer, every_minutes=5)
    ).source
    database, tenant = office.service.database, office.service.tenant

    def asked() -> int:
        job = SimpleNamespace(database=database, settings=database.settings, fence=lambda session: None)
        with acting_as(caller_of(tenant)):
            pulling.plan_pulls(job)
            with database.transaction() as session:
                return session.execute(text("SELECT count(*) FROM job WHERE kind = 'import.pull'")).scalar_one()

    assert asked() == 1
    office.service.work(rounds=3)
    assert asked() == 1
    with acting_as(caller_of(tenant)), database.transaction() as session:
        session.execute(text("UPDATE source SET last_pull_at = now() - interval '6 minutes'"))
        session.execute(text("UPDATE job SET dedup_key = dedup_key || '-earlier'"))
    assert asked() == 2
    assert source.source_id
    assert clock.utc_now()


# ---- uploads in parts ------------------------------------------------------------------------------------------------


def kept_bytes(office: Any, upload_id: str) -> int:
    return int(office.uploads.GetUpload(upload_pb.GetUploadRequest(upload_id=upload_id)).upload.offset)


def append(office: Any, upload_id: str, offset: int, data: bytes, break_after: int = 0) -> Any:
    def messages() -> Iterator[Any]:
        yield upload_pb.AppendUploadRequest(header=upload_pb.AppendHeader(upload_id=upload_id, offset=offset))
        for start in range(0, len(data), 16 * 1024):
            if break_after and start >= break_after:
                # gRPC drops what it has not sent yet when a call is given up: wait until some of it has arrived.
                until(lambda: kept_bytes(office, upload_id) >= 64 * 1024)
                raise ConnectionError("the train went into a tunnel")
            yield upload_pb.AppendUploadRequest(data=data[start : start + 16 * 1024])

    return office.uploads.AppendUpload(messages(), timeout=TIMEOUT_S)


def go_on(office: Any, upload_id: str, content: bytes) -> Any:
    """Sends the rest as a client does: the broken call may still be keeping what it had, so it asks again."""
    for _ in range(50):
        kept = kept_bytes(office, upload_id)
        try:
            return append(office, upload_id, kept, content[kept:])
        except Refused as refusal:
            if refusal.reason != "OFFSET_WRONG":
                raise
    raise AssertionError("the offset never came to rest")


def test_an_upload_goes_on_where_it_broke(office):
    content = rows(6_000).encode()
    wanted = hashlib.sha256(content).hexdigest()
    request = upload_pb.CreateUploadRequest(
        file_name="items.csv", size_bytes=len(content), sha256=wanted, entity_code="FR01", apply=True
    )
    upload_id = office.uploads.CreateUpload(request).upload.upload_id
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "UPLOAD_INCOMPLETE"):
        office.uploads.StartUpload(upload_pb.StartUploadRequest(upload_id=upload_id))
    with pytest.raises((Refused, grpc.RpcError)):
        append(office, upload_id, 0, content, break_after=200_000)
    request_ = upload_pb.GetUploadRequest(upload_id=upload_id)
    until(lambda: office.uploads.GetUpload(request_).upload.offset >= 64 * 1024)
    kept = office.uploads.GetUpload(request_).upload.offset
    assert 0 < kept < len(content)
    with refused(grpc.StatusCode.ABORTED, "OFFSET_WRONG"):
        append(office, upload_id, kept + 1, content[kept:])
    with refused(grpc.StatusCode.OUT_OF_RANGE, "UPLOAD_TOO_LONG"):
        go_on(office, upload_id, content + b"more")
    assert go_on(office, upload_id, content).upload.offset == len(content)
    started = office.uploads.StartUpload(upload_pb.StartUploadRequest(upload_id=upload_id))
    assert office.uploads.StartUpload(upload_pb.StartUploadRequest(upload_id=upload_id)).import_id == upload_id
    office.service.work(rounds=20)
    run = office.service.get(started.import_id)
    assert (state(run), run.sha256, run.size_bytes) == ("APPLIED", wanted, len(content))
    assert counts(run) == (6_000, 0, 0, 0, 0)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "UPLOAD_STARTED"):
        append(office, upload_id, len(content), b"x")


def test_a_damaged_upload_is_not_read_and_an_abandoned_one_is_swept(office):
    content = rows(10).encode()
    request = upload_pb.CreateUploadRequest(
        file_name="items.csv", size_bytes=len(content), sha256="0" * 64, entity_code="FR01"
    )
    upload_id = office.uploads.CreateUpload(request).upload.upload_id
    append(office, upload_id, 0, content)
    office.uploads.StartUpload(upload_pb.StartUploadRequest(upload_id=upload_id))
    office.service.work(rounds=5)
    assert office.service.get(upload_id).failure_code == "FILE_DAMAGED"

    left = office.uploads.CreateUpload(request).upload.upload_id
    append(office, left, 0, content[:50])
    database, tenant = office.service.database, office.service.tenant
    job = SimpleNamespace(database=database, settings=database.settings, fence=lambda session: None)
    with acting_as(caller_of(tenant)):
        usecases.sweep_uploads(job)
        office.uploads.GetUpload(upload_pb.GetUploadRequest(upload_id=left))
        database.settings.upload_patience_s = 0.001
        usecases.sweep_uploads(job)
    with refused(grpc.StatusCode.NOT_FOUND, "UPLOAD_UNKNOWN"):
        office.uploads.GetUpload(upload_pb.GetUploadRequest(upload_id=left))


def test_an_upload_is_its_owners(office, grpc_in_process):
    from importer.__main__ import SERVICE

    request = upload_pb.CreateUploadRequest(file_name="items.csv", size_bytes=10, entity_code="FR01")
    upload_id = office.uploads.CreateUpload(request).upload.upload_id
    from dataclasses import replace

    other = replace(caller_of(office.service.tenant), subject="user:other@brindle.example")
    stub = upload_grpc.UploadServiceStub(grpc_in_process(SERVICE, office.service.database, other))
    with refused(grpc.StatusCode.NOT_FOUND, "UPLOAD_UNKNOWN"):
        stub.GetUpload(upload_pb.GetUploadRequest(upload_id=upload_id))
    office.uploads.DeleteUpload(upload_pb.DeleteUploadRequest(upload_id=upload_id))
    with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "FILE_TOO_LARGE"):
        request.size_bytes = 3 * 1024 * 1024
        office.uploads.CreateUpload(request)


# ---- rows without a file ---------------------------------------------------------------------------------------------


def arrow_batch(sequence: int, start: int, count: int) -> upload_pb.StreamBatch:
    import datetime
    from decimal import Decimal

    numbers = range(start, start + count)
    table = pa.table(
        {
            "accountNumber": [f"C{number % 4}" for number in numbers],
            "itemNumber": [f"R{number}" for number in numbers],
            "issueOn": pa.array([datetime.date(2026, 3, 4)] * count, pa.date32()),
            "dueOn": pa.array([datetime.date(2026, 4, 5)] * count, pa.date32()),
            "currency": ["EUR"] * count,
            "openAmount": pa.array([Decimal(f"{number}.50") for number in numbers], pa.decimal128(12, 2)),
        }
    )
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return upload_pb.StreamBatch(sequence=sequence, arrow=sink.getvalue())


def stream(office: Any, batch_id: str, batches: list[Any], finish: int | None = None, **header: Any) -> Any:
    def messages() -> Iterator[Any]:
        said = {"entity_code": "FR01", "object": import_pb.IMPORT_OBJECT_ITEMS, "apply": True, **header}
        yield upload_pb.StreamRowsRequest(header=upload_pb.StreamHeader(batch_id=batch_id, **said))
        for batch in batches:
            if batch is None:
                until(lambda: kept_sequences(office, batch_id) == 2)
                raise ConnectionError("the partner's server went away")
            yield upload_pb.StreamRowsRequest(batch=batch)
        if finish is not None:
            yield upload_pb.StreamRowsRequest(finish=upload_pb.StreamFinish(row_count=finish))

    return office.uploads.StreamRows(messages(), timeout=TIMEOUT_S)


def kept_sequences(office: Any, batch_id: str) -> int:
    try:
        return int(office.uploads.GetStream(upload_pb.GetStreamRequest(batch_id=batch_id)).last_sequence)
    except Refused as refusal:
        assert refusal.reason == "STREAM_UNKNOWN"
        return 0


def test_a_stream_broken_in_the_middle_and_resumed_ends_like_a_whole_one(office):
    parts = [arrow_batch(number, 1 + (number - 1) * 100, 100) for number in range(1, 6)]
    whole = stream(office, "whole", parts, finish=500)
    office.service.work(rounds=20)
    run = office.service.get(whole.import_id)
    assert (state(run), run.channel, counts(run)) == ("APPLIED", "STREAM", (500, 0, 0, 0, 0))
    kept = dict(office.service.ledger.items)
    assert kept["C1", "R1"]["open_minor"] == 150
    assert kept["C1", "R1"]["issue_on"].isoformat() == "2026-03-04"
    office.service.ledger.items.clear()

    with pytest.raises((Refused, grpc.RpcError)):
        stream(office, "broken", [*parts[:2], None])
    request = upload_pb.GetStreamRequest(batch_id="broken")
    until(lambda: kept_sequences(office, "broken") == 2)
    last = office.uploads.GetStream(request).last_sequence
    with refused(grpc.StatusCode.ABORTED, "SEQUENCE_GAP"):
        stream(office, "broken", [parts[4]])
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "ROWS_MISSING"):
        stream(office, "broken", [], finish=500)
    with refused(grpc.StatusCode.ALREADY_EXISTS, "BATCH_ID_REUSED"):
        stream(office, "broken", parts, mode="stock")
    # Resumed from what is kept, repeating one for good measure.
    resumed = stream(office, "broken", parts[last - 1 :], finish=500)
    assert (resumed.last_sequence, resumed.row_count) == (5, 500)
    assert stream(office, "broken", [], finish=500).import_id == resumed.import_id
    office.service.work(rounds=20)
    again = office.service.get(resumed.import_id)
    assert counts(again) == counts(run)
    assert office.service.ledger.items == kept
    assert [(total.currency, total.total.minor_units) for total in again.totals] == [
        (total.currency, total.total.minor_units) for total in run.totals
    ]
    assert again.sha256 == run.sha256


def test_typed_rows_are_validated_like_a_file(office):
    items = [
        upload_pb.ItemMessage(
            account_number="C1", account_name="A", item_number=f"R{number}", issue_on="2026-03-04", due_on="2026-04-05",
            currency="EUR", initial_amount="100.50", item_type="invoice", custom_fields={"region": "North"},
        )
        for number in range(3)
    ]  # fmt: skip
    items[2].issue_on = "2026-02-31"
    batch = upload_pb.StreamBatch(sequence=1, items=upload_pb.ItemMessages(items=items))
    answer = stream(office, "typed", [batch], finish=3)
    office.service.work(rounds=10)
    run = office.service.get(answer.import_id)
    assert counts(run) == (2, 0, 0, 0, 1)
    assert [(reject.line, reject.field, reject.code) for reject in run.rejects] == [(3, "issueOn", "dateImpossible")]
    assert office.service.ledger.items["C1", "R0"]["custom_fields"] == '{"region":"North"}'
    pieces = office.imports.DownloadRejects(
        import_pb.DownloadRejectsRequest(import_id=run.import_id), timeout=TIMEOUT_S
    )
    assert "2026-02-31" in b"".join(piece.data for piece in pieces).decode("utf-8-sig")

    rows_ = [upload_pb.RowMessage(values={"Customer": "C1", "Email": f"p{number}@c.example"}) for number in range(2)]
    batch = upload_pb.StreamBatch(sequence=1, messages=upload_pb.RowMessages(rows=rows_))
    answer = stream(office, "people", [batch], finish=2, object=import_pb.IMPORT_OBJECT_CONTACTS)
    office.service.work(rounds=10)
    assert counts(office.service.get(answer.import_id)) == (2, 0, 0, 0, 0)


def test_floating_point_is_no_money(office):
    sink = io.BytesIO()
    table = pa.table({"accountNumber": ["C1"], "openAmount": [0.1]})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    for batch in (
        upload_pb.StreamBatch(sequence=1, arrow=sink.getvalue()),
        upload_pb.StreamBatch(sequence=1, arrow=b"nonsense"),
        upload_pb.StreamBatch(sequence=1),
    ):
        with refused(grpc.StatusCode.INVALID_ARGUMENT, "ROWS_UNREADABLE"):
            stream(office, "floats", [batch])
