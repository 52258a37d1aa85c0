"""The SFTP server: a folder per source, files in, reports out, nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import IO, Any

import asyncssh

from importer.channels.doors import Doors
from importer.channels.folders import Forbidden, Missing, Place, Tree, finish_at_once, is_unfinished, place_of
from importer.channels.telling import host_key_path
from importer.store import SourceRow

log = logging.getLogger(__name__)

LOGIN_S = 30
KEEPALIVE_S = 60
# A sender who lists a folder sees its newest names.
_FOLDER_MODE, _FILE_MODE = 0o40700, 0o100600
_TREE = "quittance_tree"


class _Gate(asyncssh.SSHServer):
    """Who comes in: by the password or the public key of one source."""

    def __init__(self, doors: Doors, connections: set[asyncssh.SSHServerConnection]) -> None:
        self._doors = doors
        self._connections = connections
        self._source: SourceRow | None = None
        self._connection: asyncssh.SSHServerConnection | None = None
        self._address = ""

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._connections.add(conn)
        self._address = str(conn.get_extra_info("peername", ("?",))[0])

    def connection_lost(self, exc: Exception | None) -> None:
        if self._connection is not None:
            self._connections.discard(self._connection)

    async def begin_auth(self, username: str) -> bool:
        if self._doors.is_guessing(self._address):
            raise asyncssh.PermissionDenied("too many failed sign-ins: try again later")
        self._source = await asyncio.to_thread(self._doors.source, username, "SFTP")
        return True

    def password_auth_supported(self) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    async def validate_password(self, username: str, password: str) -> bool:
        if self._doors.is_guessing(self._address):
            return False
        fits = await asyncio.to_thread(self._doors.password_fits, self._source, password)
        return await self._admit(fits)

    async def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        source = self._source
        if source is None or source.access_kind != "key" or not source.public_key:
            return False
        wanted = asyncssh.import_public_key(source.public_key)
        # The signature is proved by the protocol afterwards; a key that is offered is no failed sign-in.
        return wanted.public_data == key.public_data and await self._admit(True)

    async def _admit(self, fits: bool) -> bool:
        if not fits or self._source is None:
            self._doors.failed(self._address)
            return False
        assert self._connection is not None
        tree = await asyncio.to_thread(self._doors.tree, self._source)
        self._connection.set_extra_info(**{_TREE: tree})
        return True


class _Opened:
    """A file a sender has open."""

    def __init__(self, file: IO[bytes], path: Path, is_written: bool) -> None:
        self.file, self.path, self.is_written = file, path, is_written


class _Folder(asyncssh.SFTPServer):
    """One sender's view. Every path is understood by place_of before the file system hears of it."""

    def __init__(self, chan: Any, doors: Doors) -> None:
        super().__init__(chan)
        self._doors = doors
        self._tree: Tree = self.connection.get_extra_info(_TREE)
        self._open: set[_Opened] = set()

    @contextlib.contextmanager
    def _understood(self) -> Any:
        try:
            yield
        except (Missing, FileNotFoundError) as error:
            raise asyncssh.SFTPNoSuchFile("there is no such file") from error
        except Forbidden as error:
            raise asyncssh.SFTPPermissionDenied("this name cannot be used here") from error

    def _place(self, path: bytes) -> tuple[Place, Path]:
        place = place_of(path)
        return place, self._tree.path(place)

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> Any:
        with self._understood():
            place, real = self._place(path)
            if not place.name:
                raise asyncssh.SFTPFailure("this is a folder")
            if not pflags & (asyncssh.FXF_WRITE | asyncssh.FXF_APPEND | asyncssh.FXF_CREAT | asyncssh.FXF_TRUNC):
                return self._opened(os.open(real, os.O_RDONLY | os.O_NOFOLLOW), "rb", real, False)
            if place.folder != "in":
                raise asyncssh.SFTPPermissionDenied("files go into in/")
            flags = os.O_RDWR | os.O_NOFOLLOW
            flags |= os.O_CREAT if pflags & asyncssh.FXF_CREAT else 0
            flags |= os.O_TRUNC if pflags & asyncssh.FXF_TRUNC else 0
            flags |= os.O_EXCL if pflags & asyncssh.FXF_EXCL else 0
            if not real.exists() and self._tree.waiting_count() >= self._doors.settings.waiting_files_max:
                raise asyncssh.SFTPFailure("too many files are waiting")
            # Said before the file is there: nobody may take it in between.
            self._doors.inbox.opened(real)
            try:
                return self._opened(os.open(real, flags, 0o600), "r+b", real, True)
            except BaseException:
                self._doors.inbox.closed(real)
                raise

    def _opened(self, handle: int, mode: str, path: Path, is_written: bool) -> _Opened:
        opened = _Opened(os.fdopen(handle, mode, buffering=0), path, is_written)
        self._open.add(opened)
        return opened

    def close(self, file_obj: Any) -> None:
        self._open.discard(file_obj)
        file_obj.file.close()
        if file_obj.is_written:
            self._doors.inbox.closed(file_obj.path)
            self._doors.inbox.wanted.set()

    def exit(self) -> None:
        for opened in list(self._open):
            self.close(opened)

    def read(self, file_obj: Any, offset: int, size: int) -> bytes:
        return os.pread(file_obj.file.fileno(), size, offset)

    def write(self, file_obj: Any, offset: int, data: bytes) -> int:
        limit = self._doors.settings.upload_limit_bytes
        if not file_obj.is_written:
            raise asyncssh.SFTPPermissionDenied("this file is open for reading")
        if offset + len(data) > limit:
            raise asyncssh.SFTPFailure(f"a file has at most {limit} bytes")
        try:
            return os.pwrite(file_obj.file.fileno(), data, offset)
        except OSError as error:
            raise asyncssh.SFTPFailure(str(error.strerror)) from error

    def _attributes(self, path: Path) -> asyncssh.SFTPAttrs:
        state = path.stat(follow_symlinks=False)
        is_folder = path.is_dir()
        return asyncssh.SFTPAttrs(
            size=0 if is_folder else state.st_size,
            uid=0,
            gid=0,
            permissions=_FOLDER_MODE if is_folder else _FILE_MODE,
            atime=int(state.st_mtime),
            mtime=int(state.st_mtime),
        )

    def lstat(self, path: bytes) -> asyncssh.SFTPAttrs:
        with self._understood():
            return self._attributes(self._place(path)[1])

    stat = lstat

    def fstat(self, file_obj: Any) -> asyncssh.SFTPAttrs:
        with self._understood():
            return self._attributes(file_obj.path)

    def setstat(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> None:
        """Times and rights are ours; programs that set them after an upload are let believe."""
        with self._understood():
            self._place(path)

    lsetstat = setstat

    def fsetstat(self, file_obj: Any, attrs: asyncssh.SFTPAttrs) -> None:
        return None

    async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
        with self._understood():
            place, real = self._place(path)
            if place.name:
                raise asyncssh.SFTPNotADirectory("this is a file")
            for name in self._tree.listed(place.folder):
                try:
                    attributes = self._attributes(real / name)
                except FileNotFoundError:
                    # Taken while the list was being made.
                    continue
                yield asyncssh.SFTPName(os.fsencode(name), attrs=attributes)

    def remove(self, path: bytes) -> None:
        with self._understood():
            place, real = self._place(path)
            if place.folder != "in" or not place.name:
                raise asyncssh.SFTPPermissionDenied("only files of in/ can be removed")
            if self._doors.inbox.is_open(real):
                raise asyncssh.SFTPFailure("this file is being written")
            real.unlink()

    def rename(self, oldpath: bytes, newpath: bytes) -> None:
        with self._understood():
            old_place, old = self._place(oldpath)
            new_place, new = self._place(newpath)
            if {old_place.folder, new_place.folder} != {"in"} or not (old_place.name and new_place.name):
                raise asyncssh.SFTPPermissionDenied("files are renamed inside in/")
            if self._doors.inbox.is_open(old):
                raise asyncssh.SFTPFailure("this file is being written")
            if new.exists():
                raise asyncssh.SFTPFileAlreadyExists("there is a file of this name")
            if is_unfinished(old.name) and not is_unfinished(new.name):
                finish_at_once(old)
            os.rename(old, new)
            self._doors.inbox.wanted.set()

    posix_rename = rename

    def realpath(self, path: bytes) -> bytes:
        with self._understood():
            place = place_of(path)
            return "/".join(("", *filter(None, (place.folder, place.name)))).encode() or b"/"

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise asyncssh.SFTPOpUnsupported("this server takes files and shows reports, nothing else")

    mkdir = rmdir = readlink = symlink = link = lock = unlock = statvfs = fstatvfs = open56 = _refuse


async def start(doors: Doors, connections: set[asyncssh.SSHServerConnection]) -> asyncssh.SSHAcceptor:
    """Starts to listen; the host key is made once and kept with the folders."""
    settings = doors.settings
    path = host_key_path(settings)
    assert path is not None
    key = await asyncio.to_thread(_host_key, path)
    return await asyncssh.create_server(
        partial(_Gate, doors, connections),
        settings.sftp_host,
        settings.sftp_port,
        server_host_keys=[key],
        sftp_factory=partial(_Folder, doors=doors),
        sftp_version=3,
        allow_scp=False,
        agent_forwarding=False,
        x11_forwarding=False,
        login_timeout=LOGIN_S,
        keepalive_interval=KEEPALIVE_S,
        server_version="Quittance",
        reuse_address=True,
    )


def _host_key(path: Path) -> asyncssh.SSHKey:
    """The server's key, made once. Two that start at once end with the same."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        key = asyncssh.generate_private_key("ssh-ed25519", comment="quittance")
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(key.export_private_key())
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
        temporary.unlink()
    key = asyncssh.read_private_key(path)
    path.with_suffix(".pub").write_text(" ".join(key.export_public_key().decode().split()[:2]) + "\n")
    return key


class SftpServer:
    """The server in a thread of its own, with a loop of its own."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sftp", daemon=True)
        self._acceptor: asyncssh.SSHAcceptor | None = None
        self._connections: set[asyncssh.SSHServerConnection] = set()

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._acceptor is not None
        return self._acceptor.get_port()

    def start(self) -> None:
        """Listens, or raises OSError."""
        # One line per sender is enough, and it is ours.
        logging.getLogger("asyncssh").setLevel(logging.WARNING)
        self._thread.start()
        self._acceptor = asyncio.run_coroutine_threadsafe(start(self._doors, self._connections), self._loop).result()
        log.info("SFTP listens on port %d", self.port)

    def stop(self) -> None:
        """Ends; uploads under way break off and go on when their senders come back."""

        async def close() -> None:
            if self._acceptor is not None:
                self._acceptor.close()
                for connection in list(self._connections):
                    connection.abort()
                await self._acceptor.wait_closed()

        asyncio.run_coroutine_threadsafe(close(), self._loop).result(timeout=10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()
