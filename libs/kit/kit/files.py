"""Files: a local folder (file:///path) or an S3 bucket (s3://bucket/prefix), behind the same few calls."""

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import IO, Any, Protocol
from urllib.parse import urlparse

from kit.errors import Code, Refused
from kit.settings import ServiceSettings

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=@-]*(/[A-Za-z0-9][A-Za-z0-9._=@-]*)*")
KEY_MAX_CHARACTERS = 512


class Store(Protocol):
    """Where files lie. Keys are paths such as "<tenant>/imports/<id>"; a part never starts with a dot."""

    def put(self, key: str, stream: IO[bytes]) -> int:
        """Keeps all of stream under key, replacing what was there at once and as a whole; returns its bytes."""

    def get(self, key: str) -> IO[bytes]:
        """The file, open for reading; close it. Refuses NOT_FOUND FILE_UNKNOWN."""

    def size(self, key: str) -> int:
        """Bytes of the file. Refuses NOT_FOUND FILE_UNKNOWN."""

    def exists(self, key: str) -> bool:
        """Whether there is such a file."""

    def delete(self, key: str) -> None:
        """Removes the file; one that is not there is removed already."""


def _checked(key: str) -> str:
    if len(key) > KEY_MAX_CHARACTERS or not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} is no file key")
    return key


def _unknown(key: str) -> Refused:
    return Refused(Code.NOT_FOUND, "FILE_UNKNOWN", f"there is no file {key}")


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
                shutil.copyfileobj(stream, file, 1024 * 1024)
                file.flush()
                os.fsync(file.fileno())
                size = file.tell()
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        return size

    def get(self, key: str) -> IO[bytes]:
        try:
            return self._path(key).open("rb")
        except (FileNotFoundError, IsADirectoryError) as error:
            raise _unknown(key) from error

    def size(self, key: str) -> int:
        try:
            return self._path(key).stat().st_size
        except FileNotFoundError as error:
            raise _unknown(key) from error

    def exists(self, key: str) -> bool:
        return self._path(key).is_file()

    def delete(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)


class S3Store:
    """A bucket of Amazon's S3 or of anything that speaks its protocol."""

    def __init__(self, settings: ServiceSettings, bucket: str, prefix: str) -> None:
        import boto3
        from botocore.config import Config

        self._bucket, self._prefix = bucket, prefix
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=settings.s3_endpoint or None,
            region_name=settings.s3_region,
            aws_access_key_id=settings.s3_access_key or None,
            aws_secret_access_key=settings.s3_secret_key or None,
            config=Config(retries={"max_attempts": 4, "mode": "standard"}, connect_timeout=5, read_timeout=60),
        )

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": f"{self._prefix}{_checked(key)}"}

    def put(self, key: str, stream: IO[bytes]) -> int:
        at = self._at(key)
        self._client.upload_fileobj(stream, at["Bucket"], at["Key"])
        return self.size(key)

    def get(self, key: str) -> IO[bytes]:
        from botocore.exceptions import ClientError

        try:
            return self._client.get_object(**self._at(key))["Body"]
        except ClientError as error:
            raise _translated(error, key) from error

    def size(self, key: str) -> int:
        from botocore.exceptions import ClientError

        try:
            return int(self._client.head_object(**self._at(key))["ContentLength"])
        except ClientError as error:
            raise _translated(error, key) from error

    def exists(self, key: str) -> bool:
        try:
            self.size(key)
        except Refused as error:
            if error.code is Code.NOT_FOUND:
                return False
            raise
        return True

    def delete(self, key: str) -> None:
        self._client.delete_object(**self._at(key))


def _translated(error: Any, key: str) -> Refused:
    if error.response.get("Error", {}).get("Code") in ("404", "NoSuchKey", "NotFound"):
        return _unknown(key)
    return Refused(Code.UNAVAILABLE, "FILE_STORE_UNAVAILABLE", "the file store cannot be reached")


def store(settings: ServiceSettings) -> Store:
    """The store at file_store_url. Raises LookupError when none is set or its kind is unknown."""
    parsed = urlparse(settings.file_store_url)
    if parsed.scheme == "file":
        return LocalStore(Path(parsed.path))
    if parsed.scheme == "s3":
        prefix = parsed.path.strip("/")
        return S3Store(settings, parsed.netloc, f"{prefix}/" if prefix else "")
    raise LookupError(f"file_store_url must be file:///path or s3://bucket/prefix, not {settings.file_store_url!r}")
