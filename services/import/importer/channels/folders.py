"""The folder of a source: in/ for its files, done/ and error/ for what became of them, reports/ for programs.

Nothing here is more than two levels deep, and no name comes near the file system before it was looked at.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

FOLDERS = ("in", "done", "error", "reports")
# Where a file lies while it is an import under way; not shown to senders.
WORK = ".work"
# How programs call a file they are still writing.
UNFINISHED = (".part", ".tmp", ".filepart", ".partial", ".temp", ".writing", ".crdownload", ".swp", "~")
NAME_MAX_BYTES = 180
_MARK = "--"


class Forbidden(Exception):
    """A name or a place senders have nothing to do with."""


class Missing(Exception):
    """Nothing of this name is here."""


def channels_root(settings: Any) -> Path | None:
    """Where folders of all tenants lie; None where files are kept in a bucket and no folder was named."""
    if settings.channels_folder:
        return Path(settings.channels_folder)
    parsed = urlparse(settings.file_store_url)
    return Path(parsed.path) / "channels" if parsed.scheme == "file" else None


def checked_name(name: str) -> str:
    """The name of a file as it may lie in a folder. Raises Forbidden."""
    normal = unicodedata.normalize("NFC", name)
    if (
        normal in ("", ".", "..")
        or "/" in normal
        or "\\" in normal
        or not normal.isprintable()
        or len(normal.encode("utf-8", "surrogateescape")) > NAME_MAX_BYTES
        or any("\udc80" <= sign <= "\udcff" for sign in normal)
    ):
        raise Forbidden(name)
    return normal


def is_unfinished(name: str) -> bool:
    """Whether a name says that its file is still being written."""
    return name.startswith(".") or name.lower().endswith(UNFINISHED)


@dataclass(frozen=True)
class Place:
    """A path of a sender, understood: folder is empty for the root, name is empty for a folder."""

    folder: str
    name: str


def place_of(path: bytes | str) -> Place:
    """What a sender's path means; every path is below his own root. Raises Forbidden, Missing."""
    try:
        text = path.decode("utf-8") if isinstance(path, bytes) else path
    except UnicodeDecodeError as error:
        raise Forbidden(repr(path)) from error
    if "\x00" in text or len(text) > 1000:
        raise Forbidden(text[:80])
    parts: list[str] = []
    for part in text.split("/"):
        if part == "..":
            # As a shell does at its root: there is nothing above it.
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    if not parts:
        return Place("", "")
    if parts[0] not in FOLDERS or len(parts) > 2:
        raise Missing(text)
    return Place(parts[0], checked_name(parts[1]) if len(parts) == 2 else "")


@dataclass(frozen=True)
class Waiting:
    """A file that is ready to be taken, or was taken and is an import under way."""

    path: Path
    name: str
    import_id: str


class Tree:
    """The folder of one source."""

    def __init__(self, root: Path, tenant_id: str, source_id: str) -> None:
        self.root = root / tenant_id / source_id

    def make(self) -> None:
        """Makes what is missing."""
        for name in (*FOLDERS, WORK):
            (self.root / name).mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, place: Place) -> Path:
        """The real path of a place. Symbolic links have no business here."""
        path = self.root / place.folder / place.name if place.folder else self.root
        if path.is_symlink():
            raise Forbidden(place.name)
        return path

    def listed(self, folder: str) -> list[str]:
        """Names senders see."""
        if not folder:
            return list(FOLDERS)
        entries = os.scandir(self.root / folder)
        with entries:
            return sorted(entry.name for entry in entries if entry.is_file(follow_symlinks=False))

    def waiting_count(self) -> int:
        """Files in in/."""
        return len(os.listdir(self.root / "in"))

    @contextlib.contextmanager
    def held(self) -> Iterator[bool]:
        """Lets one process at a time look after the folder; False for the others."""
        if not (self.root / WORK).is_dir():
            yield False
            return
        with (self.root / ".lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    def finished(self, now_s: float, quiet_s: float, being_written: set[Path]) -> list[Path]:
        """Files of in/ that are whole, oldest first: finished by name, untouched for a while, open nowhere here."""
        found: list[tuple[float, str, Path]] = []
        with os.scandir(self.root / "in") as entries:
            for entry in entries:
                path = Path(entry.path)
                if not entry.is_file(follow_symlinks=False) or is_unfinished(entry.name) or path in being_written:
                    continue
                state = entry.stat(follow_symlinks=False)
                if now_s - state.st_mtime >= quiet_s:
                    found.append((state.st_ctime, entry.name, path))
        return [path for _, _, path in sorted(found)]

    def claim(self, path: Path, import_id: str) -> Waiting:
        """Takes a file out of the sender's sight, under the id of the import it becomes."""
        target = self.root / WORK / f"{import_id}{_MARK}{path.name}"
        os.rename(path, target)
        return Waiting(target, path.name, import_id)

    def claimed(self) -> list[Waiting]:
        """Files that were taken, in the order in which they were."""
        found = []
        for entry in sorted(os.listdir(self.root / WORK)):
            import_id, mark, name = entry.partition(_MARK)
            if mark:
                found.append(Waiting(self.root / WORK / entry, name, import_id))
        return found

    def settle(self, waiting: Waiting, is_good: bool, report: str, now: datetime) -> Path:
        """Moves a file to done/ or error/ with its report beside it."""
        stamp = now.strftime("%Y%m%dT%H%M%SZ")
        folder = self.root / ("done" if is_good else "error")
        name = f"{stamp}-{waiting.import_id[-6:]}-{waiting.name}"
        write_text(folder / f"{name}.report.txt", report)
        os.rename(waiting.path, folder / name)
        return folder / name

    def forget(self, before_s: float) -> int:
        """Removes what has lain in done/, error/ and reports/ since before an instant; returns how many files."""
        count = 0
        for folder in ("done", "error", "reports"):
            for name in self.listed(folder):
                path = self.root / folder / name
                # When it came to lie there, not the time its sender gave it.
                if path.stat(follow_symlinks=False).st_ctime < before_s:
                    path.unlink()
                    count += 1
        return count

    def put_report(self, name: str, content: bytes) -> None:
        """A file for programs in reports/."""
        path = self.root / "reports" / name
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_bytes(content)
        os.replace(temporary, path)


def write_text(path: Path, text: str) -> None:
    """A small file, whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, "utf-8")
    os.replace(temporary, path)


def all_trees(root: Path) -> list[tuple[str, str]]:
    """(tenant, source) of every folder there is."""
    found = []
    if root.is_dir():
        for tenant in sorted(os.listdir(root)):
            folder = root / tenant
            if len(tenant) == 36 and folder.is_dir():
                found += [(tenant, source) for source in sorted(os.listdir(folder)) if len(source) == 36]
    return found


def finish_at_once(path: Path) -> None:
    """A file renamed from a name of an unfinished one is whole: it need not lie untouched for a while.

    Said by its age, so that it is also true for the next process when this one ends here.
    """
    state = path.stat(follow_symlinks=False)
    if stat.S_ISREG(state.st_mode):
        os.utime(path, (0, 0), follow_symlinks=False)
