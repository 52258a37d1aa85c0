"""The FTPS server (explicit TLS) for senders who have nothing better: the same accounts, folders and rules as SFTP."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pyftpdlib.authorizers import AuthenticationFailed
from pyftpdlib.filesystems import AbstractedFS, FilesystemError
from pyftpdlib.handlers import TLS_FTPHandler
from pyftpdlib.servers import ThreadedFTPServer

from importer.channels.doors import Doors
from importer.channels.folders import (
    FOLDERS,
    Forbidden,
    Missing,
    Tree,
    checked_name,
    finish_at_once,
    is_unfinished,
    place_of,
)
from importer.channels.telling import certificate_path

log = logging.getLogger(__name__)

CONNECTIONS_MAX = 100
CONNECTIONS_PER_ADDRESS = 10
CERTIFICATE_DAYS = 3650
# List, change folder, read, append, remove, rename, store; making folders and changing rights are not among them.
PERMISSIONS = "elradfw"
# What a path outside the four folders becomes.
NOWHERE = ".nowhere"


class _Door:
    """pyftpdlib's authorizer over our sources."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self.trees: dict[str, Tree] = {}

    def validate_authentication(self, username: str, password: str, handler: Any) -> None:
        address = handler.remote_ip
        if self._doors.is_guessing(address):
            raise AuthenticationFailed("too many failed sign-ins: try again later")
        source = self._doors.source(username, "FTPS")
        if not self._doors.password_fits(source, password) or source is None:
            self._doors.failed(address)
            raise AuthenticationFailed("sign-in failed")
        self.trees[username] = self._doors.tree(source)

    def get_home_dir(self, username: str) -> str:
        return str(self.trees[username].root)

    def has_user(self, username: str) -> bool:
        return username in self.trees

    def has_perm(self, username: str, perm: str, path: str | None = None) -> bool:
        return perm in PERMISSIONS

    def get_perms(self, username: str) -> str:
        return PERMISSIONS

    def get_msg_login(self, username: str) -> str:
        return "Files go into in/."

    def get_msg_quit(self, username: str) -> str:
        return "Goodbye."

    def impersonate_user(self, username: str, password: str) -> None:
        """Files belong to this process."""

    def terminate_impersonation(self, username: str) -> None:
        """Files belong to this process."""


class _Folder(AbstractedFS):
    """One sender's view, by the rules of SFTP's."""

    def _tree(self) -> Tree:
        tree: Tree = self.cmd_channel.authorizer.trees[self.cmd_channel.username]
        return tree

    def ftp2fs(self, ftppath: str) -> str:
        try:
            place = place_of(self.ftpnorm(ftppath))
            return str(self._tree().path(place))
        except (Forbidden, Missing):
            # Answered 550 by validpath: there is no such place.
            return str(self._tree().root / NOWHERE)

    def validpath(self, path: str) -> bool:
        parts = Path(path).relative_to(self._tree().root).parts if Path(path).is_relative_to(self.root) else (NOWHERE,)
        return not parts or (parts[0] in FOLDERS and len(parts) <= 2 and not Path(path).is_symlink())

    def _in_folder(self, path: str) -> Path:
        real = Path(path)
        if real.parent != self._tree().root / "in":
            raise FilesystemError("Files go into in/.")
        try:
            checked_name(real.name)
        except Forbidden as error:
            raise FilesystemError("This name cannot be used here.") from error
        return real

    def open(self, filename: str, mode: str) -> Any:
        doors: Doors = self.cmd_channel.doors
        if mode.startswith("r") and "+" not in mode:
            return Path(filename).open(mode)
        real = self._in_folder(filename)
        if not real.exists() and self._tree().waiting_count() >= doors.settings.waiting_files_max:
            raise FilesystemError("Too many files are waiting.")
        doors.inbox.opened(real)
        try:
            handle = os.open(real, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | (os.O_TRUNC if "w" in mode else 0), 0o600)
            file = os.fdopen(handle, "r+b")
            if "a" in mode:
                file.seek(0, os.SEEK_END)
            return _Counted(file, str(real), doors.settings.upload_limit_bytes, lambda: doors.inbox.closed(real))
        except BaseException:
            doors.inbox.closed(real)
            raise

    def listdir(self, path: str) -> list[str]:
        place = place_of(self.fs2ftp(path))
        return self._tree().listed(place.folder)

    def rename(self, src: str, dst: str) -> None:
        old, new = self._in_folder(src), self._in_folder(dst)
        if self.cmd_channel.doors.inbox.is_open(old):
            raise FilesystemError("This file is being written.")
        if new.exists():
            raise FilesystemError("There is a file of this name.")
        if is_unfinished(old.name) and not is_unfinished(new.name):
            finish_at_once(old)
        os.rename(old, new)
        self.cmd_channel.doors.inbox.wanted.set()

    def remove(self, path: str) -> None:
        real = self._in_folder(path)
        if self.cmd_channel.doors.inbox.is_open(real):
            raise FilesystemError("This file is being written.")
        real.unlink()

    def utime(self, path: str, timeval: Any) -> None:
        """Times are ours; programs that set them after an upload are let believe."""

    def _no(self, *_: Any) -> Any:
        raise FilesystemError("This server takes files and shows reports, nothing else.")

    mkdir = rmdir = chmod = mkstemp = readlink = _no


