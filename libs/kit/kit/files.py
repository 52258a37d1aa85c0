"""Files: a local folder (file:///path) or an S3 bucket (s3://bucket/prefix), behind the same few calls."""

import base64
import binascii
import contextlib
import hashlib
import hmac
import io
import json
import logging
import os
import re
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Protocol, cast
from urllib.parse import urlparse

from kit import context
from kit.errors import Code, Refused
from kit.settings import ServiceSettings

log = logging.getLogger(__name__)

_PART = r"[A-Za-z0-9][A-Za-z0-9._=@-]{0,199}"
_KEY = re.compile(f"{_PART}(/{_PART})*")
KEY_MAX_CHARACTERS = 512
BUFFER_BYTES = 1024 * 1024
# An upload holds so many parts in memory, and no more.
S3_PART_BYTES = 8 * 1024 * 1024
S3_PARTS_IN_MEMORY = 2
SIGNED_MAX_S = 3600


@dataclass(frozen=True)
class Entry:
    """A file as a list shows it."""

    key: str
    size_bytes: int
    changed_at: datetime


class Store(Protocol):
    """Where files lie.

    Keys are paths such as "<tenant>/imports/<id>"; a part never starts with a dot, and no key is the folder of another.
    Whoever acts for a tenant finds nothing under another tenant's id: NOT_FOUND FILE_UNKNOWN. A store that cannot do
    its work refuses UNAVAILABLE: FILE_STORE_UNAVAILABLE (nobody answers), FILE_STORE_DENIED (our credentials),
    FILE_STORE_MISSING (there is no such bucket).
    """

    def put(self, key: str, stream: IO[bytes]) -> int:
        """Keeps all of stream under key, replacing what was there at once and as a whole; returns its bytes.

        Stream needs nothing but read(n), and stays open. What it raises comes out, and the old file stays.
        """

    def get(self, key: str, start: int = 0, length: int | None = None) -> IO[bytes]:
        """The file from byte `start`, at most `length` bytes of it, open for reading; close it.

        From its end on a file is empty. Refuses NOT_FOUND FILE_UNKNOWN.
        """

    def size(self, key: str) -> int:
        """Bytes of the file. Refuses NOT_FOUND FILE_UNKNOWN."""

    def exists(self, key: str) -> bool:
        """Whether there is such a file."""

    def list(self, folder: str) -> Iterator[Entry]:
        """The files below a folder such as "<tenant>/imports", by key; none where there is no such folder."""

    def delete(self, key: str) -> None:
        """Removes the file; one that is not there is removed already."""


def _checked(key: str) -> str:
    if len(key) > KEY_MAX_CHARACTERS or not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} is no file key")
    caller, owner = context.caller_or_none(), key.partition("/")[0]
    if caller is not None and owner != caller.tenant_id and _is_uuid(owner):
        raise _unknown(key)
    return key


def _is_uuid(part: str) -> bool:
    try:
        uuid.UUID(part)
    except ValueError:
        return False
    return True


def _unknown(key: str) -> Refused:
    return Refused(Code.NOT_FOUND, "FILE_UNKNOWN", f"there is no file {key}")


def _exists(where: Store, key: str) -> bool:
    try:
        where.size(key)
    except Refused as error:
        if error.code is Code.NOT_FOUND:
            return False
        raise
    return True


def _checked_range(start: int, length: int | None) -> None:
    if start < 0 or (length is not None and length < 0):
        raise ValueError(f"no range of a file: {length} bytes from {start}")


class LocalStore:
    """A folder of this machine, or one that is mounted on several."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, key: str) -> Path:
        return self._folder / _checked(key)

    def put(self, key: str, stream: IO[bytes]) -> int:
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".upload-")
        try:
            with os.fdopen(handle, "wb") as file:
                shutil.copyfileobj(stream, file, BUFFER_BYTES)
                file.flush()
                os.fsync(file.fileno())
                size = file.tell()
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        return size

    def get(self, key: str, start: int = 0, length: int | None = None) -> IO[bytes]:
        _checked_range(start, length)
        try:
            file = self._path(key).open("rb")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise _unknown(key) from error
        file.seek(start)
        return file if length is None else _buffered(file, length)

    def size(self, key: str) -> int:
        path = self._path(key)
        if not path.is_file():
            raise _unknown(key)
        return path.stat().st_size

    def exists(self, key: str) -> bool:
        return _exists(self, key)

    def list(self, folder: str) -> Iterator[Entry]:
        top = self._path(folder)
        found = {
            path.relative_to(self._folder).as_posix(): path
            for path in top.rglob("*")
            if not path.name.startswith(".") and path.is_file()
        }
        for key in sorted(found):
            with contextlib.suppress(FileNotFoundError):  # Deleted while we look.
                status = found[key].stat()
                yield Entry(key, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))

    def delete(self, key: str) -> None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            path = self._path(key)
            if not path.is_dir():
                path.unlink()


class S3Store:
    """A bucket of Amazon's S3 or of anything that speaks its protocol."""

    def __init__(self, settings: ServiceSettings, bucket: str, prefix: str) -> None:
        import boto3
        from boto3.s3.transfer import TransferConfig
        from botocore.config import Config

        self._bucket, self._prefix = bucket, prefix
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=settings.s3_endpoint or None,
            region_name=settings.s3_region,
            aws_access_key_id=settings.s3_access_key or None,
            aws_secret_access_key=settings.s3_secret_key or None,
            config=Config(
                retries={"max_attempts": 4, "mode": "standard"},
                connect_timeout=5,
                read_timeout=60,
                # Stores that are not Amazon's rarely have a host name per bucket, and some refuse its newer checksums.
                s3={"addressing_style": "path" if settings.s3_endpoint else "auto"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
        self._transfer = TransferConfig(
            multipart_threshold=S3_PART_BYTES, multipart_chunksize=S3_PART_BYTES, max_concurrency=S3_PARTS_IN_MEMORY
        )
        # Not an argument of boto3's, and ten parts by default.
        self._transfer.max_in_memory_upload_chunks = S3_PARTS_IN_MEMORY

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": f"{self._prefix}{_checked(key)}"}

    @contextlib.contextmanager
    def _refusing(self, key: str) -> Iterator[None]:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            raise self._refusal(error, key) from error
        except (Boto3Error, BotoCoreError) as error:
            raise _store_refusal(type(error).__name__, str(error)) from error

    def _refusal(self, error: Any, key: str) -> Refused:
        """What the store's answer means. A HEAD says 404 without a word about whether it is the key or the bucket."""
        from botocore.exceptions import ClientError

        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in ("404", "NotFound"):
            try:
                self._client.head_bucket(Bucket=self._bucket)
            except ClientError as missing:
                if str(missing.response.get("Error", {}).get("Code", "")) in ("404", "NotFound", "NoSuchBucket"):
                    return _store_refusal("NoSuchBucket", f"there is no bucket {self._bucket}")
        return _unknown(key) if code in ("404", "NotFound", "NoSuchKey") else _store_refusal(code, str(error))

    def put(self, key: str, stream: IO[bytes]) -> int:
        at, counted = self._at(key), _Counted(stream)
        with self._refusing(key):
            self._client.upload_fileobj(counted, at["Bucket"], at["Key"], Config=self._transfer)
        return counted.size

    def get(self, key: str, start: int = 0, length: int | None = None) -> IO[bytes]:
        from botocore.exceptions import ClientError

        _checked_range(start, length)
        at = self._at(key)
        if length == 0:
            self.size(key)  # There is no range of nothing; a file that is unknown is refused all the same.
            return io.BytesIO()
        if start or length is not None:
            at["Range"] = f"bytes={start}-{start + length - 1 if length is not None else ''}"
        with self._refusing(key):
            try:
                body = self._client.get_object(**at)["Body"]
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in ("InvalidRange", "416"):
                    return io.BytesIO()
                raise
        return _buffered(body, length, lambda: self._refusing(key))

    def size(self, key: str) -> int:
        with self._refusing(key):
            return int(self._client.head_object(**self._at(key))["ContentLength"])

    def exists(self, key: str) -> bool:
        return _exists(self, key)

    def list(self, folder: str) -> Iterator[Entry]:
        prefix = f"{self._prefix}{_checked(folder)}/"
        with self._refusing(folder):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix):
                for found in page.get("Contents", ()):
                    yield Entry(found["Key"].removeprefix(self._prefix), found["Size"], found["LastModified"])

    def delete(self, key: str) -> None:
        at = self._at(key)
        with self._refusing(key):
            self._client.delete_object(**at)


# How stores say that they do not let us in.
_DENIED = frozenset(
    {
        "403", "401", "AccessDenied", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken",
        "InvalidToken", "AuthFailure", "AccountProblem", "NoCredentialsError", "PartialCredentialsError",
    }
)  # fmt: skip


def _store_refusal(code: str, detail: str) -> Refused:
    # Transient, all of them: work waits until somebody has put the store right, and no try is spent.
    log.error("the file store: %s: %s", code, detail)
    if code in _DENIED:
        return Refused(Code.UNAVAILABLE, "FILE_STORE_DENIED", "the file store does not accept our credentials")
    if code == "NoSuchBucket":
        return Refused(Code.UNAVAILABLE, "FILE_STORE_MISSING", "the file store has no such bucket")
    return Refused(Code.UNAVAILABLE, "FILE_STORE_UNAVAILABLE", "the file store cannot be reached")


class _Counted:
    """A stream as an upload may use it: it counts, gives as much as it is asked for, and cannot be closed or rewound.

    To s3transfer a short read is the end, and the rest of a stream out of a pipe or a socket would be lost in silence.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.size = 0

    def read(self, size: int = -1) -> bytes:
        pieces, left = [], size
        while left and (piece := self._stream.read(left)):
            pieces.append(piece)
            self.size += len(piece)
            left -= len(piece) if size > 0 else 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _buffered(body: Any, length: int | None, refusing: Any = contextlib.nullcontext) -> IO[bytes]:
    return cast(IO[bytes], io.BufferedReader(_Window(body, length, refusing), BUFFER_BYTES))


class _Window(io.RawIOBase):
    """The next so many bytes of a body that can be read and closed."""

    def __init__(self, body: Any, length: int | None, refusing: Any) -> None:
        self._body, self._left, self._refusing = body, length, refusing

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        wanted = len(buffer) if self._left is None else min(len(buffer), self._left)
        with self._refusing():
            data = self._body.read(wanted) if wanted else b""
        buffer[: len(data)] = data
        if self._left is not None:
            self._left -= len(data)
        return len(data)

    def close(self) -> None:
        self._body.close()
        super().close()


_stores: dict[tuple[Any, ...], Store] = {}
_stores_lock = threading.Lock()


def store(settings: ServiceSettings) -> Store:
    """The store at file_store_url. Raises LookupError when none is set or its kind is unknown."""
    parsed = urlparse(settings.file_store_url)
    if parsed.scheme == "file":
        return LocalStore(Path(parsed.path))
    if parsed.scheme != "s3":
        raise LookupError(f"file_store_url must be file:///path or s3://bucket/prefix, not {settings.file_store_url!r}")
    # A client takes a while to make and is shared by threads, but not by processes.
    key = (
        os.getpid(), settings.file_store_url, settings.s3_endpoint, settings.s3_region, settings.s3_access_key,
        settings.s3_secret_key,
    )  # fmt: skip
    with _stores_lock:
        if key not in _stores:
            prefix = parsed.path.strip("/")
            _stores[key] = S3Store(settings, parsed.netloc, f"{prefix}/" if prefix else "")
        return _stores[key]


# ---- downloads -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Signed:
    """What a token of `sign` stands for: a file, and the name under which a browser shall save it."""

    key: str
    name: str


def sign(settings: ServiceSettings, key: str, expires_s: int, name: str = "") -> str:
    """A token that names one file for a short while, to stand in an address. Whoever has it may read the file.

    Raises ValueError when it would live longer than an hour. Any process with the platform's encryption key verifies.
    """
    if not 0 < expires_s <= SIGNED_MAX_S:
        raise ValueError(f"a download lives at most {SIGNED_MAX_S} s")
    body = json.dumps([_checked(key), name, int(time.time()) + expires_s], separators=(",", ":")).encode()
    return f"{_text(body)}.{_text(_seal(settings, body))}"


def verify(settings: ServiceSettings, token: str) -> Signed:
    """The file of a token. Refuses PERMISSION_DENIED DOWNLOAD_INVALID, DOWNLOAD_EXPIRED."""
    encoded, _, seal = token.partition(".")
    try:
        body = _bytes(encoded)
        is_ours = hmac.compare_digest(_bytes(seal), _seal(settings, body))
    except (binascii.Error, ValueError) as error:
        raise Refused(Code.PERMISSION_DENIED, "DOWNLOAD_INVALID", "this download link is not valid") from error
    if not is_ours:
        raise Refused(Code.PERMISSION_DENIED, "DOWNLOAD_INVALID", "this download link is not valid")
    key, name, until = json.loads(body)
    if time.time() >= until:
        raise Refused(Code.PERMISSION_DENIED, "DOWNLOAD_EXPIRED", "this download link has expired")
    return Signed(key, name)


def _seal(settings: ServiceSettings, body: bytes) -> bytes:
    # A key of its own, so that nothing sealed for another purpose can pass for a download.
    secret = base64.b64decode(settings.read_key("encryption_key_path").strip())
    key = hmac.digest(secret, b"quittance download v1", hashlib.sha256)
    return hmac.digest(key, body, hashlib.sha256)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