class _Counted:
    """A file that refuses to become larger than allowed and says when it is closed."""

    def __init__(self, file: Any, name: str, limit: int, on_close: Any) -> None:
        self._file, self.name, self._limit, self._on_close = file, name, limit, on_close
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed

    def write(self, data: bytes) -> int:
        if self._file.tell() + len(data) > self._limit:
            raise FilesystemError(f"A file has at most {self._limit} bytes.")
        return int(self._file.write(data))

    def seek(self, place: int, whence: int = 0) -> int:
        return int(self._file.seek(place, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def read(self, size: int = -1) -> bytes:
        return bytes(self._file.read(size))

    def fileno(self) -> int:
        return int(self._file.fileno())

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._file.close()
            self._on_close()


class FtpsServer:
    """The server in threads of its own."""

    def __init__(self, doors: Doors) -> None:
        settings = doors.settings
        path = certificate_path(settings)
        assert path is not None
        if not settings.ftps_certificate_path:
            make_certificate(path, settings.ftps_public_host or settings.ftps_host)
        options: dict[str, Any] = {
            "authorizer": _Door(doors),
            "abstracted_fs": _Folder,
            "doors": doors,
            "certfile": str(path),
            "keyfile": settings.ftps_key_path or None,
            "tls_control_required": True,
            "tls_data_required": True,
            "banner": "Quittance",
            "permit_foreign_addresses": False,
            "timeout": 300,
            "max_login_attempts": 3,
            "on_incomplete_file_received": _left_behind,
        }
        if settings.ftps_public_host:
            options["masquerade_address"] = settings.ftps_public_host
        if settings.ftps_passive_ports:
            first, _, last = settings.ftps_passive_ports.partition("-")
            options["passive_ports"] = range(int(first), int(last) + 1)
        handler = type("Handler", (TLS_FTPHandler,), options)
        self._server = ThreadedFTPServer((settings.ftps_host, settings.ftps_port), handler)
        self._server.max_cons, self._server.max_cons_per_ip = CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS
        self._thread = threading.Thread(target=self._serve, name="ftps", daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.address[1])

    def _serve(self) -> None:
        self._server.serve_forever(handle_exit=False)

    def start(self) -> None:
        """Listens."""
        logging.getLogger("pyftpdlib").setLevel(logging.WARNING)
        self._thread.start()
        log.info("FTPS listens on port %d", self.port)

    def stop(self) -> None:
        """Ends; uploads under way break off."""
        self._server.close_all()
        self._thread.join(timeout=10)


def _left_behind(handler: Any, file: str) -> None:
    """A transfer that broke off stays as it is: it counts as whole only after nobody has touched it for a while."""
    log.info("an upload to %s broke off", Path(file).name)


def make_certificate(path: Path, host: str) -> None:
    """A certificate of our own with its key, once; senders pin its fingerprint, or an operator brings a real one."""
    if path.exists():
        return
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64] or "quittance")])
    try:
        alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        alternative = x509.DNSName(host)
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=CERTIFICATE_DAYS))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        file.write(certificate.public_bytes(serialization.Encoding.PEM))
    with contextlib.suppress(FileExistsError):
        os.link(temporary, path)
    temporary.unlink()
